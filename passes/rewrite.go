package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
)

// rebuild makes graphs anew from the leaves up. Change, asked for each node
// after its arguments have been rebuilt, gives what stands in its place, or nil
// to keep it (with the new arguments). Bodies of scans are rebuilt too.
type rebuild struct {
	b      *ir.Builder
	change func(old *ir.Node, args []*ir.Node) *ir.Node
	done   map[*ir.Node]*ir.Node
}

func newRebuild(b *ir.Builder, change func(old *ir.Node, args []*ir.Node) *ir.Node) *rebuild {
	return &rebuild{b: b, change: change, done: map[*ir.Node]*ir.Node{}}
}

// node gives what n has become.
func (r *rebuild) node(n *ir.Node) *ir.Node {
	if n == nil {
		return nil
	}
	if m, ok := r.done[n]; ok {
		return m
	}
	args := make([]*ir.Node, len(n.Args))
	for i, a := range n.Args {
		args[i] = r.node(a)
	}
	at := r.b.At
	r.b.At = n.Pos()
	m := r.change(n, args)
	if m == nil {
		m = r.again(n, args)
	}
	r.b.At = at
	r.done[n] = m
	return m
}

// again is n itself over other arguments.
func (r *rebuild) again(n *ir.Node, args []*ir.Node) *ir.Node {
	if n.Body != nil {
		body := r.region(n.Body)
		if body == n.Body && slices.Equal(args, n.Args) {
			return n
		}
		s, err := r.b.Scan(n.Attr.Name, body, args...)
		if err != nil {
			panic(err)
		}
		return s
	}
	if slices.Equal(args, n.Args) {
		return n
	}
	return r.b.Must(n.Op.Name, n.Attr, args...)
}

func (r *rebuild) nodes(ns []*ir.Node) []*ir.Node {
	out := make([]*ir.Node, len(ns))
	for i, n := range ns {
		out[i] = r.node(n)
	}
	return out
}

// region rebuilds a body; an unchanged one stays the same pointer.
func (r *rebuild) region(old *ir.Region) *ir.Region {
	if old == nil {
		return nil
	}
	g := *old
	g.Init, g.Rows, g.Next, g.Kept = r.nodes(old.Init), r.nodes(old.Rows), r.nodes(old.Next), r.nodes(old.Kept)
	g.Probes = slices.Clone(old.Probes)
	for i := range g.Probes {
		g.Probes[i].Value = r.node(old.Probes[i].Value)
	}
	g.Sums = r.nodes(old.Sums)
	g.Write = r.region(old.Write)
	same := slices.Equal(g.Init, old.Init) && slices.Equal(g.Rows, old.Rows) && slices.Equal(g.Next, old.Next) &&
		slices.Equal(g.Kept, old.Kept) && slices.Equal(g.Probes, old.Probes) && slices.Equal(g.Sums, old.Sums) && g.Write == old.Write
	if same {
		return old
	}
	return &g
}

// graph rebuilds an entry point.
func (r *rebuild) graph(g *ir.Graph) *ir.Graph {
	h := *g
	h.Outputs = slices.Clone(g.Outputs)
	for i := range h.Outputs {
		h.Outputs[i].Node = r.node(g.Outputs[i].Node)
	}
	return &h
}

// redim replaces a clock in dimensions: a value over the clock from becomes one
// over d.
func redim(dims []ir.Dim, from *ir.Clock, d ir.Dim) []ir.Dim {
	out := slices.Clone(dims)
	for i := range out {
		if out[i].Clock == from && !out[i].Past {
			out[i] = d
		}
	}
	return out
}
