package passes_test

import (
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/passes"
)

// TestRandomGraphs runs random graphs through every pass: what each one makes
// verifies, survives its text form, and computes the same; the last one also in
// pieces.
func TestRandomGraphs(t *testing.T) {
	bad := 0
	for seed := range uint64(200) {
		if bad > 8 {
			break
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		g := irtest.Graph(rng, 1+int(seed)/5)
		n := 1 + rng.IntN(60)
		in := irtest.Inputs(rng, g, n)
		want, err := ir.Run(g, in, irtest.Weights)
		if err != nil {
			t.Fatal(err)
		}
		h, err := passes.Run(g, func(p passes.Pass, g *ir.Graph) error {
			if errs := g.Verify(); len(errs) > 0 {
				t.Errorf("seed %d after %s: %s", seed, p.Name, ir.Explain(errs[:1]))
				bad++
			}
			src := g.String()
			if m, err := ir.Parse(src); err != nil || m.Entries[0].String() != src {
				t.Errorf("seed %d after %s: text %v", seed, p.Name, err)
				bad++
			}
			got, err := ir.Run(g, in, irtest.Weights)
			if err != nil {
				t.Errorf("seed %d after %s: %v", seed, p.Name, err)
				bad++
			} else if d := irtest.Difference(got["y"], want["y"]); d > 1e-9 {
				t.Errorf("seed %d after %s: differs by %g", seed, p.Name, d)
				bad++
			}
			return nil
		})
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			bad++
			continue
		}
		s, err := ir.NewSession([]*ir.Graph{h}, irtest.Weights)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			bad++
			continue
		}
		got, err := irtest.Stream(rng, s, h, in, n, 9)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			bad++
			continue
		}
		for _, o := range []string{"y", "last"} {
			if d := irtest.Difference(got[o], want[o]); d > 1e-9 {
				t.Errorf("seed %d: %s differs by %g in pieces", seed, o, d)
				bad++
			}
		}
	}
}
