package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
)

// These rewrites take sums over several dimensions in steps that a schedule
// computes: a tile has two dimensions, and a product of tiles sums over one.
// They wait until every dimension summed is static: a chunk's rows may still
// become part of a product.

func allStatic(n *ir.Node) bool {
	return !slices.ContainsFunc(n.Attr.Over, func(o string) bool {
		return slices.ContainsFunc(n.Args, func(a *ir.Node) bool { return !a.Type.Dims[a.Type.Find(o)].Static() })
	})
}

// sumInSteps: Σ over more than two dimensions is a sum of sums over the last two;
// over two it is one of sums over the second where neither is the last, which a
// tile has to have.
func sumInSteps(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "sum" && n.Op.Name != "maximum" || len(n.Attr.Over) < 2 || !allStatic(n) {
		return nil
	}
	x := n.Args[0]
	var over []string // in the order of x
	for _, d := range x.Type.Dims {
		if slices.Contains(n.Attr.Over, d.Name) {
			over = append(over, d.Name)
		}
	}
	last := len(over) - 2
	if wide := slices.DeleteFunc(slices.Clone(x.Type.Dims), func(d ir.Dim) bool { return d.Static() && d.Size == 1 }); len(wide) > 0 && !slices.Contains(over, wide[len(wide)-1].Name) {
		last++
	}
	if last == 0 {
		return nil
	}
	inner := b.Must(n.Op.Name, ir.Attr{Over: over[last:]}, x)
	return b.Must(n.Op.Name, ir.Attr{Over: over[:last]}, inner)
}

// dotOfOne: a product over a dimension of one element is element-wise.
func dotOfOne(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "dot" || !allStatic(n) {
		return nil
	}
	one := func(o string) bool { return n.Args[0].Type.Dims[n.Args[0].Type.Find(o)].Size == 1 }
	i := slices.IndexFunc(n.Attr.Over, one)
	if i < 0 {
		return nil
	}
	rest := slices.Delete(slices.Clone(n.Attr.Over), i, i+1)
	var m *ir.Node
	if len(rest) == 0 {
		m = b.Mul(n.Args[0], n.Args[1])
	} else {
		m = b.Dot(n.Args[0], n.Args[1], rest...)
	}
	return b.Sum(m, n.Attr.Over[i])
}

// dotOverOne: a product over several dimensions is one over a single dimension
// where two of them lie side by side in both operands; else the smallest is
// summed after the product over the others.
func dotOverOne(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "dot" || len(n.Attr.Over) < 2 || !allStatic(n) {
		return nil
	}
	over := n.Attr.Over
	x, y := n.Args[0], n.Args[1]
	for _, first := range over {
		i, j := x.Type.Find(first)+1, y.Type.Find(first)+1
		if i == len(x.Type.Dims) || j == len(y.Type.Dims) || x.Type.Dims[i].Name != y.Type.Dims[j].Name || !slices.Contains(over, x.Type.Dims[i].Name) {
			continue
		}
		second := x.Type.Dims[i]
		both := ir.Dim{Name: first + "_" + second.Name, Size: x.Type.Dims[i-1].Size * second.Size}
		if has(x, both.Name) || has(y, both.Name) {
			continue
		}
		seen := func(v *ir.Node, at int) *ir.Node {
			return b.Must("view", ir.Attr{Dims: slices.Replace(slices.Clone(v.Type.Dims), at-1, at+1, both)}, v)
		}
		rest := slices.DeleteFunc(slices.Clone(over), func(o string) bool { return o == first || o == second.Name })
		return b.Dot(seen(x, i), seen(y, j), append(rest, both.Name)...)
	}
	size := func(o string) int { return x.Type.Dims[x.Type.Find(o)].Size }
	least := slices.MinFunc(over, func(a, b string) int { return size(a) - size(b) })
	rest := slices.DeleteFunc(slices.Clone(over), func(o string) bool { return o == least })
	return b.Sum(b.Dot(x, y, rest...), least)
}
