package passes_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
)

func TestBisect(t *testing.T) {
	name := os.Getenv("BISECT")
	if name == "" {
		t.Skip()
	}
	m, _ := load(t, name)
	dir := "../testdata/golden/" + name + "/"
	w := floats(t, dir+"weights.safetensors")
	tokens := ints32(t, dir+"inputs.safetensors", "tokens")
	if len(tokens) > 100 {
		tokens = tokens[:100]
	}
	g, err := passes.Run(m.Entries[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	in := &ir.Tensor{Elem: g.Inputs[0].Type.Elem, Dims: []int{len(tokens)}}
	for _, x := range tokens {
		in.Data = append(in.Data, float64(x))
	}
	bad := 0
	for _, n := range ir.Postorder(g.Roots()...) {
		if n.Type.Clock() == nil || n.Op.Name == "keep" || !n.Type.Elem.Float() || n.Op.Name == "scan" {
			continue
		}
		h := *g
		h.Outputs = []ir.Output{{Name: "logits", Node: n}}
		want, err := ir.Run(&h, map[string]*ir.Tensor{"tokens": in}, func(n *ir.Node) (*ir.Tensor, error) {
			x := w[n.Attr.Name]
			tt := &ir.Tensor{Elem: n.Type.Elem}
			for _, d := range n.Type.Dims {
				tt.Dims = append(tt.Dims, d.Size)
			}
			for _, v := range x {
				tt.Data = append(tt.Data, float64(v))
			}
			return tt, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := passes.Lower([]*ir.Graph{&h}, passes.Options{Target: "test", Slab: 48, Tiling: passes.DefaultTiling, Fuse: os.Getenv("FUSE") != ""})
		if err != nil {
			t.Fatal(err)
		}
		pm, err := newPlanMachine(p, w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pm.call(h.Name, tokens)
		if err != nil {
			t.Fatal(n.Op.Name, n.Type, n.Pos(), err)
		}
		wf := make([]float32, len(want["logits"].Data))
		for i, v := range want["logits"].Data {
			wf[i] = float32(v)
		}
		if d := distance(got["logits"], wf); !(d < 1e-4) {
			fmt.Println(n.ID, n.Op.Name, n.Type, n.Pos(), "error", d)
			for _, a := range n.Args {
				fmt.Println("    ", a.ID, a.Op.Name, a.Type)
			}
			if bad == 0 {
				for _, k := range p.Kernels {
					fmt.Println(k)
				}
				fmt.Println(p.Plan)
			}
			if bad++; bad > 3 {
				t.FailNow()
			}
		}
	}
}
