package passes_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
)

// after takes an entry through the passes up to the one named.
func after(t *testing.T, g *ir.Graph, name string) *ir.Graph {
	t.Helper()
	for _, p := range passes.Table {
		h, err := p.Apply(g)
		if err != nil {
			t.Fatal(err)
		}
		if g = h; p.Name == name {
			return g
		}
	}
	t.Fatalf("there is no pass %s", name)
	return nil
}

var places = regexp.MustCompile(`(?m)  @.*$`)

// unplaced is a graph's text without its places: a node that a pass makes again
// is the same node, and takes the new place to its own.
func unplaced(g *ir.Graph) string { return places.ReplaceAllString(g.String(), "") }

// TestPassesAreSound: on every spec, each pass leaves the graph that it is given
// as it was, and gives one that verifies and that its text brings back. Entries
// are taken through the passes one by one and share their names to the end.
func TestPassesAreSound(t *testing.T) {
	for _, name := range goldens {
		t.Run(name, func(t *testing.T) {
			m, _ := load(t, name)
			module := &ir.Module{}
			for _, g := range m.Entries {
				before := unplaced(g)
				h, err := passes.Run(g, func(p passes.Pass, h *ir.Graph) error {
					if text := unplaced(g); text != before {
						t.Errorf("%s changed the graph that it was given:\n%s\nwas\n%s", p.Name, text, before)
					}
					g, before = h, unplaced(h)
					return sound(h)
				})
				if err != nil {
					t.Fatal(err)
				}
				module.Entries = append(module.Entries, h)
			}
			if errs := module.Verify(); len(errs) > 0 {
				t.Error(ir.Explain(errs))
			}
		})
	}
}

// TestPassesRepeat: a pass gives the same text each time.
func TestPassesRepeat(t *testing.T) {
	for _, name := range []string{"allmem-tiny", "comet-tiny", "ttt-linear-tiny"} {
		var texts [2]string
		for i := range texts {
			m, _ := load(t, name)
			g, err := passes.Run(m.Entries[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = g.String()
		}
		if texts[0] != texts[1] {
			t.Errorf("%s: two runs give two texts", name)
		}
	}
}

// TestGradientsPerRowAreNeverStored: once tidy has run, no value of a spec with
// a memory has rows and all dimensions of a state, and none is wider in a row
// than its widest projection.
func TestGradientsPerRowAreNeverStored(t *testing.T) {
	for _, c := range []struct {
		name string
		most int // elements of a row
	}{
		{"allmem-tiny", 3 * 96}, {"allmem-wide", 257}, {"lact-tiny", 96}, {"ttt-linear-tiny", 96},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, gc := load(t, c.name)
			for _, v := range gc.Set {
				var n int
				if json.Unmarshal(v, &n) == nil && n < 1000 {
					c.most = max(c.most, n)
				}
			}
			for _, g := range m.Entries {
				g = after(t, g, "tidy")
				var states []*ir.Node
				rows := map[string]bool{}
				passes.EveryNode(g, func(n *ir.Node) {
					if n.Body != nil {
						states = append(states, n.Body.States...)
						rows[ir.RowDim(n.Body.Clock).Name] = true
					}
				})
				if len(states) == 0 {
					t.Fatal("the spec has no state")
				}
				passes.EveryNode(g, func(n *ir.Node) {
					width, counted := 1, false
					for _, d := range n.Type.Dims {
						if d.Clock != nil || rows[d.Name] {
							counted = true
						} else {
							width *= d.Size
						}
					}
					if !counted {
						return
					}
					if width > c.most {
						t.Errorf("%s %s has %d elements a row, more than %d", n.Op.Name, n.Type, width, c.most)
					}
					for _, s := range states {
						if len(s.Type.Dims) > 2 && !slices.ContainsFunc(s.Type.Dims, func(d ir.Dim) bool { return n.Type.Find(d.Name) < 0 }) {
							t.Errorf("%s %s: a row of it is as large as the state %s %s", n.Op.Name, n.Type, s.Attr.Name, s.Type)
						}
					}
				})
			}
		})
	}
}

// schedules lists, for each scan of a fused graph, the kinds of its groups, and
// counts the hybrids of the graph.
func schedules(g *ir.Graph) (hybrids int, scans []string, err error) {
	inHybrid := map[*ir.Node]bool{}
	for _, gr := range g.Groups {
		if gr.Kind != "hybrid" {
			continue
		}
		hybrids++
		ops := map[string]int{}
		for _, n := range gr.Nodes {
			ops[n.Op.Name]++
			inHybrid[n] = true
			if n.Op.Name == "attend" && !strings.Contains(n.Attr.Where.String(), " - ") {
				err = fmt.Errorf("the hybrid's attend has no window: %s", n.Attr.Where)
			}
		}
		if len(gr.Nodes) != 2 || ops["attend"] != 1 || ops["scan"] != 1 {
			err = fmt.Errorf("a hybrid of %v", ops)
		}
	}
	kinds := func(gs []ir.Group) string {
		var s []string
		for _, gr := range gs {
			s = append(s, gr.Kind)
		}
		return strings.Join(slices.Compact(s), "+")
	}
	passes.EveryNode(g, func(n *ir.Node) {
		if n.Op.Name == "scan" {
			scans = append(scans, fmt.Sprintf("%s/%s/%v", kinds(n.Body.Groups), kinds(n.Body.Write.Groups), inHybrid[n]))
		}
	})
	return hybrids, scans, err
}

// TestMemoriesFuse: in every layer with a memory, the window's attend and the
// memory's scan are one hybrid; rows and write (but for its probes) are one
// group each where they fit a block. Of LaCT's write the sums alone do: the
// products whose sides its momentum makes orthogonal do not. A model without
// memories has no hybrid.
func TestMemoriesFuse(t *testing.T) {
	for _, c := range []struct {
		name    string
		hybrids int
		scans   []string // rows/write/in a hybrid
	}{
		{"qwen3-window", 0, nil},
		{"allmem-tiny", 2, []string{"recur/recur+map/true", "recur/recur+map/true"}},
		{"allmem-edge", 1, []string{"recur/recur+map/true"}},
		{"lact-tiny", 2, []string{"recur/recur+map+contract+map/true", "recur/recur+map+contract+map/true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := load(t, c.name)
			for _, g := range m.Entries {
				hybrids, scans, err := schedules(after(t, g, "fuse"))
				if err != nil {
					t.Error(err)
				}
				if hybrids != c.hybrids || !slices.Equal(scans, c.scans) {
					t.Errorf("%s: %d hybrids, scans %q; want %d, %q", g.Name, hybrids, scans, c.hybrids, c.scans)
				}
			}
		})
	}
}

// TestFusionKnowsNoNames: AllMem under other names for everything that a spec
// may name fuses into the same groups.
func TestFusionKnowsNoNames(t *testing.T) {
	src, err := os.ReadFile("../specs/allmem.spec")
	if err != nil {
		t.Fatal(err)
	}
	renamed := string(src)
	for i, word := range []string{"Memory", "Block", "Net", "net", "l2n", "biased", "w0", "w1", "w2", "rate", "rate_floor", "keep", "ell",
		"mem_heads", "mem_head_dim", "mem_hidden", "mem_layers", "has_memory", "q", "k", "v", "u", "g", "m", "o", "n", "x0", "window", "sinks", "chunk",
		"inner_loss", "q_proj", "k_proj", "v_proj", "lr_proj", "momentum_proj", "out_norm", "h", "a", "f", "s", "mem", "self_attn"} {
		// A word after a dot is a field, in quotes a part of a weight's name.
		if word == "chunk" {
			renamed = regexp.MustCompile(`param chunk\b`).ReplaceAllString(renamed, "param zz_rows")
			renamed = strings.Replace(renamed, "chunk chunk of t", "chunk zz_rows of t", 1)
			continue
		}
		renamed = regexp.MustCompile(`\b`+word+`\b`).ReplaceAllString(renamed, fmt.Sprintf("Zz%d", i)[map[bool]int{true: 0, false: 1}[word[0] <= 'Z']:])
	}
	_, c := load(t, "allmem-tiny")
	back := map[string]string{"window": "z27", "sinks": "z28", "chunk": "zz_rows", "mem_heads": "z13", "mem_head_dim": "z14", "mem_hidden": "z15", "mem_layers": "z16", "rate_floor": "z10"}
	set := map[string]json.RawMessage{}
	for k, v := range c.Set {
		if b := back[k]; b != "" {
			k = b
		}
		set[k] = v
	}
	m, diags := frontend.Load("renamed.spec", func(name string) ([]byte, error) {
		if name == "renamed.spec" {
			return []byte(renamed), nil
		}
		return os.ReadFile("../specs/" + name)
	}, set, nil)
	if diags != nil {
		t.Fatalf("%v\n%s", diags, renamed)
	}
	plain, _ := load(t, "allmem-tiny")
	kinds := func(m *ir.Module) string {
		g := after(t, m.Entries[0], "fuse")
		var s []string
		for _, gr := range g.Groups {
			s = append(s, fmt.Sprint(gr.Kind, len(gr.Nodes)))
		}
		_, scans, _ := schedules(g)
		return strings.Join(append(s, scans...), " ")
	}
	if got, want := kinds(m), kinds(plain); got != want {
		t.Errorf("the renamed spec fuses as\n%s\nwant\n%s", got, want)
	}
}
