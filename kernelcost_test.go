package memc

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir"
)

// settings are a spec's parameters, each followed by its value.
func settings(kv ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = json.RawMessage(kv[i+1])
	}
	return m
}

// TestKernelCosts: every group's work belongs to a kernel of the plan, and the
// kernels' flops together are the call's.
func TestKernelCosts(t *testing.T) {
	for _, c := range []struct {
		spec   string
		set    map[string]json.RawMessage
		tokens int64
		flops  int64 // of all, 0: not worked out by hand
	}{
		{"specs/bench/contract.spec", settings("K", "64", "N", "32"), 10, 2 * 64 * 32 * 10},
		{"specs/bench/contract.spec", settings("K", "64", "N", "32", "weights", `"q4"`), 10, 2 * 64 * 32 * 10},
		{"specs/bench/attend.spec", settings("heads", "2", "kv_heads", "1", "head_dim", "16", "window", "8"), 100, 2 * 2 * 2 * 16 * (100*8 - 7*8/2)},
		{"specs/bench/recur.spec", benchOptions().Set, 170, 0},
		{"specs/bench/hybrid.spec", settings("heads", "2", "kv_heads", "1", "head_dim", "16", "dim", "16", "hidden", "32", "chunk", "16", "window", "8"), 104, 0},
	} {
		o := Options{Set: c.set}
		if c.set["weights"] != nil { // codes on both sides
			o.Products = "q8"
		}
		m, err := Load(c.spec, o)
		if err != nil {
			t.Fatal(err)
		}
		if m, err = Optimise(m, true, nil); err != nil {
			t.Fatal(err)
		}
		ways := []string{""}
		if strings.Contains(c.spec, "hybrid") {
			ways = append(ways, Hybrids...)
		}
		for _, hybrid := range ways {
			testKernelCosts(t, c.spec, m, hybrid, c.tokens, c.flops)
		}
	}
}

func testKernelCosts(t *testing.T, spec string, m *ir.Module, hybrid string, tokens, flops int64) {
	p, err := Lower(m, "avx512", Options{Hybrid: hybrid})
	if err != nil {
		t.Fatal(err)
	}
	g := m.Entries[0]
	want, err := g.Cost(0, tokens)
	if err != nil {
		t.Fatal(err)
	}
	costs := KernelCosts(g, p.Plan, 0, tokens)
	if costs == nil {
		t.Errorf("%s: groups and launches do not pair off", spec)
		return
	}
	sum := int64(0)
	for name, k := range costs {
		sum += k.Flops
		if k.Bytes <= 0 {
			t.Errorf("%s: the kernel %s moves %d bytes", spec, name, k.Bytes)
		}
	}
	if flops != 0 && want.Flops != flops {
		t.Errorf("%s: %d flops, want %d", spec, want.Flops, flops)
	}
	if d := float64(sum-want.Flops) / float64(want.Flops); d < -0.01 || d > 0.01 {
		t.Errorf("%s: the kernels have %d flops together, the call has %d", spec, sum, want.Flops)
	}
}

// TestTiedRowsAreLoadedOnce: one launch of attention and a memory that read the
// same queries loads them once, and counts so many bytes less than two launches.
func TestTiedRowsAreLoadedOnce(t *testing.T) {
	const heads, dim, rows = 2, 16, 40
	m, err := Load("specs/bench/tied.spec", Options{Set: settings("heads", "2", "dim", "16", "hidden", "32", "chunk", "16", "window", "24")})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Optimise(m, false, nil); err != nil {
		t.Fatal(err)
	}
	loads, bytes := map[string]int{}, map[string]int64{}
	for _, hybrid := range []string{"apart", "launch"} {
		p, err := Lower(m, "avx512", Options{Hybrid: hybrid})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range p.Kernels {
			if s := Schedule(k.Name); s == "attend" || s == "recur" || s == "hybrid" {
				loads[hybrid] += strings.Count(k.String(), "load b0[") // the queries come first
				bytes[hybrid] += KernelCosts(m.Entries[0], p.Plan, 0, rows)[k.Name].Bytes
			}
		}
	}
	if loads["apart"] != 2 || loads["launch"] != 1 {
		t.Errorf("queries are loaded in %d places apart, in %d together; want 2 and 1", loads["apart"], loads["launch"])
	}
	if less := bytes["apart"] - bytes["launch"]; less != heads*dim*rows*4 {
		t.Errorf("one launch moves %d bytes less than two, want %d", less, heads*dim*rows*4)
	}
}

// TestRowCost: a row of a memory reads its state, and none of the rows that
// wait; the row behind which a block of eight waiting rows is summed costs their
// part of the write, and the chunk's last row that of its block and the rest.
func TestRowCost(t *testing.T) {
	m, err := Load("specs/bench/recur.spec", Options{Set: settings("heads", "2", "dim", "16", "hidden", "32", "chunk", "24")})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Optimise(m, false, nil); err != nil {
		t.Fatal(err)
	}
	at := func(pos int64) ir.Cost {
		c, err := m.Entries[0].Cost(pos, 1)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, middle, block, last := at(24), at(36), at(39), at(47)
	const state = 3 * 2 * 32 * 16 * 4 // w0, w1 and w2
	if first != middle || first.Bytes < state {
		t.Errorf("the first row costs %v, one in the middle %v: want the same, with the state's %d bytes", first, middle, state)
	}
	if block.Flops < 8*first.Flops {
		t.Errorf("the row that completes a block costs %v, the first %v: want the work of 8 rows", block, first)
	}
	// The momentum takes two operations an element, the step one.
	if rest := last.Flops - block.Flops; rest < 3*state/4 || rest > first.Flops || last.Bytes < block.Bytes+2*state {
		t.Errorf("the last row costs %v, a block's %v, the first %v: want a block's work, three operations an element more, and states and momenta", last, block, first)
	}
}
