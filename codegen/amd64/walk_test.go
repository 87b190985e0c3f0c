package amd64

import (
	"runtime"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// The walk runs launches, repetitions and conditions in order, with the right
// records, and all workers meet between steps.
func TestWalk(t *testing.T) {
	// Kernel add: acc[i] = acc[i] * 3 + tag + turn, over 37 blocks; the order of
	// launches shows in the result, and so does a block run twice or too early.
	ks := parse(t, `kernel add(acc: i64[37] write) ints(tag, turn) {
  tile v: i64[1,1]
  part grid(i: 37 step 1) {
    v = load acc[i + c]
    v = map v * index(3) + index(tag + turn)
    store acc[i + c] = v
  }
}
kernel spread(acc: i64[37] write) ints(tag, turn) {
  tile all: i64[1,37]
  tile v: i64[1,37]
  part grid(i: 1 step 1) {
    all = load acc[c]
    v = map all * index(5) + index(tag + turn + c)
    store acc[c] = v
  }
}`)
	// Slots of a record: turn, a condition, the first record of a loop, its
	// turns, and tags.
	const turn, cond, first, turns, tag, length = 0, 1, 2, 3, 4, 5
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, workers := range []int{1, 2, 4} {
			for _, n := range []int64{0, 1, 5} {
				var pin runtime.Pinner
				acc := aligned(37*8 + 64)
				bufs := []uintptr{address(&pin, acc)}
				slots := []int64{tag, turn}
				launch := func(name string) plan.NativeStep {
					return plan.NativeStep{Kind: int64(plan.Launch), Fn: p.fn(t, name), Bufs: address(&pin, bufs), Slots: address(&pin, slots)}
				}
				// What runs beside the others has a buffer of its own.
				apart := aligned(37*8 + 64)
				others := []uintptr{address(&pin, apart)}
				side := launch("add")
				side.Bufs = address(&pin, others)
				steps := []plan.NativeStep{
					launch("add"),
					{Kind: int64(plan.Repeat), A: first, B: turns, Body: 4},
					launch("spread"),
					{Kind: int64(plan.If), A: cond, Body: 1},
					launch("add"),
					launch("add"),
					{Kind: int64(plan.If), A: cond, Body: 1},
					launch("spread"),
					launch("spread"),
					{Kind: int64(plan.Beside), A: 2, Body: 6},
					side,
					launch("add"),
					{Kind: int64(plan.Repeat), A: first, B: turns, Body: 3},
					launch("spread"),
					{Kind: int64(plan.If), A: cond, Body: 1},
					launch("add"),
					{Kind: int64(plan.Beside), A: 1, Body: 2},
					side,
					launch("add"),
					launch("spread"),
				}
				records := make([]int64, length*(n+1))
				copy(records, []int64{7, 0, 1, n, 100})
				for i := range n {
					copy(records[length*(i+1):], []int64{i, i % 2, -1, -1, 200})
				}
				var want, beside [37]int64
				add := func(tag, turn int64) {
					for i := range want {
						want[i] = want[i]*3 + tag + turn
					}
				}
				spread := func(tag, turn int64) {
					for i := range want {
						want[i] = want[i]*5 + tag + turn + int64(i)
					}
				}
				add(100, 7)
				for i := range n {
					spread(200, i)
					if i%2 != 0 {
						add(200, i)
					}
					add(200, i)
				}
				spread(100, 7)
				add(100, 7)
				for i := range n {
					spread(200, i)
					if i%2 != 0 {
						add(200, i)
					}
				}
				add(100, 7)
				spread(100, 7)
				for i := range beside {
					beside[i] = 107*3 + 107
				}
				p.walk(t, steps, records, length, max(p.Scratch["add"], p.Scratch["spread"]), workers)
				pin.Unpin()
				for i := range want {
					if got := kernel.Memory(acc).Int(kernel.I64, int64(i)); got != want[i] {
						t.Fatalf("%s, %d workers, %d turns: element %d is %d, want %d", m.Name, workers, n, i, got, want[i])
					}
					if got := kernel.Memory(apart).Int(kernel.I64, int64(i)); got != beside[i] {
						t.Fatalf("%s, %d workers, %d turns: element %d of what ran beside is %d, want %d", m.Name, workers, n, i, got, beside[i])
					}
				}
			}
		}
	}
}
