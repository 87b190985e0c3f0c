package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
)

// hoist moves what a scan's body computes row by row without looking at a state
// out of the scan: projections then are one large product over all rows of a
// call instead of a small one for each piece of a chunk.
func hoist(g *ir.Graph) (*ir.Graph, error) {
	return newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node {
		if n.Op.Name != "scan" || n.Body.Write != nil {
			return nil
		}
		return hoistScan(g.B, n, args)
	}).graph(g), nil
}

func hoistScan(b *ir.Builder, scan *ir.Node, args []*ir.Node) *ir.Node {
	body := scan.Body
	chunk := body.Clock
	// outside[n] is the value outside whose chunk rows are n, for each body node
	// that can leave; one without rows is itself.
	outside := map[*ir.Node]*ir.Node{}
	for i, p := range body.Params {
		outside[p] = args[i]
	}
	order := ir.Postorder(body.Roots()...)
	for _, n := range order {
		if _, ok := outside[n]; ok {
			continue
		}
		if o := leave(b, n, chunk, outside); o != nil {
			outside[n] = o
		}
	}
	// The frontier: nodes with rows that can leave, used by one that cannot.
	var frontier []*ir.Node
	need := func(n *ir.Node) {
		if n != nil && outside[n] != nil && n.Type.Clock() == chunk && varies(n) && !slices.Contains(frontier, n) {
			frontier = append(frontier, n)
		}
	}
	for _, n := range order {
		if outside[n] == nil {
			for _, a := range n.Args {
				need(a)
			}
		}
	}
	for _, n := range body.Roots() {
		need(n)
	}
	if slices.Equal(frontier, body.Params) {
		return nil
	}
	next := *body
	next.Params = nil
	var xs []*ir.Node
	become := map[*ir.Node]*ir.Node{}
	for i, n := range frontier {
		b.At = n.Pos()
		p := b.Must("param", ir.Attr{Name: fmt.Sprintf("%s.x%d", scan.Attr.Name, i), Elem: n.Type.Elem, Dims: n.Type.Dims})
		become[n] = p
		next.Params = append(next.Params, p)
		xs = append(xs, outside[n])
	}
	inside := newRebuild(b, func(n *ir.Node, _ []*ir.Node) *ir.Node { return become[n] })
	next.Rows, next.Next = inside.nodes(body.Rows), inside.nodes(body.Next)
	next.Probes = slices.Clone(body.Probes)
	for i := range next.Probes {
		next.Probes[i].Value = inside.node(body.Probes[i].Value)
	}
	s, err := b.Scan(scan.Attr.Name, &next, xs...)
	if err != nil {
		panic(err)
	}
	return s
}

// varies reports whether a value differs from row to row; what is only repeated
// along them stays inside, where it costs nothing.
func varies(n *ir.Node) bool {
	return slices.ContainsFunc(ir.Postorder(n), func(m *ir.Node) bool {
		return m.Op.Name == "param" || m.Op.Name == "index"
	})
}

// leave gives the value outside of which n is the chunk's rows, or nil.
func leave(b *ir.Builder, n *ir.Node, chunk *ir.Clock, outside map[*ir.Node]*ir.Node) *ir.Node {
	b.At = n.Pos()
	switch n.Op.Name {
	case "weight", "const", "table", "iota":
		return n
	case "index":
		if n.Attr.Clock != chunk {
			return nil
		}
		i := b.Must("index", ir.Attr{Clock: chunk.Of})
		return b.Must("mod", ir.Attr{}, i, b.I(int64(chunk.Size)))
	case "keep", "state", "kept", "chunk.index":
		return nil
	}
	if n.Op.Rows != ir.Rowwise || ir.MixesRows(n) || lazy(n) {
		return nil
	}
	args := make([]*ir.Node, len(n.Args))
	for i, a := range n.Args {
		if args[i] = outside[a]; args[i] == nil {
			return nil
		}
	}
	attr := n.Attr
	attr.Dims = redim(attr.Dims, chunk, ir.RowDim(chunk.Of))
	m, err := b.Make(n.Op.Name, attr, args...)
	if err != nil {
		return nil // names that clash outside: it stays in
	}
	return m
}
