package passes_test

import (
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// TestNothingIsTurnedInOneGroup: where one kernel writes a memory's weights, all that
// it adds to them lies in panels as they do, and tiles are loaded and stored along these.
// Where the update goes through other kernels, momenta and sums lie as these read them.
func TestNothingIsTurnedInOneGroup(t *testing.T) {
	for _, c := range []struct {
		golden string
		alike  bool
	}{{"allmem-tiny", true}, {"lact-tiny", false}} {
		m, _ := load(t, c.golden)
		p := lowered(t, m, true, 48)
		plain := 0
		for _, b := range p.Plan.Buffers {
			if b.Class == plan.State && b.Panel == 0 && b.Elem == plan.F32 && b.Bytes >= 4*256 && strings.Contains(b.Name, ".mem.") && !strings.Contains(b.Name, ".r") { // no rows, no scalars
				plain++
			}
		}
		if c.alike != (plain == 0) {
			t.Errorf("%s: %d states of matrices lie in rows", c.golden, plain)
		}
		if !c.alike {
			continue
		}
		stores := 0
		for _, k := range p.Kernels {
			for _, part := range k.Parts {
				kernel.Each(part.Body, func(s kernel.Stmt) {
					st, ok := s.(*kernel.Store)
					if !ok || st.Buf.Panel == 0 || !strings.HasPrefix(k.Name, "write") {
						return
					}
					stores++
					if along := st.Idx[len(st.Idx)-2]; !along.Has(kernel.Col) {
						t.Errorf("%s: %s stores %s across its panels: %v", c.golden, k.Name, st.Buf.Name, st.Idx)
					}
				})
			}
		}
		if stores == 0 {
			t.Errorf("%s: no kernel of a write stores to panels", c.golden)
		}
	}
}
