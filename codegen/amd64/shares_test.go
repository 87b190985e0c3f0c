package amd64

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// However many workers share rows that are laid out, every row is computed, once or
// with the same bits, and none behind the last; a kernel that uses their number
// otherwise has it whole.
func TestSharedRows(t *testing.T) {
	const text = `kernel shared(x: f32[0,9], w: f32[600,9]/32, s: f32[600], y: f32[0,600] write, z: f32[0,600] write) ints(n) {
  tile a: f32[32,9] rows min(32, n - i)
  tile b: f32[9,120]
  tile o: f32[32,120] rows min(32, n - i)
  tile q: f32[32,120] rows min(32, n - i)
  tile v: f32[1,120]
  part grid(i: n step 32, j: 600 step 120) {
    a = load x[i + r, c]
    b = load w[j + c, r]
    v = load s[j + c]
    o = dot(a, b by 9)
    store y[i + r, j + c] = o
    q = map silu(o) * v
    store z[i + r, j + c] = q
  }
}`
	backwards := strings.Replace(text, "store y[i + r, j + c]", "store y[n - 1 - (i + r), j + c]", 1)
	narrow := strings.Replace(text, "q: f32[32,120] rows min(32, n - i)", "q: f32[32,120] rows min(32, n - i) cols min(120, n)", 1)
	for _, m := range machines(t) {
		for _, text := range []string{text, backwards, narrow} {
			ks := parse(t, text)
			p := compile(t, m, ks...)
			for _, n := range []int{1, 13, 31, 64, 65, 97, 150, 224, 300} {
				agree(t, m, p, ks, n, []int64{int64(n)}, 1e-5)
				ms := fill(rand.New(rand.NewPCG(uint64(n), 2)), ks[0], n)
				for _, out := range ms[3:] {
					for e := range int64(len(out) / 4) {
						out.SetFloat(ks[0].Bufs[3].Elem, e, math.NaN())
					}
				}
				one := p.run(t, ks[0], ms, []int64{int64(n)}, 1)
				for _, workers := range []int{2, 3, 4, 7} {
					got := p.run(t, ks[0], ms, []int64{int64(n)}, workers)
					for i := range got {
						if !bytes.Equal(got[i], one[i]) {
							t.Fatalf("%s, %d rows, %d workers: %s differs from what one worker computes\n%s", m.Name, n, workers, ks[0].Bufs[i].Name, text)
						}
					}
				}
			}
		}
	}
}
