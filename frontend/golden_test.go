package frontend_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/passes"
)

const goldens = "../testdata/golden"

type goldenCase struct {
	Name      string
	Spec      string
	Entry     string
	Tokens    int
	Set       map[string]json.RawMessage
	Tolerance float64
}

func readCases(t *testing.T) []goldenCase {
	t.Helper()
	dirs, err := os.ReadDir(goldens)
	if err != nil {
		t.Fatal(err)
	}
	var out []goldenCase
	for _, d := range dirs {
		raw, err := os.ReadFile(filepath.Join(goldens, d.Name(), "case.json"))
		if err != nil {
			t.Fatal(err)
		}
		c := goldenCase{Name: d.Name()}
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	if len(out) < 10 {
		t.Fatalf("only %d golden cases", len(out))
	}
	return out
}

// header gives the shapes in a safetensors file.
func header(t *testing.T, file string) map[string][]int {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(raw)
	var h map[string]struct{ Shape []int }
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:8+n], &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "__metadata__")
	raw, _ = json.Marshal(all)
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	out := map[string][]int{}
	for k, v := range h {
		out[k] = v.Shape
	}
	return out
}

// weights lists the shapes of a graph's weights, bodies of scans included.
func weights(g *ir.Graph) map[string][]int {
	out := map[string][]int{}
	var walk func(roots []*ir.Node)
	walk = func(roots []*ir.Node) {
		for _, n := range ir.Postorder(roots...) {
			if n.Op.Name == "weight" {
				shape := make([]int, len(n.Type.Dims))
				for i, d := range n.Type.Dims {
					shape[i] = d.Size
				}
				out[n.Attr.Name] = shape
			}
			if n.Body != nil {
				walk(n.Body.Roots())
				walk(n.Body.Init)
			}
		}
	}
	walk(g.Roots())
	return out
}

func loadGolden(t *testing.T, c goldenCase) *ir.Module {
	t.Helper()
	m, d := frontend.Load("../specs/"+c.Spec+".spec", nil, c.Set, nil)
	if d != nil {
		t.Fatal(d.Error())
	}
	return m
}

func TestGoldenWeights(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			m := loadGolden(t, c)
			if len(m.Entries) != 2 || m.Entries[0].Name != "forward" || m.Entries[1].Name != "next" {
				t.Fatalf("entries %v", m.Entries)
			}
			want := header(t, filepath.Join(goldens, c.Name, "weights.safetensors"))
			for _, g := range m.Entries {
				got := weights(g)
				for k, s := range want {
					if fmt.Sprint(got[k]) != fmt.Sprint(s) {
						t.Errorf("%s: %s is %v in the checkpoint, %v in the graph", g.Name, k, s, got[k])
					}
				}
				for k, s := range got {
					if want[k] == nil {
						t.Errorf("%s: %s %v is not in the checkpoint", g.Name, k, s)
					}
				}
			}
		})
	}
}

// tensors reads a safetensors file of f32 and i32 tensors.
func tensors(t *testing.T, file string) map[string]*ir.Tensor {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(raw)
	var h map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:8+n], &h); err != nil {
		t.Fatal(err)
	}
	delete(h, "__metadata__")
	out := map[string]*ir.Tensor{}
	for k, v := range h {
		var e struct {
			Dtype   string
			Shape   []int
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(v, &e); err != nil {
			t.Fatal(err)
		}
		x := &ir.Tensor{Elem: elem.F32, Dims: e.Shape}
		if e.Dtype == "I32" {
			x.Elem = elem.I32
		}
		for data := raw[8+int(n)+e.Offsets[0] : 8+int(n)+e.Offsets[1]]; len(data) > 0; data = data[4:] {
			bits := binary.LittleEndian.Uint32(data)
			if x.Elem == elem.I32 {
				x.Data = append(x.Data, float64(int32(bits)))
			} else {
				x.Data = append(x.Data, float64(math.Float32frombits(bits)))
			}
		}
		out[k] = x
	}
	return out
}

// TestGoldenRun runs the graphs as the interpreter does, in float64: the specs say
// what the golden files were computed from.
func TestGoldenRun(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			m := loadGolden(t, c)
			if errs := m.Verify(); len(errs) > 0 {
				t.Fatal(ir.Explain(errs))
			}
			text := m.String()
			if again, err := ir.Parse(text); err != nil || again.String() != text {
				t.Fatalf("the module's text does not read back (%v)", err)
			}
			for i, g := range m.Entries {
				m.Entries[i] = plain(t, g)
			}
			dir := filepath.Join(goldens, c.Name)
			ws := tensors(t, filepath.Join(dir, "weights.safetensors"))
			in := tensors(t, filepath.Join(dir, "inputs.safetensors"))
			want := tensors(t, filepath.Join(dir, "outputs.safetensors"))["logits"]
			weigh := func(n *ir.Node) (*ir.Tensor, error) { return ws[n.Attr.Name], nil }
			out, err := ir.Run(m.Entries[0], in, weigh)
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(out["logits"].Data, want.Data); !(d < 1e-6) {
				t.Errorf("forward differs by %g", d)
			}
			if out, err = ir.Run(m.Entries[1], in, weigh); err != nil {
				t.Fatal(err)
			}
			last := want.Data[len(want.Data)-len(out["logits"].Data):]
			if d := difference(out["logits"].Data, last); !(d < 1e-6) {
				t.Errorf("next differs by %g", d)
			}
		})
	}
}

// difference is ‖got − want‖ / ‖want‖.
func difference(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var a, b float64
	for i := range got {
		a += (got[i] - want[i]) * (got[i] - want[i])
		b += want[i] * want[i]
	}
	return math.Sqrt(a / b)
}

// plain is the graph without op grad, which the interpreter leaves to a pass.
func plain(t *testing.T, g *ir.Graph) *ir.Graph {
	t.Helper()
	for _, p := range passes.Table {
		if p.Name == "grad" {
			h, err := p.Apply(g)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
	}
	t.Fatal("there is no pass grad")
	return nil
}
