package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// Quantise gives entry points whose weights are stored as to, q8 or q4, where
// that is of use: a weight of two dimensions that products sum over the last
// dimension of, and nothing else reads but gathers of its rows (an embedding
// that is the head too). How a weight is used is seen where every pass has been:
// done are the same entry points behind them. The error says that no weight is
// used so.
func Quantise(entries, done []*ir.Graph, to elem.Type) ([]*ir.Graph, error) {
	products, others := map[string]bool{}, map[string]bool{}
	for _, g := range done {
		for _, o := range g.Outputs {
			weightUse(nil, o.Node, products, others)
		}
		everyNode(g, func(n *ir.Node) {
			for _, a := range n.Args {
				weightUse(n, a, products, others)
			}
			if n.Body == nil {
				return
			}
			for r := n.Body; r != nil; r = r.Write {
				for _, root := range slices.Concat(r.Init, r.Roots(), r.Kept) {
					weightUse(nil, root, products, others)
				}
			}
		})
	}
	found, changed := false, false
	out := rewritten(entries, func(b *ir.Builder, n *ir.Node, _ []*ir.Node) *ir.Node {
		name := n.Attr.Name
		if n.Op.Name != "weight" || !products[name] || others[name] {
			return nil
		}
		found, changed = true, changed || n.Type.Elem != to
		attr := n.Attr
		attr.Elem = to
		return b.Must("weight", attr)
	})
	if !found {
		return nil, fmt.Errorf("no weight can be stored as %s: none of two dimensions is read by products alone, along its last dimension", to)
	}
	if !changed {
		return nil, fmt.Errorf("all weights that can be stored as %s are already: nothing would change", to)
	}
	return out, nil
}

// weightUse notes how n uses a, where that is a weight; n is nil for a result.
func weightUse(n, a *ir.Node, products, others map[string]bool) {
	if a == nil || a.Op.Name != "weight" {
		return
	}
	name, dims := a.Attr.Name, a.Type.Dims
	switch {
	case n != nil && n.Op.Name == "dot" && len(dims) == 2 && a.Type.Elem.Float() && slices.Equal(n.Attr.Over, []string{dims[1].Name}) && columnsOf(n, a):
		products[name] = true
	case n != nil && n.Op.Name == "gather" && n.Args[0] == a:
	default:
		others[name] = true
	}
}

// RoundOperands gives entry points in which products with weights that are stored as
// codes take the rows that they multiply these with as to: Q8, or F32, as they are. An error says that Q8 would change nothing.
func RoundOperands(entries []*ir.Graph, to elem.Type) ([]*ir.Graph, error) {
	found, changed := false, false
	out := rewritten(entries, func(b *ir.Builder, n *ir.Node, args []*ir.Node) *ir.Node {
		if n.Op.Name != "dot" {
			return nil
		}
		next := slices.Clone(args)
		for i, w := range args {
			x := args[1-i]
			if w.Op.Name != "weight" || !w.Type.Elem.Quantised() || !rows(x.Type) || !slices.Equal(n.Attr.Over, []string{x.Type.Dims[len(x.Type.Dims)-1].Name}) {
				continue
			}
			found = true
			y := x
			if x.Op.Name == "cast" && x.Type.Elem == elem.Q8 {
				y = x.Args[0] // what the spec says gives way
			}
			if to != elem.F32 {
				y = b.Must("cast", ir.Attr{Elem: to}, y)
			}
			changed = changed || y != x
			next[1-i] = y
		}
		return b.Must("dot", n.Attr, next...)
	})
	switch {
	case to == elem.F32:
	case !found:
		return nil, fmt.Errorf("no operand is rounded to %s: no product of rows reads a weight that is stored as q8 or q4", to)
	case !changed:
		return nil, fmt.Errorf("all operands that can be rounded to %s are already: nothing would change", to)
	}
	return out, nil
}

// columnsOf reports that a product's other operand has only the summed dimension of
// the weight: what the weight has besides becomes columns.
func columnsOf(n, w *ir.Node) bool {
	x := n.Args[0]
	if x == w {
		x = n.Args[1]
	}
	return x != w && x.Type.Find(w.Type.Dims[0].Name) < 0
}

// StoreAs gives entry points whose attention keeps its keys and values as to:
// the rows of this call are read as rounded as those of calls before it. The
// error says that there is no attention.
func StoreAs(entries []*ir.Graph, to elem.Type) ([]*ir.Graph, error) {
	found := false
	out := rewritten(entries, func(b *ir.Builder, n *ir.Node, args []*ir.Node) *ir.Node {
		if n.Op.Name != "attend" {
			return nil
		}
		found = true
		next := slices.Clone(args)
		for i := 1; i <= 2; i++ {
			x := next[i]
			if x.Op.Name == "cast" && x.Type.Elem.Float() && x.Args[0].Type.Elem == elem.F32 {
				x = x.Args[0] // what the spec says gives way
			}
			if x.Type.Elem != to {
				x = b.Must("cast", ir.Attr{Elem: to}, x)
			}
			next[i] = x
		}
		return b.Must("attend", n.Attr, next...)
	})
	if !found {
		return nil, fmt.Errorf("nothing is kept as %s: there is no attention", to)
	}
	return out, nil
}

func rewritten(entries []*ir.Graph, change func(b *ir.Builder, n *ir.Node, args []*ir.Node) *ir.Node) []*ir.Graph {
	out := make([]*ir.Graph, len(entries))
	for i, g := range entries {
		out[i] = newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node { return change(g.B, n, args) }).graph(g)
	}
	return out
}
