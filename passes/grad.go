package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
)

// grad replaces every op grad by the nodes that compute it: reverse mode over
// the nodes between w and the loss. For a gradient per row, w is repeated along
// the rows first, so that each row's loss depends on a copy of its own: the
// ordinary gradient with respect to the copies is the gradient per row, and no
// op needs a second rule.
func grad(g *ir.Graph) (*ir.Graph, error) {
	var fault error
	var r *rebuild
	r = newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node {
		if n.Op.Name != "grad" || fault != nil {
			return nil
		}
		d, err := derive(g.B, n.Attr.Dim, args[0], args[1])
		if err != nil {
			if len(n.Pos()) > 0 {
				err = fmt.Errorf("%s: error: %w", n.Pos()[0], err)
			}
			fault = err
			return nil
		}
		return d
	})
	h := r.graph(g)
	return h, fault
}

// derive gives d(Σ ell)/dw, row by row along dim unless dim is "".
func derive(b *ir.Builder, dim string, ell, w *ir.Node) (*ir.Node, error) {
	for _, n := range ir.Postorder(ell) {
		if n.Body != nil && reads(n.Body, w) {
			return nil, fmt.Errorf("no gradient goes through scan: %s", n.Op.NoGrad)
		}
	}
	if dim != "" {
		rows := ell.Type.Dims[0]
		copies := b.Must("expand", ir.Attr{Dims: append([]ir.Dim{rows}, w.Type.Dims...)}, w)
		ell = newRebuild(b, func(n *ir.Node, _ []*ir.Node) *ir.Node {
			if n == w {
				return copies
			}
			return nil
		}).node(ell)
		w = copies
	}
	order := ir.Postorder(ell)
	depends := map[*ir.Node]bool{w: true}
	for _, n := range order {
		if slices.ContainsFunc(n.Args, func(a *ir.Node) bool { return depends[a] }) {
			depends[n] = true
		}
		if dim != "" && depends[n] && ir.MixesRows(n) {
			return nil, fmt.Errorf("the loss of a row depends on other rows through %s: it has no gradient per %s", n.Op.Name, dim)
		}
	}
	zero := b.Must("expand", ir.Attr{Dims: w.Type.Dims}, b.F(0))
	if !depends[ell] {
		return zero, nil
	}
	adj := map[*ir.Node]*ir.Node{ell: fill(b, b.F(1), ell.Type.Dims)}
	for _, n := range slices.Backward(order) {
		dy := adj[n]
		if dy == nil || n == w || !depends[n] {
			continue
		}
		if n.Op.Name == "stop" {
			continue
		}
		if n.Op.Grad == nil {
			if !n.Type.Elem.Float() {
				continue // no gradient flows through integers and tests
			}
			return nil, fmt.Errorf("no gradient goes through %s: %s", n.Op.Name, n.Op.NoGrad)
		}
		b.At = n.Pos()
		for i, d := range n.Op.Grad(b, n, dy) {
			a := n.Args[i]
			if d == nil || !depends[a] || !a.Type.Elem.Float() {
				continue
			}
			d = narrow(b, d, a.Type.Dims)
			if old := adj[a]; old != nil {
				d = b.Add(old, d)
			}
			adj[a] = fill(b, d, a.Type.Dims)
		}
	}
	if adj[w] == nil {
		return zero, nil
	}
	return adj[w], nil
}

// reads reports whether a body takes w from outside.
func reads(r *ir.Region, w *ir.Node) bool {
	roots := append(r.Roots(), r.Init...)
	return slices.ContainsFunc(ir.Postorder(roots...), func(n *ir.Node) bool {
		return n == w || n.Body != nil && reads(n.Body, w)
	})
}

// narrow sums x over the dimensions that an operand was repeated along.
func narrow(b *ir.Builder, x *ir.Node, dims []ir.Dim) *ir.Node {
	var over []string
	for _, d := range x.Type.Dims {
		if !slices.ContainsFunc(dims, func(e ir.Dim) bool { return e.Name == d.Name }) {
			over = append(over, d.Name)
		}
	}
	return b.Sum(x, over...)
}

// fill repeats x along the dimensions that it lacks, in the order of dims.
func fill(b *ir.Builder, x *ir.Node, dims []ir.Dim) *ir.Node {
	if slices.EqualFunc(x.Type.Dims, dims, ir.Dim.Same) {
		return x
	}
	return b.Must("expand", ir.Attr{Dims: dims}, x)
}
