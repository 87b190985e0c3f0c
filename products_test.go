package memc_test

import (
	"strings"
	"testing"

	"github.com/memc-lang/memc"
)

// TestProducts: with operands of products rounded to bf16, results move by no
// more than that explains, alike on all targets, and are the same bits however a
// stream is cut, on whatever number of threads, and over a saved state. (-v
// prints how far they move.)
func TestProducts(t *testing.T) {
	targets := native(t)
	eachCase(t, func(t *testing.T, c goldenCase) {
		t.Parallel()
		for _, p := range programs(t, c.spec(), c.Set, memc.Options{Verify: true, Products: "bf16"}, targets...) {
			whole := c.begin(t, p, 1).rest(every(1 << 20))
			for name, v := range tensors(t, c.file("outputs")) {
				e := relative(t, whole.out[name], v)
				t.Logf("%s: %s moves by %.2g", p.Target(), name, e)
				if e < 1e-5 {
					t.Errorf("%s: %s moves by %g: its operands are not rounded", p.Target(), name, e)
				}
			}
			c.near(t, whole, 0.1)
			c.begin(t, p, 1).rest(every(1)).same(whole, p.Target()+", token by token")
			c.begin(t, p, 2).rest(random(1, 60)).same(whole, p.Target()+", random pieces on two threads")
			x := c.begin(t, p, 1)
			x.feed(x.rows / 3)
			x.moved(2).rest(random(2, 90)).same(whole, p.Target()+", saved and restored")
		}
	})
}

// TestProductsHaveEffect: where operands cannot be rounded, asking for it is an
// error that says why.
func TestProductsHaveEffect(t *testing.T) {
	for _, c := range []struct {
		o    memc.Options
		text string
	}{
		{memc.Options{Products: "f16"}, "there are f32 and bf16"},
		{memc.Options{Products: "bf16", Quantize: "q8"}, "exclude each other"},
		{memc.Options{Products: "bf16", Targets: []string{"interp"}}, "by compiled targets alone"},
	} {
		if c.o.Targets == nil {
			c.o.Targets = []string{"avx2"}
		}
		c.o.Set = params("K", "N")
		if _, err := memc.Compile(t.Context(), "specs/bench/contract.spec", c.o); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("products of %s on %s: %v, want an error with %q", c.o.Products, c.o.Targets[0], err, c.text)
		}
	}
}
