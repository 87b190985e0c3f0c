package passes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
)

// TestLongChains: a group has an end, so that a graph of ten times the nodes
// takes about ten times as long.
func TestLongChains(t *testing.T) {
	const length = 1000
	var b strings.Builder
	b.WriteString("spec \"\"\nclock t base\nentry f base t clocks t {\n  %0 = input {name = \"x\"} : f32[t]\n")
	for i := 1; i <= length; i++ {
		fmt.Fprintf(&b, "  %%%d = tanh %%%d : f32[t]\n", i, i-1)
	}
	fmt.Fprintf(&b, "  inputs %%0\n  output y %%%d\n}\n", length)
	m, err := ir.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	g, err := passes.Run(m.Entries[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	all, most := 0, 0
	for _, x := range g.Groups {
		all += len(x.Nodes)
		most = max(most, len(x.Nodes))
	}
	if all != length || most > length/2 || len(g.Groups) > length/100 {
		t.Errorf("%d groups of at most %d nodes, %d in all", len(g.Groups), most, all)
	}
}
