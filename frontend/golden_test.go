package frontend

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/memc-lang/memc/ir"
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
	m, d := Load("../specs/"+c.Spec+".spec", nil, c.Set, nil)
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
