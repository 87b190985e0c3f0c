package amd64

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// Rows laid out in strips give the bits that they give where they lie, in
// results that are stored in place or not.
func TestStrips(t *testing.T) {
	for _, k := range []int{1, 19, 64} {
		text := fmt.Sprintf(`kernel strips(x: f32[0,%[1]d], w: f32[700,%[1]d]/32, y: f32[0,700] write) ints(n) {
  tile a: f32[60,%[1]d] rows min(60, n - i)
  tile b: f32[128,%[1]d] rows min(128, 700 - j)
  tile o: f32[60,128] rows min(60, n - i) cols min(128, 700 - j)
  part grid(i: n step 60, j: 700 step 128) {
    a = load x[i + r, c]
    b = load w[j + r, c]
    o = dot(a, b')
    store y[i + r, j + c] = o
  }
}`, k)
		whole := strings.NewReplacer("700 step", "640 step", " cols min(128, 700 - j)", "", " rows min(128, 700 - j)", "").Replace(text)
		for _, m := range machines(t) {
			for _, text := range []string{text, whole} {
				ks := parse(t, text)
				p := compile(t, m, ks...)
				for _, n := range []int{5, 14, 27, 60, 73} {
					agree(t, m, p, ks, n, []int64{int64(n)}, 1e-5)
				}
				const n = 73
				ms := fill(rand.New(rand.NewPCG(1, 2)), ks[0], n)
				all := p.run(t, ks[0], ms, []int64{n}, 1)[2]
				for _, r := range []int{0, 13, 59, 72} {
					x := kernel.Memory(ms[0][r*k*4:][:k*4])
					one := p.run(t, ks[0], []kernel.Memory{x, ms[1], ms[2][r*700*4:][:700*4]}, []int64{1}, 1)[2]
					if !bytes.Equal(one, all[r*700*4:][:700*4]) {
						t.Errorf("%s: row %d of k = %d has other bits alone", m.Name, r, k)
					}
				}
			}
		}
	}
}

// A tile that products read both ways is laid out for each.
func TestBothWays(t *testing.T) {
	ks := parse(t, `kernel both(x: f32[32,32], w: f32[0,32], y: f32[0,32] write, z: f32[0,32] write) ints(n) {
  tile a: f32[32,32]
  tile b: f32[32,32]
  tile o: f32[32,32]
  part grid(h: 1 step 1) {
    a = load x[r, c]
    for j = 0 to n step 32 {
      b = load w[j + r, c]
      o = dot(a, b by 32)
      store y[j + r, c] = o
      o = dot(a', b by 32)
      store z[j + r, c] = o
      o = dot(b, a by 32)
      o += dot(b, a' by 32)
      store y[j + r, c] = o
    }
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		agree(t, m, p, ks, 640, []int64{640}, 1e-5)
	}
}
