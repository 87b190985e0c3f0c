package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
)

// Where an attend and a scan read the same rows, one block can do the work of both
// for the rows of one head, and load them once.

// tied gives the layout of such blocks, nil where there are none: the attend's
// queries are among what the scan's one group of rows reads, keys are not shared by
// several heads, and the group computes some rows of a head in a block as well.
func tied(scan, attend *ir.Node, t Tiling) *layout {
	body, q := scan.Body, attend.Args[0]
	rows, heads := attend.Type.Dims[0], attend.Type.Dims[1]
	if len(tiedParams(scan, q)) == 0 || attend.Args[1].Type.Dims[1].Size != heads.Size || len(q.Type.Dims) != 3 {
		return nil
	}
	nodes := map[*ir.Node]bool{}
	for _, n := range body.Groups[0].Nodes {
		nodes[n] = true
	}
	f := newFuser(append(slices.Clone(body.Rows), body.Kept...), t, true)
	own, ok := lay(f.set(nodes), t, true, "")
	if !ok {
		return nil
	}
	l := layAttend(attend, t)
	for _, a := range own.axes {
		switch {
		case a.dim.Name == heads.Name && a.kind == axisOne && a.dim.Size == heads.Size:
		case a.dim.Name == rows.Name && a.kind == axisRows:
			r := l.find(rows.Name)
			r.step = min(r.step, a.step)
		case a.kind == axisLocal:
			if have := l.find(a.dim.Name); have == nil {
				l.axes = append(l.axes, a)
			} else if have.kind != axisLocal || have.dim.Size != a.dim.Size {
				return nil
			}
		default:
			return nil
		}
	}
	for _, name := range []string{rows.Name, heads.Name} {
		if own.find(name) == nil {
			return nil
		}
	}
	return l
}

// tiedParams are a scan's parameters that are the rows of x and that its group reads.
func tiedParams(scan, x *ir.Node) (params []*ir.Node) {
	for i, a := range scan.Args {
		p := scan.Body.Params[i]
		reads := func(n *ir.Node) bool { return slices.Contains(n.Args, p) }
		if a == x && slices.ContainsFunc(scan.Body.Groups[0].Nodes, reads) {
			params = append(params, p)
		}
	}
	return params
}

// tiedPart adds the blocks of both to a kernel. The attend's scope is with; the
// scan's rows are of sc.
func (sc *scope) tiedPart(k *kernelBuilder, with *scope, l *layout, attend *ir.Node, g ir.Group) {
	b := with.block(k, l, map[*ir.Node]bool{attend: true}, "")
	b.attend(attend)
	b.sc, b.in = sc, map[*ir.Node]bool{}
	for _, n := range g.Nodes {
		b.in[n] = true
		for _, a := range n.Args {
			b.uses[a]++
		}
	}
	q := attend.Args[0]
	for _, p := range tiedParams(sc.scan, q) {
		rows, cols := q.Type.Dims[0].Name, q.Type.Dims[2].Name
		if t := b.tiles[tileKey{q, rows, cols}]; t != nil {
			b.tiles[tileKey{p, rows, cols}] = t
		}
	}
	for _, o := range sc.outs(b.in) {
		b.out(o)
	}
	b.end()
}
