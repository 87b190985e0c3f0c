package passes

import "github.com/memc-lang/memc/ir"

// What tests outside the package look at.
var KeepFor = keepFor

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
