package frontend_test

import (
	"encoding/json"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
)

func values(t testing.TB, text string) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBenchSpecs(t *testing.T) {
	for name, c := range map[string]struct{ set, inputs, outputs string }{
		"contract": {`{"K": 48, "N": 20, "weights": "bf16"}`, "[f32[t, K:48]]", "[f32[t, N:20]]"},
		"attend":   {`{"heads": 4, "kv_heads": 2, "head_dim": 16, "window": 8, "sinks": 1}`, "[f32[t, heads:4, head_dim:16] f32[t, kv_heads:2, head_dim:16] f32[t, kv_heads:2, head_dim:16]]", "[f32[t, heads:4, head_dim:16]]"},
		"recur":    {`{"heads": 2, "dim": 8, "hidden": 12, "chunk": 16}`, "[f32[t, heads:2, dim:8] f32[t, heads:2, dim:8] f32[t, heads:2, dim:8] f32[t, rate:3, heads:2] f32[t, heads:2]]", "[f32[t, heads:2, dim:8]]"},
		"hybrid":   {`{"heads": 2, "dim": 8, "hidden": 12, "chunk": 16, "kv_heads": 1, "head_dim": 4}`, "", "[f32[t, attn_heads:2, head_dim:4] f32[t, heads:2, dim:8]]"},
		"tied":     {`{"heads": 2, "dim": 8, "hidden": 12, "chunk": 16, "window": 24}`, "", "[f32[t, heads:2, dim:8] f32[t, heads:2, dim:8]]"},
	} {
		t.Run(name, func(t *testing.T) {
			m, d := frontend.Load("../specs/bench/"+name+".spec", nil, values(t, c.set), nil)
			if d != nil {
				t.Fatal(d)
			}
			if len(m.Entries) != 1 {
				t.Fatalf("%d entries", len(m.Entries))
			}
			g := m.Entries[0]
			if errs := g.Verify(); len(errs) > 0 {
				t.Fatal(ir.Explain(errs))
			}
			var in, out []ir.Type
			for _, n := range g.Inputs {
				in = append(in, n.Type)
			}
			for _, o := range g.Outputs {
				out = append(out, o.Node.Type)
			}
			if got := text(in); c.inputs != "" && got != c.inputs {
				t.Errorf("inputs %s, want %s", got, c.inputs)
			}
			if got := text(out); got != c.outputs {
				t.Errorf("outputs %s, want %s", got, c.outputs)
			}
			if name == "contract" {
				for _, n := range ir.Postorder(g.Roots()...) {
					if n.Op.Name == "weight" && n.Type.String() != "bf16[N:20, K:48]" {
						t.Errorf("the weight is %s", n.Type)
					}
				}
			}
			for i := range m.Entries {
				plain(t, m.Entries[i])
			}
		})
	}
}

func text(types []ir.Type) string {
	s := "["
	for i, x := range types {
		if i > 0 {
			s += " "
		}
		s += x.String()
	}
	return s + "]"
}
