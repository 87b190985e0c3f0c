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
	r := newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node {
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
	depends, err := flow(ell, w)
	if err != nil {
		return nil, err
	}
	if dim != "" {
		for _, n := range ir.Postorder(ell) {
			if depends[n] && n != w && ir.MixesRows(n) {
				return nil, fmt.Errorf("the loss of a row depends on other rows through %s: it has no gradient per %s", n.Op.Name, dim)
			}
		}
		copies := b.Must("expand", ir.Attr{Dims: append([]ir.Dim{ell.Type.Dims[0]}, w.Type.Dims...)}, w)
		ell = newRebuild(b, func(n *ir.Node, args []*ir.Node) *ir.Node {
			switch {
			case n == w:
				return copies
			case slices.Equal(args, n.Args):
				return n
			}
			m, err := overRows(b, n, args, ell.Type.Dims[0])
			if err != nil && !depends[n] {
				return n // no gradient flows here: it may as well look at w itself
			} else if err != nil {
				panic(err)
			}
			return m
		}).node(ell)
		w = copies
		if depends, err = flow(ell, w); err != nil {
			return nil, err
		}
	}
	order := ir.Postorder(ell)
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

// flow finds the nodes below ell through which a gradient flows back to w: none
// flows through integers, tests and stop.
func flow(ell, w *ir.Node) (map[*ir.Node]bool, error) {
	depends := map[*ir.Node]bool{w: true}
	for _, n := range ir.Postorder(ell) {
		if n == w || n.Op.Name == "stop" || !slices.ContainsFunc(n.Args, func(a *ir.Node) bool { return depends[a] }) {
			continue
		}
		if n.Body == nil && !n.Type.Elem.Float() {
			continue
		}
		if n.Op.Grad == nil {
			return nil, fmt.Errorf("no gradient goes through %s: %s", n.Op.Name, n.Op.NoGrad)
		}
		depends[n] = true
	}
	return depends, nil
}

// overRows is n over operands of which some have got rows. An op that says its
// dimensions itself says the rows too.
func overRows(b *ir.Builder, n *ir.Node, args []*ir.Node, rows ir.Dim) (*ir.Node, error) {
	attr := n.Attr
	if (n.Op.Name == "view" || n.Op.Name == "expand") && n.Type.Clock() == nil {
		attr.Dims = append([]ir.Dim{rows}, attr.Dims...)
	}
	if n.Op.Name == "concat" {
		for i, a := range args {
			if a.Type.Clock() == nil {
				args[i] = fill(b, a, append([]ir.Dim{rows}, a.Type.Dims...))
			}
		}
	}
	return b.Make(n.Op.Name, attr, args...)
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
