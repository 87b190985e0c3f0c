package memc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// TestStatesBecomeOthers: what a state was may become another one, in any order
// of storing; and a memory may keep more values than one kernel copies.
func TestStatesBecomeOthers(t *testing.T) {
	list := func(n int, f func(i int) string) string {
		s := make([]string, n)
		for i := range s {
			s[i] = f(i)
		}
		return strings.Join(s, ", ")
	}
	const many = 20
	state := func(i int) string { return fmt.Sprintf("s%d", i) }
	for name, write := range map[string]string{
		"two":       "s0, s1 = s1, s0",
		"computed":  "s0, s1 = 0.5 * s1, s0",
		"queue":     "s0, s1, s2, s3 = mean_t(x), s0, s1, s2",
		"viewed":    "s0, s1 = 0.5 * s0 + mean_t(x), s0 as [d]",
		"swapped":   "s0, s1 = concat(s1[d: 4..8], s1[d: 0..4] over d), s0",
		"parts":     "s0, s1, s2 = s2, s0[d: 2] * mean_t(x), concat(s1[d: 4..8], s0[d: 0..4] over d)",
		"summed":    "s0, s1 = 0.5 * s0 + sum_t(x * x) * norm(s1), s0",
		"many":      list(many, state) + " = mean_t(x), " + list(many-1, state),
		"many sums": list(many, state) + " = " + list(many, func(i int) string { return fmt.Sprintf("0.5 * s%d + sum_t(x * y%d)", i, i) }),
	} {
		t.Run(name, func(t *testing.T) {
			src := "clock t\ndim d = 8\nmemory M(x[t, d], " + list(many, func(i int) string { return fmt.Sprintf("y%d[t, d]", i) }) + ") chunk 19 of t {\n"
			sum := "x"
			for i := range many {
				src += fmt.Sprintf("  state s%d[d] = %d\n", i, i)
				sum += fmt.Sprintf(" + %d * s%d", i+1, i)
			}
			src += "  read o = " + sum + "\n  write { " + write + " }\n  return o\n}\n"
			src += "entry forward(x f32[t, d]) -> y f32[t, d] = M(x, " + list(many, func(i int) string { return fmt.Sprintf("tanh(x * %d)", i) }) + ") at \"m\"\n"
			file := filepath.Join(t.TempDir(), "states.spec")
			if err := os.WriteFile(file, []byte(src), 0o644); err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 100*8)
			for i := range x {
				x[i] = float32(i%13)/13 - 0.4
			}
			in := map[string]runtime.Tensor{"x": runtime.FromFloat32(x, 100, 8)}
			var ref *stream
			for _, p := range programs(t, file, nil, memc.Options{Verify: true}, append([]string{"interp"}, native(t)...)...) {
				w, err := p.DrawWeights(1)
				if err != nil {
					t.Fatal(err)
				}
				whole := begin(t, p, w, 2, "forward", in).rest(every(100))
				if ref == nil {
					ref = whole
				}
				if e := relative(t, whole.out["y"], ref.out["y"]); !(e <= 1e-5) {
					t.Errorf("%s: %g from the interpreter", p.Target(), e)
				}
				if p.Target() != "interp" {
					begin(t, p, w, 1, "forward", in).rest(random(1, 9)).same(whole, p.Target()+", in pieces")
				}
			}
		})
	}
}
