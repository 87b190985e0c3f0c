package passes

import (
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// What tests outside the package look at.
var (
	KeepFor = keepFor
	Certain = certain
)

// Far is the bound of Diagonal where there is none.
const Far = far

// Diagonal bounds j - i where a mask is true.
func Diagonal(e *ints.Expr, bounds map[string][2]*ints.Expr) (lo, hi *ints.Expr) {
	return diagonal(e, bounds, true)
}

// Rewrites gives the names of all rules and structural rewrites.
func Rewrites() []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	for _, r := range sharedRules {
		names = append(names, r.Name)
	}
	for _, s := range structural {
		names = append(names, s.name)
	}
	return names
}

// CountRewrites has f called with the name of each rewrite applied, until stop.
func CountRewrites(f func(name string)) (stop func()) {
	fired = f
	return func() { fired = nil }
}

// Replace rebuilds a graph with change, as passes do.
func Replace(g *ir.Graph, change func(old *ir.Node, args []*ir.Node) *ir.Node) *ir.Graph {
	return newRebuild(g.B, change).graph(g)
}

// EveryNode calls f for all nodes of a graph, bodies included.
func EveryNode(g *ir.Graph, f func(n *ir.Node)) { everyNode(g, f) }
