package memc_test

import (
	"testing"

	"github.com/memc-lang/memc"
)

// TestQuantised: a program with quantised weights or histories is near the
// interpreter, which runs the same graph in float64, and gives the same bits
// however a stream is cut.
func TestQuantised(t *testing.T) {
	targets := native(t)
	for _, o := range []memc.Options{{Quantize: "q8"}, {Quantize: "q4"}, {Cache: "bf16"}, {Cache: "q8"}} {
		t.Run(o.Quantize+o.Cache, func(t *testing.T) {
			eachCase(t, func(t *testing.T, c goldenCase) {
				o.Verify = true
				ref := c.begin(t, programs(t, c.spec(), c.Set, o, "interp")[0], 1).rest(every(1 << 20))
				t.Logf("%s%s: error %v", o.Quantize, o.Cache, c.errors(t, ref))
				for _, p := range programs(t, c.spec(), c.Set, o, targets...) {
					whole := c.begin(t, p, 1).rest(every(1 << 20))
					for name, v := range ref.out {
						t.Logf("%s %s: %g", p.Target(), name, relative(t, whole.out[name], v))
					}
					c.begin(t, p, 2).rest(random(1, 60)).same(whole, "random pieces")
				}
			})
		})
	}
}

func (c goldenCase) errors(t *testing.T, x *stream) map[string]float64 {
	out := map[string]float64{}
	for name, v := range tensors(t, c.file("outputs")) {
		out[name] = relative(t, x.out[name], v)
	}
	return out
}
