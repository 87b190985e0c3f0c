package memc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// TestProducts: with operands of products rounded to bf16, results move by no
// more than that explains, alike on all targets, and are the same bits however a
// stream is cut, on whatever number of threads, and over a saved state. (-v
// prints how far they move.)
func TestProducts(t *testing.T) {
	targets := native(t)
	eachCase(t, func(t *testing.T, c goldenCase) {
		t.Parallel()
		for _, p := range programs(t, c.spec(), c.Set, memc.Options{Verify: true, Products: "bf16"}, targets...) {
			whole := c.begin(t, p, 1).rest(every(1 << 20))
			for name, v := range tensors(t, c.file("outputs")) {
				e := relative(t, whole.out[name], v)
				t.Logf("%s: %s moves by %.2g", p.Target(), name, e)
				if e < 1e-5 {
					t.Errorf("%s: %s moves by %g: its operands are not rounded", p.Target(), name, e)
				}
			}
			c.near(t, whole, 0.1)
			c.begin(t, p, 1).rest(every(1)).same(whole, p.Target()+", token by token")
			c.begin(t, p, 2).rest(random(1, 60)).same(whole, p.Target()+", random pieces on two threads")
			x := c.begin(t, p, 1)
			x.feed(x.rows / 3)
			x.moved(2).rest(random(2, 90)).same(whole, p.Target()+", saved and restored")
		}
	})
}

// TestProductsHaveEffect: where operands cannot be rounded, asking for it is an
// error that says why.
func TestProductsHaveEffect(t *testing.T) {
	codes, attend := params("K", "N"), params("heads", "kv_heads", "head_dim")
	codes["weights"] = json.RawMessage(`"q8"`)
	for _, c := range []struct {
		spec string
		o    memc.Options
		text string
	}{
		{"contract", memc.Options{Products: "f16", Targets: []string{"interp"}}, "there are f32, bf16, q8"},
		{"contract", memc.Options{Products: "bf16", Quantize: "q8"}, "exclude each other"},
		{"contract", memc.Options{Products: "bf16", Targets: []string{"interp"}}, "by compiled targets alone"},
		{"contract", memc.Options{Products: "bf16", Set: codes}, "no product takes operands of bf16"},
		{"attend", memc.Options{Products: "bf16", Set: attend, Cache: "q8"}, "no product takes operands of bf16"},
		{"contract", memc.Options{Products: "q8"}, "no product of rows reads a weight that is stored as q8 or q4"},
		{"attend", memc.Options{Products: "q8", Set: attend}, "no product of rows reads a weight that is stored as q8 or q4"},
	} {
		if c.o.Targets == nil {
			c.o.Targets = []string{"sm_80"}
		}
		if c.o.Set == nil {
			c.o.Set = params("K", "N")
		}
		if _, err := memc.Compile(t.Context(), "specs/bench/"+c.spec+".spec", c.o); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("products of %s of %s on %s: %v, want an error with %q", c.o.Products, c.spec, c.o.Targets[0], err, c.text)
		}
	}
}

// TestProductsAreKept: an artifact knows what its products' operands are rounded
// to, and the interpreter may be beside targets that round them.
func TestProductsAreKept(t *testing.T) {
	for products, want := range map[string]string{"": "", "f32": "", "bf16": "bf16"} {
		a, err := memc.Compile(t.Context(), "specs/bench/contract.spec", memc.Options{Set: params("K", "N"), Products: products, Targets: []string{"sm_80", "interp"}})
		if err != nil {
			t.Fatal(err)
		}
		if a.Manifest.Products != want || len(a.Targets) != 2 {
			t.Errorf("products of %q: the artifact has %q and %d targets", products, a.Manifest.Products, len(a.Targets))
		}
	}
}

// TestWholePanels: a tile has whole panels of a product's columns, also where rows are so
// long that it has fewer of them, and where a tuning asks for a part of one.
func TestWholePanels(t *testing.T) {
	for _, target := range []string{"avx2", "avx512", "amx", "sm_80"} {
		for _, k := range []string{"64", "16384", "16448", "29568", "100000"} {
			for _, forced := range []int{0, 1, 40, 100} {
				o := memc.Options{Set: map[string]json.RawMessage{"K": json.RawMessage(k), "N": json.RawMessage("4096")}}
				if o.Tuning = memc.Force(target, memc.Sizes{Cols: forced}); memc.GPU(target) {
					o.Tuning = nil
				}
				m, err := memc.Load("specs/bench/contract.spec", o)
				if err != nil {
					t.Fatal(err)
				}
				p, err := memc.Lower(m, target, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range p.Kernels {
					axes := x.Parts[0].Grid
					if step := axes[len(axes)-1].Step; step%32 != 0 {
						t.Errorf("%s, rows of %s, %d columns asked for: a tile has %d", target, k, forced, step)
					}
				}
			}
		}
	}
}

// TestCodedOperands: products of q8 are the graph's, so that the interpreter has them
// too; asked for again they are an error, and f32 takes them away.
func TestCodedOperands(t *testing.T) {
	casts := func(m *ir.Module) (n int) {
		for _, x := range memc.Nodes(m.Entries[0]) {
			if x.Op.Name == "cast" && x.Type.Elem == elem.Q8 {
				n++
			}
		}
		return n
	}
	o := memc.Options{Set: params("K", "N"), Quantize: "q4", Products: "q8", Targets: []string{"interp"}}
	if _, err := memc.Compile(t.Context(), "specs/bench/contract.spec", o); err != nil {
		t.Error(err)
	}
	m, err := memc.Load("specs/bench/contract.spec", o)
	if err != nil {
		t.Fatal(err)
	}
	if n := casts(m); n != 1 {
		t.Errorf("%d operands are rounded, want 1", n)
	}
	if _, err := memc.Store(m, memc.Options{Products: "q8"}); err == nil || !strings.Contains(err.Error(), "nothing would change") {
		t.Errorf("asked for twice: %v", err)
	}
	if m, err = memc.Store(m, memc.Options{Products: "f32"}); err != nil || casts(m) != 0 {
		t.Errorf("with f32 %d are left (%v)", casts(m), err)
	}
}
