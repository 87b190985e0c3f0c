package passes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// TestRowsWhereTheyAre: a write reads a call's keys and values where they are, unless
// earlier calls have kept rows of the block that it completes.
func TestRowsWhereTheyAre(t *testing.T) {
	for _, name := range []string{"allmem-tiny", "lact-tiny", "ttt-linear-tiny"} {
		m, _ := load(t, name)
		p := lowered(t, m, true, 48)
		dir := "../testdata/golden/" + name + "/"
		pm, err := newPlanMachine(p, floats(t, dir+"weights.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		var wide []int
		for i, b := range p.Plan.Buffers {
			if strings.HasPrefix(b.Name, "forward.") && strings.HasSuffix(b.Name, ".lined") && b.Dims[1] > 4 { // no rates
				wide = append(wide, i)
			}
		}
		used := func() bool {
			return slices.ContainsFunc(wide, func(i int) bool { return !anyNaN(pm.mem[i], false) })
		}
		call := func(n int) {
			in := ir.NewTensor(elem.I32, n)
			if err := pm.call("forward", map[string]*ir.Tensor{"tokens": in}, n, map[string][]float32{}); err != nil {
				t.Fatal(err)
			}
		}
		if call(40); len(wide) < 2 || used() {
			t.Errorf("%s: of %d buffers for lined up rows some are used for a call of whole blocks", name, len(wide))
		}
		if call(3); used() {
			t.Errorf("%s: rows are lined up for a call that completes no block", name)
		}
		if call(13); !used() {
			t.Errorf("%s: no rows are lined up for a block that two calls have brought", name)
		}
	}
}
