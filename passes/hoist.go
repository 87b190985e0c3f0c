package passes

import (
	"fmt"
	"maps"
	"slices"

	"github.com/memc-lang/memc/ir"
)

// hoist moves row-wise work out of scans: before them what a body computes row
// by row without looking at a state, behind them the products that only the
// scan's results need. Projections then are one large product over all rows of
// a call instead of a small one for each piece of a chunk, and what is left in
// the body is about its state.
func hoist(g *ir.Graph) (*ir.Graph, error) {
	moved := map[*ir.Node][]*ir.Node{} // what stands for the results of a scan
	return newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node {
		switch {
		case n.Op.Name == "scan" && n.Body.Write == nil:
			s, results := hoistScan(g.B, n, args)
			if results != nil {
				moved[n] = results
			}
			return s
		case n.Op.Name == "result" && moved[n.Args[0]] != nil:
			return moved[n.Args[0]][n.Attr.Start]
		}
		return nil
	}).graph(g), nil
}

// hoistScan gives a scan with less in its body, nil where nothing leaves it, and
// the values of its results, nil where they stay what they are.
func hoistScan(b *ir.Builder, scan *ir.Node, args []*ir.Node) (s *ir.Node, results []*ir.Node) {
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
	rows := body.Rows
	behind := tail(body, order, outside)
	if len(behind) > 0 {
		rows = cut(body, behind, outside)
	}
	if s = shrink(b, scan, args, rows, outside); len(behind) == 0 {
		return s, nil
	}
	after := maps.Clone(outside)
	for i, r := range rows {
		if outside[r] == nil {
			after[r] = b.Result(s, i)
		}
	}
	for _, n := range order {
		if behind[n] {
			if after[n] = leave(b, n, chunk, after); after[n] == nil {
				return shrink(b, scan, args, body.Rows, outside), nil // names that clash outside
			}
		}
	}
	for _, r := range body.Rows {
		if i := slices.Index(rows, r); i >= 0 {
			results = append(results, b.Result(s, i))
		} else {
			results = append(results, after[r])
		}
	}
	return s, results
}

// tail finds the products that the scan's results alone need and that look at no
// state themselves, with all that comes after them.
func tail(body *ir.Region, order []*ir.Node, outside map[*ir.Node]*ir.Node) map[*ir.Node]bool {
	stays := map[*ir.Node]bool{}
	late := slices.Clone(body.Next)
	for _, p := range body.Probes {
		late = append(late, p.Value)
	}
	for _, n := range ir.Postorder(late...) {
		stays[n] = true
	}
	for _, n := range slices.Backward(order) {
		free := n.Op.Rows == ir.Rowwise && n.Type.Clock() == body.Clock && !ir.MixesRows(n) && !lazy(n) && n.Op.Name != "keep"
		for _, a := range n.Args {
			free = free && (outside[a] != nil || a.Type.Clock() == body.Clock)
		}
		if stays[n] || !free {
			stays[n] = true
			for _, a := range n.Args {
				stays[a] = true
			}
		}
	}
	behind := map[*ir.Node]bool{}
	products := false
	for _, n := range order {
		if stays[n] || outside[n] != nil {
			continue
		}
		// Element-wise work costs nothing where it stands; a view would hide from
		// the body's kernels what they may share.
		if n.Op.Name == "dot" || n.Op.Name == "view" || slices.ContainsFunc(n.Args, func(a *ir.Node) bool { return behind[a] }) {
			behind[n] = true
			products = products || n.Op.Name == "dot"
		}
	}
	if !products {
		return nil
	}
	// Rows leave a scan as they are: what products take as codes is rounded outside.
	for _, n := range slices.Backward(order) {
		for _, a := range n.Args {
			if behind[n] && outside[a] == nil && a.Type.Elem.Quantised() {
				behind[a] = true
			}
		}
	}
	// What is stored between must not be much more than what is given.
	width := func(ns []*ir.Node) (w int) {
		for _, n := range ns {
			w += ir.Type{Dims: n.Type.Dims[1:]}.Count()
		}
		return w
	}
	between := cut(body, behind, outside)
	if len(between) == 0 || width(between) > 4*width(body.Rows) {
		return nil
	}
	return behind
}

// cut lists the rows that a scan must give where the nodes of behind leave it:
// what they read of it, and every result that is not theirs.
func cut(body *ir.Region, behind map[*ir.Node]bool, outside map[*ir.Node]*ir.Node) []*ir.Node {
	var rows []*ir.Node
	need := func(n *ir.Node) {
		if !behind[n] && !slices.Contains(rows, n) {
			rows = append(rows, n)
		}
	}
	for _, n := range ir.Postorder(body.Rows...) {
		if behind[n] {
			for _, a := range n.Args {
				if outside[a] == nil {
					need(a)
				}
			}
		}
	}
	for _, n := range body.Rows {
		need(n)
	}
	return rows
}

// shrink is the scan with the results rows, over arguments that are the values
// outside which its body needs; nil where it stays as it is.
func shrink(b *ir.Builder, scan *ir.Node, args, rows []*ir.Node, outside map[*ir.Node]*ir.Node) *ir.Node {
	body := scan.Body
	next := *body
	next.Rows = rows
	// The frontier: nodes with rows that can leave, used by one that cannot.
	var frontier []*ir.Node
	need := func(n *ir.Node) {
		for n != nil && n.Op.Name == "cast" && n.Type.Elem.Quantised() { // made inside, of what it rounds
			n = n.Args[0]
		}
		if n != nil && outside[n] != nil && n.Type.Clock() == body.Clock && varies(n) && !slices.Contains(frontier, n) {
			frontier = append(frontier, n)
		}
	}
	for _, n := range ir.Postorder(next.Roots()...) {
		if outside[n] == nil {
			for _, a := range n.Args {
				need(a)
			}
		}
	}
	for _, n := range next.Roots() {
		need(n)
	}
	if slices.Equal(frontier, body.Params) && slices.Equal(rows, body.Rows) {
		return nil
	}
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
	next.Rows, next.Next = inside.nodes(rows), inside.nodes(body.Next)
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
