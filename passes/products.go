package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// These rewrites keep the gradient of a product, an outer product for each row,
// from ever being materialised:
//
//	Σ_t r·(u ⊗ k)            → dot(r∘u, k) over t
//	⟨q, W − a·Σ_s≤t r·(u⊗k)⟩ → ⟨q, W⟩ − a·Σ_s≤t ⟨q, k_s⟩ (r∘u)_s
//
// the second being a linear attention inside the chunk (the dual form).

// factors flattens a product; sign counts negations.
func factors(n *ir.Node) (fs []*ir.Node, negative bool) {
	switch n.Op.Name {
	case "mul":
		a, na := factors(n.Args[0])
		b, nb := factors(n.Args[1])
		return append(a, b...), na != nb
	case "neg":
		f, neg := factors(n.Args[0])
		return f, !neg
	case "expand":
		return factors(n.Args[0])
	}
	return []*ir.Node{n}, false
}

func product(b *ir.Builder, fs []*ir.Node) *ir.Node {
	p := fs[0]
	for _, f := range fs[1:] {
		p = b.Mul(p, f)
	}
	return p
}

func has(n *ir.Node, dim string) bool { return n.Type.Find(dim) >= 0 }

// lacks reports whether a has a dimension, other than those of over, that other
// has not.
func lacks(a, other *ir.Node, over []string) bool {
	return slices.ContainsFunc(a.Type.Dims, func(d ir.Dim) bool {
		return !slices.Contains(over, d.Name) && !has(other, d.Name)
	})
}

// outer finds two factors each of which has a dimension that the other lacks,
// and deals all factors out to the two sides.
func outer(b *ir.Builder, fs []*ir.Node, over []string) (left, right *ir.Node, ok bool) {
	for i, a := range fs {
		for j := i + 1; j < len(fs); j++ {
			c := fs[j]
			if !lacks(a, c, over) || !lacks(c, a, over) {
				continue
			}
			l, r := []*ir.Node{a}, []*ir.Node{c}
			for k, f := range fs {
				if k == i || k == j {
					continue
				}
				if !lacks(f, a, nil) || lacks(f, c, nil) {
					l = append(l, f)
				} else {
					r = append(r, f)
				}
			}
			left, right = product(b, l), product(b, r)
			// A split that still leaves one side with the other's dimensions saves nothing.
			return left, right, lacks(left, right, over) && lacks(right, left, over)
		}
	}
	return nil, nil, false
}

// lazy reports whether a value is an outer product that must not be
// materialised: a row-wise product, sum or running sum whose factors each lack
// dimensions that it has.
func lazy(n *ir.Node) bool {
	switch n.Op.Name {
	case "add", "sub":
		return lazy(n.Args[0]) || lazy(n.Args[1])
	case "neg", "cumsum", "expand":
		return lazy(n.Args[0])
	case "mul":
		if lazy(n.Args[0]) || lazy(n.Args[1]) {
			return true
		}
		if n.Type.Clock() == nil {
			return false
		}
		x, y := n.Args[0], n.Args[1]
		return lacks(x, y, nil) && lacks(y, x, nil)
	}
	return false
}

// sumOfProducts: Σ over D of a lazy product is a dot of its two sides; the sum
// of a sum or difference of lazy products is the sum of the sums.
func sumOfProducts(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "sum" {
		return nil
	}
	x, over := n.Args[0], n.Attr.Over
	switch {
	case x.Op.Name == "neg":
		return b.Neg(b.Sum(x.Args[0], over...))
	case (x.Op.Name == "add" || x.Op.Name == "sub") && lazy(x):
		l, r := fill(b, x.Args[0], x.Type.Dims), fill(b, x.Args[1], x.Type.Dims)
		return b.Must(x.Op.Name, ir.Attr{}, b.Sum(l, over...), b.Sum(r, over...))
	case x.Op.Name != "mul":
		return nil
	}
	fs, neg := factors(x)
	// Σ r·(g1 ± g2) with lazy g: open the bracket.
	for i, f := range fs {
		if (f.Op.Name == "add" || f.Op.Name == "sub") && lazy(f) {
			rest := slices.Delete(slices.Clone(fs), i, i+1)
			side := func(a *ir.Node) *ir.Node {
				return b.Sum(fill(b, product(b, append(slices.Clone(rest), fill(b, a, f.Type.Dims))), x.Type.Dims), over...)
			}
			s := b.Must(f.Op.Name, ir.Attr{}, side(f.Args[0]), side(f.Args[1]))
			if neg {
				s = b.Neg(s)
			}
			return s
		}
	}
	left, right, ok := outer(b, fs, over)
	if !ok { // also where what tells the sides apart is summed
		left, right, ok = outer(b, fs, nil)
	}
	if !ok {
		return pullOut(b, fs, neg, over)
	}
	// A summed dimension that one side alone has is summed there first.
	var both, only []string
	for _, o := range over {
		switch {
		case has(left, o) && has(right, o):
			both = append(both, o)
		case has(left, o) || has(right, o):
			only = append(only, o)
		default:
			return nil
		}
	}
	for _, o := range only {
		if has(left, o) {
			left = b.Sum(left, o)
		} else {
			right = b.Sum(right, o)
		}
	}
	one := func(o string) bool { d := left.Type.Dims[left.Type.Find(o)]; return d.Static() && d.Size == 1 }
	var s *ir.Node
	switch {
	case len(both) == 0:
		s = b.Mul(left, right)
	case slices.ContainsFunc(both, one):
		return nil // see dotOfOne
	default:
		s = b.Dot(left, right, both...)
	}
	if neg {
		s = b.Neg(s)
	}
	return s
}

// pullOut takes factors that have no summed dimension out of a sum, where what is
// left falls into two sides.
func pullOut(b *ir.Builder, fs []*ir.Node, neg bool, over []string) *ir.Node {
	var in, out []*ir.Node
	for _, f := range fs {
		if slices.ContainsFunc(over, func(o string) bool { return has(f, o) }) {
			in = append(in, f)
		} else {
			out = append(out, f)
		}
	}
	if len(out) == 0 || len(in) < 2 {
		return nil
	}
	p := product(b, in)
	if slices.ContainsFunc(over, func(o string) bool { return !has(p, o) }) {
		return nil
	}
	s := sumOfProducts(b, b.Sum(p, over...))
	if s == nil {
		return nil
	}
	if s = b.Mul(product(b, out), s); neg {
		s = b.Neg(s)
	}
	return s
}

// dotOfLazy pushes a product into a sum or difference with a lazy part, past
// factors that lack the summed dimension, and turns the product with a running
// sum of outer products into a linear attention.
func dotOfLazy(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "dot" {
		return nil
	}
	for i, w := range n.Args {
		q := n.Args[1-i]
		if !lazy(w) {
			continue
		}
		over := n.Attr.Over
		switch w.Op.Name {
		case "add", "sub":
			side := func(a *ir.Node) *ir.Node { return dotOrSum(b, q, a, over) }
			return b.Must(w.Op.Name, ir.Attr{}, side(w.Args[0]), side(w.Args[1]))
		case "neg":
			return b.Neg(b.Dot(q, w.Args[0], over...))
		case "expand":
			return dotOrSum(b, q, w.Args[0], over)
		case "mul":
			for k, s := range w.Args {
				if !slices.ContainsFunc(over, func(o string) bool { return has(s, o) }) {
					return b.Mul(s, dotOrSum(b, q, w.Args[1-k], over))
				}
			}
		case "cumsum":
			if m := dual(b, q, w.Args[0], over); m != nil {
				return m
			}
		}
	}
	return nil
}

// dotOrSum is the product summed over those dimensions that both have; a
// dimension that w lacks is summed in q alone.
func dotOrSum(b *ir.Builder, q, w *ir.Node, over []string) *ir.Node {
	var both []string
	for _, o := range over {
		if has(w, o) {
			both = append(both, o)
		} else {
			q = b.Sum(q, o)
		}
	}
	if len(both) == 0 {
		return b.Mul(q, w)
	}
	return b.Dot(q, w, both...)
}

// dual: dot(q, cumsum(r·(u ⊗ k))) over k's own dimension is attend(q, k, r∘u)
// with scores as weights, causal inside the chunk.
func dual(b *ir.Builder, q, x *ir.Node, over []string) *ir.Node {
	if len(over) != 1 {
		return nil
	}
	fs, neg := factors(x)
	var ks, us []*ir.Node
	for _, f := range fs {
		if has(f, over[0]) {
			ks = append(ks, f)
		} else {
			us = append(us, f)
		}
	}
	if len(ks) == 0 || len(us) == 0 {
		return nil
	}
	// What does not change from row to row is the same in each.
	rows := func(n *ir.Node) *ir.Node {
		if n.Type.Clock() != nil {
			return n
		}
		return fill(b, n, append([]ir.Dim{x.Type.Dims[0]}, n.Type.Dims...))
	}
	o := linear(b, rows(q), rows(product(b, ks)), rows(product(b, us)), over[0])
	if o != nil && neg {
		o = b.Neg(o)
	}
	return o
}

// runningSum: cumsum(x) is a linear attention whose scores are all 1.
func runningSum(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "cumsum" || lazy(n.Args[0]) {
		return nil
	}
	x := n.Args[0]
	one := b.Must("expand", ir.Attr{Dims: []ir.Dim{x.Type.Dims[0], {Name: "_one", Size: 1}}}, b.F(1))
	return linear(b, one, one, x, "_one")
}

// linear makes Σ_{s≤t} ⟨q_t, k_s⟩ u_s, q and k over size, for any dimensions of
// u beside the rows: heads are the dimension that all three share.
func linear(b *ir.Builder, q, k, u *ir.Node, size string) *ir.Node {
	rows := u.Type.Dims[0]
	if rows.Clock == nil || k.Type.Clock() != rows.Clock || q.Type.Clock() != rows.Clock {
		return nil
	}
	at := k.Type.Find(size)
	d := k.Type.Dims[at]
	// Dimensions of u: those that k or q have are heads, the others values.
	var heads, values []ir.Dim
	for _, e := range u.Type.Dims[1:] {
		if has(k, e.Name) || has(q, e.Name) {
			heads = append(heads, e)
		} else {
			values = append(values, e)
		}
	}
	for _, x := range []*ir.Node{q, k} {
		for _, e := range x.Type.Dims[1:] {
			if e.Name != size && !slices.ContainsFunc(heads, e.Same) {
				heads = append(heads, e)
			}
		}
	}
	flat := func(x *ir.Node, last []ir.Dim, name string) *ir.Node {
		full := append(append([]ir.Dim{rows}, heads...), last...)
		x = fill(b, x, full)
		h := ir.Dim{Name: "_heads", Size: 1}
		for _, e := range heads {
			h.Size *= e.Size
		}
		l := ir.Dim{Name: name, Size: 1}
		for _, e := range last {
			l.Size *= e.Size
		}
		return b.Must("view", ir.Attr{Dims: []ir.Dim{rows, h, l}}, x)
	}
	// The name tells the history's state apart from others; numbers are stable
	// because nodes are numbered in the order in which the spec makes them.
	causal := ints.Bin(ints.Le, ints.V("j"), ints.V("i"))
	name := fmt.Sprintf("%s.sum%d.%d.%d", rows.Clock.Name, q.ID, k.ID, u.ID)
	o := b.Must("attend", ir.Attr{Name: name, Value: 1, Where: causal, Linear: true},
		flat(q, []ir.Dim{d}, "_size"), flat(k, []ir.Dim{d}, "_size"), flat(u, values, "_value"))
	return b.Must("view", ir.Attr{Dims: append(append([]ir.Dim{rows}, heads...), values...)}, o)
}
