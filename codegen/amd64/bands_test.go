package amd64

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// Products with bands, also such as reach beyond the matrix or hold nothing of it, are
// those of the interpreter, whichever way the right operand lies.
func TestBands(t *testing.T) {
	const text = `kernel bands%[1]d(x: f32[60,%[6]d], w: %[2]s, y: f32[60,52] write, z: f32[60,52] write) ints(n, d, lo, hi) {
  tile a: f32[60,%[6]d] rows n cols d
  tile m: f32[60,%[6]d] rows n cols d
  tile b: %[3]s
  tile o: f32[60,52] rows n
  tile s: f32[60,1] rows n
  part grid() {
    a = load x[r, c]
    b = load w[r, c]
    m = map choose(test(lo <= c - r div 3 && c - r div 3 <= hi), a, 0)
    s = map 0.5
    o = load y[r, c]
    o = map o * s
    o += dot(m, %[4]s %[5]s in [lo, hi] per 3)
    store y[r, c] = o
    o = dot(a, %[4]s %[5]s out [lo, hi] per 2)
    o = map choose(test(lo <= c - r div 2 && c - r div 2 <= hi), o, 0.5)
    store z[r, c] = o
  }
}`
	var ks []*kernel.Kernel
	for i, c := range []struct{ w, b, dot, how string }{
		{"f32[70,52]", "f32[70,52] rows d", "b", "by 70"},
		{"bf16[70,52]", "f32[70,52] rows d", "b", "by 70"},
		{"f16[52,70]/64", "f32[52,70] cols d", "b'", "by 70"},
		{"bf16[52,70]/16", "f32[52,70] cols d", "b'", "by 70"},
		{"f32[52,70]", "f32[52,70] cols d", "b'", "by 70"},
		{"f32[70,52]", "f32[70,52] rows d", "b", "as bf16 by 70"},
		{"bf16[70,52]", "f32[70,52] rows d", "b", "as bf16 by 70"},
		{"bf16[52,70]/32 pairs", "f32[52,70] cols d", "b'", "as bf16 by 70"},
	} {
		ks = append(ks, parse(t, fmt.Sprintf(text, i, c.w, c.b, c.dot, c.how, 70))...)
	}
	deep := parse(t, fmt.Sprintf(text, len(ks), "bf16[1100,52]", "f32[1100,52] rows d", "b", "by 1100", 1100))[0] // more than blockK
	check := func(m Machine, p *program, k *kernel.Kernel, args ...int64) {
		ms := fill(rand.New(rand.NewPCG(8, uint64(args[1]))), k, 0)
		want := clone(ms)
		if err := k.Run(want, args); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("%s, rows, ks and band %d", m.Name, args), k, want, p.run(t, k, ms, args, 1), 1e-5)
	}
	for _, m := range machines(t) {
		p := compile(t, m, append(ks, deep)...)
		for _, k := range ks {
			for _, band := range [][2]int64{{-30, 0}, {-3, 4}, {7, 21}, {16, 16}, {-1 << 40, 31}, {40, 1 << 40}, {5, 4}, {200, 300}, {-300, -200}} {
				for _, n := range []int64{1, 14, 29, 60} {
					for _, d := range []int64{33, 70} {
						check(m, p, k, n, d, band[0], band[1])
					}
				}
			}
		}
		check(m, p, deep, 29, 1100, 900, 1050)
		check(m, p, deep, 2, 1090, 1030, 1080)
	}
}
