package amd64

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// Products of bf16 operands over any number of ks, odd ones too, by any number of rows,
// see nothing of what lies behind the last k, whichever way operands lie.
func TestPairs(t *testing.T) {
	const rows, cols, most = 45, 100, 70
	var ks []*kernel.Kernel
	for _, operands := range []string{" as bf16", ""} {
		for i, c := range []struct{ x, a, w, b, dot string }{
			{"f32[45,70]", "f32[45,70] rows n cols d", "bf16[100,70]/32", "f32[100,70] cols d", "a, b'"},
			{"f32[45,70]", "f32[45,70] rows n cols d", "bf16[100,70]/16", "f32[100,70] cols d", "a, b'"},
			{"f32[45,70]", "f32[45,70] rows n cols d", "f32[100,70]/64", "f32[100,70] cols d", "a, b'"},
			{"f32[45,70]", "f32[45,70] rows n cols d", "f16[70,100]", "f32[70,100] rows d", "a, b"},
			{"f32[70,45]", "f32[70,45] rows d cols n", "bf16[70,100]", "f32[70,100] rows d", "a', b"},
			{"f32[70,45]", "f32[70,45] rows d cols n", "f32[100,70]", "f32[100,70] cols d", "a', b'"},
			{"f32[45,70]", "f32[45,70] rows n cols d", "bf16[100,70]/32 pairs", "f32[100,70] cols d", "a, b'"},
			{"f32[45,70] write", "f32[45,70] rows n cols d", "bf16[100,70]/32 write", "f32[100,70] cols d", "a, b'"},
		} {
			ks = append(ks, parse(t, fmt.Sprintf(`kernel pairs%s%d(x: %s, w: %s, y: f32[45,100] write) ints(n, d) {
  tile a: %s
  tile b: %s
  tile o: f32[45,100] rows n
  part grid() {
    a = load x[r, c]
    b = load w[r, c]
    o = dot(%s%s by 70)
    store y[r, c] = o
  }
}`, strings.TrimPrefix(operands, " as "), i, c.x, c.w, c.a, c.b, c.dot, operands))...)
		}
	}
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, k := range ks {
			for _, d := range []int64{0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 69, 70} {
				for _, n := range []int64{1, 2, 5, 14, 27, 28, rows} {
					ms := fill(rand.New(rand.NewPCG(7, uint64(d))), k, 0)
					for i, b := range k.Bufs[:2] { // nothing of this counts
						for r := range int64(b.Dims[0]) {
							for c := range int64(b.Dims[1]) {
								if along := []int64{c, r}; along[map[bool]int{true: 1}[b.Dims[0] == most]] < d {
									continue
								}
								at, err := b.Place(r, c)
								if err != nil {
									t.Fatal(err)
								}
								ms[i].SetFloat(b.Elem, at, math.NaN())
							}
						}
					}
					want := clone(ms)
					if err := k.Run(want, []int64{n, d}); err != nil {
						t.Fatal(err)
					}
					same(t, fmt.Sprintf("%s, %d rows, %d ks", m.Name, n, d), k, want, p.run(t, k, ms, []int64{n, d}, 1), 1e-6)
				}
			}
		}
	}
}

// Code says that it needs instructions for pairs only where it has them, and has them only
// where a sum's order is free.
func TestPairsFeature(t *testing.T) {
	text := strings.Replace(contractText(64, 64, 32, 32, 32, "bf16"), "contract", "product", 1)
	for how, want := range map[string]bool{"by 32": false, "as bf16 by 32": true, "as bf16 by 2": true, "as bf16 by 1": false, "as bf16": false} {
		ks := parse(t, strings.Replace(text, "by 32", how, 1))
		asm, err := Assembly(t.Context(), ks, AVX512)
		if err != nil {
			t.Skip(err)
		}
		if has := len(AVX512.with(ks).Features) > len(AVX512.Features); has != want || strings.Contains(asm, "vdpbf16ps") != want {
			t.Errorf("%q: features %v", how, AVX512.with(ks).Features)
		}
	}
}
