package irtest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir"
)

// TestGraphs: random graphs verify, run, stay finite, and survive their text.
func TestGraphs(t *testing.T) {
	ops, small := map[string]bool{}, 0
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		g := Graph(rng, 5+rng.IntN(30))
		if errs := g.Verify(); len(errs) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, ir.Explain(errs), g)
		}
		in := Inputs(rng, g, 1+rng.IntN(40))
		want, err := ir.Run(g, in, Weights)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, g)
		}
		size := 0.0
		for _, x := range want["y"].Data {
			size += x * x
		}
		size = math.Sqrt(size / float64(len(want["y"].Data)))
		if !(size < 100) {
			t.Errorf("seed %d: values of size %g", seed, size)
		}
		if size < 1e-3 {
			small++
		}
		src := g.String()
		m, err := ir.Parse(src)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, src)
		}
		if m.Entries[0].String() != src {
			t.Fatalf("seed %d prints as\n%s\nthen as\n%s", seed, src, m.Entries[0])
		}
		got, err := ir.Run(m.Entries[0], in, Weights)
		if err != nil || Difference(got["y"], want["y"]) > 1e-12 {
			t.Fatalf("seed %d: the parsed graph differs: %v", seed, err)
		}
		for _, n := range allNodes(g.Roots()) {
			ops[n.Op.Name] = true
		}
	}
	if small > 10 {
		t.Errorf("%d graphs of 200 give next to nothing", small)
	}
	// Those that passes make or take away, and what jumps.
	not := map[string]bool{"grad": true, "keep": true, "kept": true, "accumulate": true, "stop": true, "floor": true, "cast": true, "iota": true}
	for name := range ir.Ops {
		if !ops[name] && !not[name] {
			t.Errorf("no random graph has %s", name)
		}
	}
}

func allNodes(roots []*ir.Node) []*ir.Node {
	out := ir.Postorder(roots...)
	for _, n := range out {
		if n.Body != nil {
			out = append(out, allNodes(append(n.Body.Roots(), n.Body.Init...))...)
		}
	}
	return out
}

func TestGraphIsItsSeed(t *testing.T) {
	a, b := Graph(rand.New(rand.NewPCG(5, 5)), 30), Graph(rand.New(rand.NewPCG(5, 5)), 30)
	if a.String() != b.String() {
		t.Error("one seed gives two graphs")
	}
}
