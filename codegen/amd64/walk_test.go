package amd64

import (
	"runtime"
	"slices"
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

// Blocks that take long may be run by whoever is free: each once a launch, in both
// parts, whatever the number of workers and of launches, also behind launches for which
// nobody waits.
func TestPieces(t *testing.T) {
	ks := parse(t, `kernel grow(a: f32[40,1] write, b: f32[131,1] write) ints(turns) {
  tile x: f32[1,1]
  tile one: f32[1,1]
  part grid(i: 40 step 1) {
    x = load a[i + r, c]
    one = map 1.0
    for k = 0 to turns step 1 {
      x += dot(one, one)
    }
    store a[i + r, c] = x
  }
  part grid(i: 131 step 1) {
    x = load b[i + r, c]
    one = map 1.0
    for k = 0 to turns step 1 {
      x += dot(one, one)
    }
    store b[i + r, c] = x
  }
}`)
	const launches, turns = 50, 3
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, workers := range []int{1, 2, 3, 5, 7, 40} {
			var pin runtime.Pinner
			bufs := [][]byte{aligned(40 * 4), aligned(131 * 4), aligned(40 * 4), aligned(131 * 4), aligned(40 * 4), aligned(131 * 4)}
			launch := func(bufs [][]byte, open, place int64) plan.NativeStep {
				at := []uintptr{address(&pin, bufs[0]), address(&pin, bufs[1])}
				return plan.NativeStep{Kind: int64(plan.Launch), Fn: p.fn(t, "grow"), Bufs: address(&pin, at), Slots: address(&pin, []int64{0}), A: open, B: place}
			}
			steps := []plan.NativeStep{launch(bufs[2:], 1, 0), launch(bufs[:2], 1, 1), launch(bufs[4:], 0, -1)}
			p.walk(t, slices.Repeat(steps, launches), []int64{turns}, 1, p.Scratch["grow"], workers)
			pin.Unpin()
			for i, b := range bufs {
				for j := range int64(len(b) / 4) {
					if got := kernel.Memory(b).Float(kernel.F32, j); got != launches*turns {
						t.Fatalf("%s, %d workers: element %d of buffer %d is %v", m.Name, workers, j, i, got)
					}
				}
			}
		}
	}
}
