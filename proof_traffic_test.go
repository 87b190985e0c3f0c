package memc_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/runtime"
)

// operandAccess is an instruction that moves operands of products.
var operandAccess = regexp.MustCompile(`^(ldmatrix|ld\.shared\.(v2|v4|f32|u16|u32)|st\.shared\.v4|(@!?%p\d+ )?cp\.async\.cg)\S*`)

// TestMainLoopsMeetNoConflicts: what products read of shared memory, what copies
// write there, and what they read of buffers takes no more passes and sectors than
// the bytes do, in the loops of each schedule: whole blocks of rows, and single ones.
func TestMainLoopsMeetNoConflicts(t *testing.T) {
	for i, c := range []struct{ spec, set, cache string }{
		{"contract", `{"K": 256, "N": 128}`, ""},
		{"contract", `{"K": 256, "N": 128, "weights": "bf16"}`, ""},
		{"contract", `{"K": 256, "N": 128, "weights": "f16"}`, ""},
		{"contract", `{"K": 512, "N": 128, "weights": "q8"}`, ""},
		{"contract", `{"K": 512, "N": 128, "weights": "q4"}`, ""},
		{"attend", `{"heads": 2, "kv_heads": 1, "head_dim": 64, "window": 64}`, ""},
		{"attend", `{"heads": 2, "kv_heads": 1, "head_dim": 64, "window": 64}`, "bf16"},
		{"recur", `{"heads": 1, "dim": 64, "hidden": 64, "chunk": 64}`, ""},
		{"recur", `{"heads": 1, "dim": 128, "hidden": 128, "chunk": 64}`, ""},
		{"hybrid", `{"heads": 1, "dim": 64, "hidden": 64, "chunk": 64, "kv_heads": 1, "head_dim": 64, "window": 64}`, "bf16"},
		{"hybrid", `{"heads": 1, "dim": 128, "hidden": 128, "chunk": 64, "kv_heads": 1, "head_dim": 64, "window": 64}`, "bf16"},
	} {
		t.Run(fmt.Sprint(c.spec, i), func(t *testing.T) {
			t.Parallel()
			set := parameters(t, c.set)
			const rows = 64
			p := loweredWith(t, "specs/bench/"+c.spec+".spec", memc.Options{Set: set, Cache: c.cache, Slab: rows}, "sm_80")
			m := printed(t, p.Kernels, "sm_80")
			x := simulated(t, p, m, weightsFor(p.Plan, 1))
			x.count = sim.Traffics{}
			e, rng := &p.Plan.Entries[0], rand.New(rand.NewPCG(3, 4))
			for _, n := range []int{rows, 1} {
				x.call(e.Name, rowsFor(e, n, rng), n, map[string]runtime.Tensor{})
			}
			looked := map[string]bool{}
			for _, line := range slices.Sorted(maps.Keys(x.count)) {
				a := x.count[line]
				name := operandAccess.FindString(a.Text)
				if name == "" || a.Cost <= a.Least {
					looked[name] = true
					continue
				}
				// A panel's codes begin at multiples of 16 bytes, in the middle of a sector.
				coded := strings.Contains(c.set, `"q8"`) || strings.Contains(c.set, `"q4"`)
				if a.Shared || !coded || a.Cost > a.Least+a.Least/8+a.Times {
					t.Errorf("line %d: %+v", line, *a)
				}
			}
			if delete(looked, ""); len(looked) < 2 {
				t.Errorf("only %v was looked at", looked)
			}
		})
	}
}
