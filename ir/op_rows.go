package ir

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

func needRows(n *Node, i int) (Type, error) {
	t := n.Args[i].Type
	if t.Clock() == nil {
		return t, fmt.Errorf("operand %s must have rows over a clock, found %s", operand(n, i), t)
	}
	return t, nil
}

func withRows(t Type, d Dim) Type {
	return Type{t.Elem, append([]Dim{d}, t.Dims[1:]...)}
}

func init() {
	x := []string{"x"}
	register(
		Op{Name: "take", Doc: "row idx[i] of x, numbered from the start of x's clock, for each row i of another clock; made for row templates, whose rows arrive together with the row they take", Eval: evalTake, Operands: []string{"x", "idx"}, Rows: Renumber,
			Type: func(n *Node) (Type, error) {
				t, err := needRows(n, 0)
				if err != nil {
					return t, err
				}
				i, err := needRows(n, 1)
				if err != nil {
					return t, err
				}
				if len(i.Dims) != 1 || i.Elem != elem.I64 {
					return t, fmt.Errorf("idx must be i64 over one clock, found %s", i)
				}
				return withRows(t, i.Dims[0]), nil
			}, NoGrad: "the gradient of rows taken is a scatter, which only training the outer weights needs"},
		Op{Name: "prefix", Doc: "inside a scan: the rows of m, which arrive when the chunk begins, before the chunk's rows x", Eval: evalPrefix, Operands: []string{"m", "x"}, Attrs: []string{"clock"}, Rows: Renumber,
			Type: func(n *Node) (Type, error) {
				t, err := needRows(n, 1)
				c := n.Attr.Clock
				if err != nil {
					return t, err
				}
				m := n.Args[0].Type
				if len(m.Dims) != len(t.Dims) || m.Dims[0].Clock != nil || !slices.EqualFunc(m.Dims[1:], t.Dims[1:], Dim.Same) {
					return t, fmt.Errorf("rows before a chunk must have the chunk's shape, found %s and %s", m, t)
				}
				if c == nil || c.Kind != Prefixed || c.Of != t.Clock() || !ints.Equal(c.Prefix, LenOf(m.Dims[0])) {
					return t, fmt.Errorf("prefix needs the prefixed clock of %s", t)
				}
				return Type{elem.F32, append([]Dim{RowDim(c)}, t.Dims[1:]...)}, nil
			}, NoGrad: "rows of a state: gradients do not go back through it yet"},
		Op{Name: "suffix", Doc: "inside a scan: the chunk's own rows of x, without those put before", Eval: evalSuffix, Operands: x, Rows: Renumber,
			Type: func(n *Node) (Type, error) {
				t, err := needRows(n, 0)
				if err != nil {
					return t, err
				}
				if t.Clock().Kind != Prefixed {
					return t, fmt.Errorf("no rows were put before %s", t)
				}
				return withRows(t, RowDim(t.Clock().Of)), nil
			}, NoGrad: "the way back of prefix"},
		Op{Name: "last", Doc: "the last row of x that the call brought", Eval: evalLast, Operands: x, Rows: Renumber,
			Type: func(n *Node) (Type, error) {
				t, err := needRows(n, 0)
				if err != nil {
					return t, err
				}
				if k := t.Clock().Kind; k != Base && k != Woven {
					return t, fmt.Errorf("last takes a row of the stream, found %s", t)
				}
				return Type{t.Elem, t.Dims[1:]}, nil
			}, NoGrad: "only outputs are made so"},
		Op{Name: "shift", Doc: "row i is x's row i-start, zero before the stream's first", Eval: evalShift, Operands: x, Attrs: []string{"name", "start"}, Rows: Shifted,
			Type: func(n *Node) (Type, error) {
				if n.Attr.Start < 1 {
					return Type{}, fmt.Errorf("shift must go back by at least 1 row, found %d", n.Attr.Start)
				}
				t, err := needRows(n, 0)
				if err == nil && t.Dims[0].Past {
					t = withRows(t, RowDim(t.Clock()))
				}
				if err == nil && (t.Clock().Kind == Prefixed || t.Clock().Kind == Chunk) {
					return t, fmt.Errorf("shift stands outside a scan, found %s", t)
				}
				if err == nil {
					t = withRows(t, RowDim(t.Clock())) // of a history: the call's rows
				}
				return t, err
			}, NoGrad: "a shift forwards is not causal; gradients over whole streams do not need it yet"},
		Op{Name: "cumsum", Doc: "inside a scan: the sum of x's rows from the chunk's first to this one", Eval: evalCumsum, Operands: x, Attrs: []string{"name"}, Rows: Stepwise, Flops: 1,
			Type: func(n *Node) (Type, error) {
				if _, err := needRows(n, 0); err != nil {
					return Type{}, err
				}
				return floating(n)
			}, NoGrad: "a sum from the far end is not causal"},
		Op{Name: "linrec", Doc: "y_i = a_i·y_(i-1) + b_i, y before the first row being 0", Eval: evalLinrec, Operands: []string{"a", "b"}, Attrs: []string{"name"}, Rows: Stepwise, Flops: 2,
			Type: func(n *Node) (Type, error) {
				if _, err := needRows(n, 1); err != nil {
					return Type{}, err
				}
				return floating(n)
			}, NoGrad: "a recurrence from the far end is not causal"},
		Op{Name: "rows", Doc: "rows ints[0], ints[1], … of a complete chunk, along the new static dimension dim", Eval: evalRows, Operands: x, Attrs: []string{"dim", "ints"}, Rows: Mixing,
			Type: func(n *Node) (Type, error) {
				t, err := needRows(n, 0)
				if err != nil {
					return t, err
				}
				c := t.Clock()
				if c.Kind != Chunk || len(n.Attr.Ints) == 0 {
					return t, fmt.Errorf("rows are picked from a chunk, found %s", t)
				}
				for _, i := range n.Attr.Ints {
					if i < 0 || i >= int64(c.Size) {
						return t, fmt.Errorf("row %d is outside a chunk of %d rows", i, c.Size)
					}
				}
				return withRows(t, Dim{Name: n.Attr.Dim, Size: len(n.Attr.Ints)}), nil
			}, NoGrad: "rows go into a state: gradients do not go back through it yet"},
		Op{Name: "keep", Doc: "after streaming: the rows of x that are kept, this call's included", Eval: evalKeep, Operands: x, Attrs: []string{"name", "keep"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				t, err := needRows(n, 0)
				if err != nil {
					return t, err
				}
				d := t.Dims[0]
				d.Past = true
				return withRows(t, d), nil
			}, NoGrad: "gradients are taken before streaming is derived"},
		Op{Name: "grad", Doc: "the gradient of Σ ell with respect to w; where dim names rows over a clock, that of each row's term alone, along the new first dimension dim (never materialised)", Operands: []string{"ell", "w"}, Attrs: []string{"dim"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				l, w := n.Args[0].Type, n.Args[1].Type
				if n.Attr.Dim == "" {
					return Type{elem.F32, w.Dims}, nil
				}
				if len(l.Dims) == 0 || l.Dims[0].Clock == nil || l.Dims[0].Name != n.Attr.Dim {
					return l, fmt.Errorf("the loss must have rows %s, found %s", n.Attr.Dim, l)
				}
				if w.Clock() != nil {
					return w, fmt.Errorf("a gradient for each %s is taken with respect to a value without rows, found %s", n.Attr.Dim, w)
				}
				return Type{elem.F32, append([]Dim{l.Dims[0]}, w.Dims...)}, nil
			}, Special: "the grad pass replaces it", NoGrad: "the grad pass replaces it, inner ones first"},
	)
}
