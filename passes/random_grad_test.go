package passes_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/passes"
)

// TestRandomGradients compares gradients for each row, with respect to the
// weights of random graphs, with differences; and what simplify makes of
// products with them.
func TestRandomGradients(t *testing.T) {
	tried := 0
	ops := map[string]bool{}
	for seed := uint64(0); tried < 60; seed++ {
		if seed == 400 {
			t.Fatalf("only %d gradients in %d graphs", tried, seed)
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		g := irtest.Graph(rng, 8+rng.IntN(15))
		var weights []*ir.Node
		for _, n := range ir.Postorder(g.Roots()...) {
			if n.Op.Name == "weight" && n.Type.Count() <= 40 {
				weights = append(weights, n)
			}
		}
		if len(weights) == 0 {
			continue
		}
		b, y, w := g.B, g.Outputs[0].Node, weights[rng.IntN((len(weights)+1)/2)]
		ell := b.Sum(b.Mul(y, y), y.Type.Dims[1].Name)
		d := b.Must("grad", ir.Attr{Dim: "t"}, ell, w)
		h := *g
		h.Outputs = []ir.Output{{Name: "g", Node: d}}
		// A product with the gradient, which need not be stored for it.
		if at := slices.IndexFunc(w.Type.Dims, func(d ir.Dim) bool { return d.Size > 1 }); at >= 0 {
			q := b.Must("exp", ir.Attr{}, b.Must("weight", ir.Attr{Name: "q", Elem: ell.Type.Elem, Dims: w.Type.Dims[at : at+1]}))
			h.Outputs = append(h.Outputs, ir.Output{Name: "q", Node: b.Dot(q, d, w.Type.Dims[at].Name)})
		}
		derived, err := passes.Table[0].Apply(&h)
		if err != nil {
			if !strings.Contains(err.Error(), "no gradient goes through") {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		tried++
		for _, n := range ir.Postorder(ell) {
			if slices.Contains(ir.Postorder(n), w) {
				ops[n.Op.Name] = true
			}
		}
		n := 1 + rng.IntN(8)
		in := irtest.Inputs(rng, g, n)
		ref, _ := numericGradients(&h)
		want, err := whole(ref, in)
		if err != nil {
			t.Fatal(err)
		}
		simple, err := passes.Table[1].Apply(derived)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, x := range []*ir.Graph{derived, simple} {
			if err := sound(x); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got, err := whole(x, in)
			if err == nil {
				err = got.differBy(want, 1e-5)
			}
			if err != nil {
				t.Errorf("seed %d, the gradient by %s %s: %v\n%s", seed, w.Attr.Name, w.Type, err, unplaced(x))
			}
		}
	}
	for _, name := range []string{"dot", "mul", "sum", "tanh", "view"} {
		if !ops[name] {
			t.Errorf("no gradient went through %s", name)
		}
	}
	t.Log(tried, "gradients through", len(ops), "ops")
}
