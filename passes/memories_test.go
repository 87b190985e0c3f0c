package passes_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/passes"
)

// elaborated reads a spec of testdata.
func elaborated(t *testing.T, name, set string) *ir.Module {
	t.Helper()
	values := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(set), &values); err != nil {
		t.Fatal(err)
	}
	m, diags := frontend.Load("testdata/"+name+".spec", nil, values, nil)
	if diags != nil {
		t.Fatal(diags)
	}
	if errs := m.Verify(); len(errs) > 0 {
		t.Fatal(ir.Explain(errs))
	}
	return m
}

// TestOtherMemories: specs that no pass was written for. The interpreter's whole
// stream, gradients by differences, is what every pass, pieces, and the plan
// are held to.
func TestOtherMemories(t *testing.T) {
	for _, c := range []struct {
		spec, set string
		tokens    []int
		cuts      []int // rows of a call of the plan
	}{
		{"mlp_memory", `{"width": 8, "heads": 2, "hidden": 6, "rows": 16}`, []int{1, 17, 63}, []int{63, 15}},
		{"mlp_memory", `{"width": 4, "heads": 1, "hidden": 5, "rows": 5}`, []int{4, 5, 6, 33}, []int{7}},
		{"delta_rule", `{"width": 8, "heads": 2, "rows": 8}`, []int{1, 7, 8, 9, 63, 100}, []int{100, 7}},
		{"delta_rule", `{"width": 6, "heads": 1, "rows": 1}`, []int{1, 19}, []int{19, 4}},
		{"delta_rule", `{"width": 8, "heads": 2, "rows": 70}`, []int{69, 70, 71, 100}, []int{100, 33}},
		{"dilated", `{"width": 6, "heads": 2, "size": 4, "near": 3, "far": 20, "every": 4, "first": 2}`, []int{1, 19, 20, 21, 63, 100}, []int{100, 9}},
	} {
		m := elaborated(t, c.spec, c.set)
		for _, n := range c.tokens {
			t.Run(fmt.Sprintf("%s/%s/%d", c.spec, c.set, n), func(t *testing.T) {
				for _, g := range m.Entries {
					in := irtest.Inputs(rand.New(rand.NewPCG(uint64(n), 9)), g, n)
					ref, derived := numericGradients(g)
					want, err := whole(ref, in)
					if err != nil {
						t.Fatal(err)
					}
					tolerance := 1e-9
					if derived {
						tolerance = 1e-7
					}
					h := checkPasses(t, g, in, n, want, tolerance)
					for _, fuse := range []bool{true, false} {
						for _, cut := range c.cuts {
							got, err := planned(h, in, n, cut, 48, fuse)
							if err == nil {
								err = got.differBy(want, 2e-5)
							}
							if err != nil {
								t.Fatalf("%s: the plan in calls of %d, fuse %v: %v", g.Name, cut, fuse, err)
							}
						}
					}
				}
			})
		}
	}
}

// checkPasses runs what each pass gives against want, whole and in pieces.
func checkPasses(t *testing.T, g *ir.Graph, in map[string]*ir.Tensor, n int, want results, tolerance float64) *ir.Graph {
	t.Helper()
	h, err := passes.Run(g, func(p passes.Pass, h *ir.Graph) error {
		if err := sound(h); err != nil {
			return err
		}
		got, err := whole(h, in)
		if err == nil {
			err = got.differBy(want, tolerance)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", g.Name, err)
	}
	for _, size := range []int{1, 7} {
		got, err := pieces(h, in, n, size)
		if err == nil {
			err = got.differBy(want, tolerance)
		}
		if err != nil {
			t.Fatalf("%s: in pieces of %d: %v", g.Name, size, err)
		}
	}
	return h
}
