package memc_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime"
)

// TestGoldenHybrids: attention and a memory of one layer together, in each way
// that there is, have the bits that they have apart, whoever runs which block.
func TestGoldenHybrids(t *testing.T) {
	targets := native(t)
	some := false
	eachCase(t, func(t *testing.T, c goldenCase) {
		m, err := memc.Load(c.spec(), memc.Options{Set: c.Set})
		if err != nil {
			t.Fatal(err)
		}
		if m, err = memc.Optimise(m, false, nil); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(m.Entries, passes.HasChoice) {
			return
		}
		some = true
		want := map[string]*stream{}
		for _, way := range memc.Hybrids {
			for _, p := range programs(t, c.spec(), c.Set, memc.Options{Hybrid: way}, targets...) {
				what := p.Target() + ", " + way
				whole := c.begin(t, p, 2).rest(every(1 << 20))
				if want[p.Target()] == nil {
					c.near(t, whole, c.Tolerance)
					want[p.Target()] = whole
				}
				whole.same(want[p.Target()], what)
				c.begin(t, p, 3).rest(random(3, 50)).same(want[p.Target()], what+", random pieces on 3 threads")
			}
		}
	})
	if !some {
		t.Error("no case has attention that can run together with a memory")
	}
}

// TestHybrids: so have specs where one part has a single block for all rows, or
// where both parts read the same rows.
func TestHybrids(t *testing.T) {
	targets := native(t)
	for _, c := range []struct {
		spec, set           string
		heads, attend, size int // of the memory, of attention, of a head
	}{
		{"hybrid", `{"heads": 1, "attn_heads": 3, "kv_heads": 3, "head_dim": 16, "dim": 16, "hidden": 24, "chunk": 32, "window": 24}`, 1, 3, 16},
		{"hybrid", `{"heads": 3, "attn_heads": 1, "kv_heads": 1, "head_dim": 16, "dim": 16, "hidden": 24, "chunk": 32}`, 3, 1, 16},
		{"tied", `{"heads": 2, "dim": 16, "hidden": 24, "chunk": 32, "window": 24}`, 2, 2, 16},
	} {
		const rows = 150
		rng := rand.New(rand.NewPCG(7, uint64(c.heads)))
		in := map[string]runtime.Tensor{"rates": around0(rng, rows, 3, c.heads), "keep": around0(rng, rows, c.heads)}
		for _, name := range []string{"q", "k", "v"} {
			in[name] = around0(rng, rows, c.attend, c.size)
			if c.spec == "hybrid" {
				in["mem_"+name] = around0(rng, rows, c.heads, c.size)
			}
		}
		set := parameters(t, c.set)
		var want *stream
		first := map[string]*stream{}
		for _, way := range slices.Concat([]string{"interp", ""}, memc.Hybrids) {
			on, o := targets, memc.Options{Hybrid: way}
			if way == "interp" {
				on, o.Hybrid = []string{"interp"}, ""
			}
			for _, p := range programs(t, "specs/bench/"+c.spec+".spec", set, o, on...) {
				w, err := p.DrawWeights(5)
				if err != nil {
					t.Fatal(err)
				}
				x := begin(t, p, w, 2, "forward", in).rest(every(1 << 20))
				if want == nil {
					want = x
					continue
				}
				what := fmt.Sprintf("%s %s, %s, %q", c.spec, c.set, p.Target(), way)
				for name := range want.out {
					if e := relative(t, x.out[name], want.out[name]); !(e <= 1e-4) {
						t.Errorf("%s: relative error %g of %s", what, e, name)
					}
				}
				if first[p.Target()] == nil {
					first[p.Target()] = x
				}
				for seed := range uint64(3) {
					begin(t, p, w, 1+int(seed), "forward", in).rest(random(seed, 40)).same(first[p.Target()], what+", random pieces")
				}
			}
		}
	}
}

// around0 is a tensor of small numbers around 0.
func around0(rng *rand.Rand, shape ...int) runtime.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() / 4)
	}
	return runtime.FromFloat32(x, shape...)
}
