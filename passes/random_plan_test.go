package passes_test

import (
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/passes"
)

// TestRandomPlans lowers random graphs and runs their plans, cut at random, with
// the kernel interpreter.
func TestRandomPlans(t *testing.T) {
	ran := 0
	for seed := range uint64(70) {
		rng := rand.New(rand.NewPCG(seed, 0))
		g := irtest.Graph(rng, 1+int(seed)/5)
		lowers := true
		passes.EveryNode(g, func(n *ir.Node) { lowers = lowers && n.Op.Name != "linrec" })
		if !lowers {
			continue
		}
		ran++
		n := 1 + rng.IntN(40)
		in := irtest.Inputs(rng, g, n)
		want, err := whole(g, in)
		if err != nil {
			t.Fatal(err)
		}
		h, err := passes.Run(g, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, fuse := range []bool{true, false} {
			cut := 1 + rng.IntN(n)
			got, err := planned(h, in, n, cut, 16, fuse)
			if err == nil {
				err = got.differBy(want, 1e-3)
			}
			if err != nil {
				t.Errorf("seed %d, fuse %v, %d rows in calls of %d: %v", seed, fuse, n, cut, err)
			}
		}
	}
	if ran < 20 {
		t.Errorf("only %d graphs ran", ran)
	}
}
