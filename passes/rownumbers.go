package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// rowNumbers is what is known of the integers in n, which number a table's rows.
// known: each is a constant of the graph or an integer of an input as it came,
// which a call's check keeps below size. What is computed, or was kept in a
// state, can be anything.
func rowNumbers(n *ir.Node, size int) (r ints.Range, known bool) {
	switch n.Op.Name {
	case "const":
		v := int64(n.Attr.Value)
		return ints.Range{Lo: v, Hi: v}, true
	case "table":
		if len(n.Attr.Ints) == 0 {
			return ints.Unknown, false
		}
		return ints.Range{Lo: slices.Min(n.Attr.Ints), Hi: slices.Max(n.Attr.Ints)}, true
	case "input":
		return ints.Range{Hi: int64(size) - 1}, true
	}
	known = true
	for i, a := range picked(n) {
		x, ok := rowNumbers(a, size)
		if i == 0 {
			r = x
		}
		r.Lo, r.Hi = min(r.Lo, x.Lo), max(r.Hi, x.Hi)
		known = known && ok
	}
	if picked(n) == nil {
		return ints.Unknown, false
	}
	if n.Op.Name == "shift" { // zero before the first row
		r.Lo, r.Hi = min(r.Lo, 0), max(r.Hi, 0)
	}
	return r, known
}

// picked are the operands whose elements n passes on as they are, nil where it
// computes new ones.
func picked(n *ir.Node) []*ir.Node {
	switch n.Op.Name {
	case "cast":
		if n.Args[0].Type.Elem.Float() {
			return nil
		}
		return n.Args
	case "expand", "view", "stop", "slice", "shift", "last", "take", "gather", "prefix", "suffix", "rows":
		return n.Args[:1]
	case "select":
		return n.Args[1:]
	case "concat":
		return n.Args
	}
	return nil
}

// numbersRows reports whether integers of the input in arrive at idx as they are.
func numbersRows(in, idx *ir.Node) bool {
	return in == idx || slices.ContainsFunc(picked(idx), func(a *ir.Node) bool { return numbersRows(in, a) })
}

// inTable keeps the row number x of a gather inside the table: memory has no
// other rows. Constants that no table of this size has are a fault of the spec.
func inTable(n *ir.Node, x *ints.Expr) *ints.Expr {
	size := n.Args[0].Type.Dims[0].Size
	r, known := rowNumbers(n.Args[1], size)
	switch {
	case known && r.Lo >= 0 && r.Hi < int64(size):
		return x
	case known:
		fail(n, "the rows of a table of %d are numbered from 0; found numbers from %d to %d", size, r.Lo, r.Hi)
	}
	return ints.Most(ints.Least(x, ints.C(int64(size)-1)), ints.C(0))
}
