package ir

import (
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// dimAt finds the attribute's dimension in operand 0, or says what there is.
func dimAt(n *Node) (int, error) {
	t := n.Args[0].Type
	if i := t.Find(n.Attr.Dim); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("there is no dimension %s in %s", n.Attr.Dim, t)
}

func viewType(n *Node) (Type, error) {
	from, to := n.Args[0].Type, Type{Elem: n.Args[0].Type.Elem, Dims: n.Attr.Dims}
	a, b := from.Dims, to.Dims
	for len(a) > 0 && len(b) > 0 && a[0].Same(b[0]) {
		a, b = a[1:], b[1:]
	}
	na, nb := 1, 1
	for _, d := range a {
		if !d.Static() {
			return to, fmt.Errorf("%s cannot be seen as %s: the rows of %s must stay first", from, to, d.Name)
		}
		na *= d.Size
	}
	for _, d := range b {
		if !d.Static() {
			return to, fmt.Errorf("%s cannot be seen as %s: there are no rows %s", from, to, d.Name)
		}
		nb *= d.Size
	}
	if na != nb {
		return to, fmt.Errorf("%s cannot be seen as %s: %d elements a row against %d", from, to, na, nb)
	}
	for i, d := range to.Dims {
		if slices.ContainsFunc(to.Dims[:i], func(e Dim) bool { return e.Name == d.Name }) {
			return to, fmt.Errorf("two dimensions called %s in %s", d.Name, to)
		}
	}
	return to, nil
}

func init() {
	register(
		Op{Name: "view", Doc: "the same elements in row-major order under other static dimensions; rows over a clock stay first", Eval: evalView, Operands: []string{"x"}, Attrs: []string{"dims"}, Rows: Rowwise, Type: viewType,
			Grad: func(b *Builder, n *Node, dy *Node) []*Node {
				return []*Node{b.Must("view", Attr{Dims: n.Args[0].Type.Dims}, dy)}
			}},
		Op{Name: "expand", Doc: "x repeated along the dimensions of dims that it lacks", Eval: evalExpand, Operands: []string{"x"}, Attrs: []string{"dims"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				for _, d := range n.Args[0].Type.Dims {
					if !slices.ContainsFunc(n.Attr.Dims, d.Same) {
						return Type{}, fmt.Errorf("expand must keep %s of %s", d, n.Args[0].Type)
					}
				}
				dims, err := rowsFirst(n.Attr.Dims)
				return Type{n.Args[0].Type.Elem, dims}, err
			},
			Grad: func(b *Builder, n *Node, dy *Node) []*Node { return []*Node{dy} }},
		Op{Name: "slice", Doc: "x[start : start+size] along dim", Eval: evalSlice, Operands: []string{"x"}, Attrs: []string{"dim", "start", "size"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				i, err := dimAt(n)
				if err != nil {
					return Type{}, err
				}
				t := n.Args[0].Type
				d := t.Dims[i]
				a := n.Attr
				if !d.Static() || a.Start < 0 || a.Size < 1 || a.Start+a.Size > d.Size {
					return t, fmt.Errorf("slice [%d:%d] is outside dimension %s of %s", a.Start, a.Start+a.Size, d.Name, t)
				}
				dims := slices.Clone(t.Dims)
				dims[i].Size = a.Size
				return Type{t.Elem, dims}, nil
			},
			Grad: func(b *Builder, n *Node, dy *Node) []*Node {
				i := n.Args[0].Type.Find(n.Attr.Dim)
				return []*Node{b.Must("pad", Attr{Dim: n.Attr.Dim, Start: n.Attr.Start, Size: n.Args[0].Type.Dims[i].Size}, dy)}
			}},
		Op{Name: "pad", Doc: "x at start along dim, which grows to size; zero elsewhere", Eval: evalPad, Operands: []string{"x"}, Attrs: []string{"dim", "start", "size"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				i, err := dimAt(n)
				if err != nil {
					return Type{}, err
				}
				t := n.Args[0].Type
				if a := n.Attr; !t.Dims[i].Static() || a.Start < 0 || a.Start+t.Dims[i].Size > a.Size {
					return t, fmt.Errorf("%s does not fit at %d into %s of size %d", t, a.Start, a.Dim, a.Size)
				}
				dims := slices.Clone(t.Dims)
				dims[i].Size = n.Attr.Size
				return Type{t.Elem, dims}, nil
			},
			Grad: func(b *Builder, n *Node, dy *Node) []*Node {
				i := n.Args[0].Type.Find(n.Attr.Dim)
				return []*Node{b.Must("slice", Attr{Dim: n.Attr.Dim, Start: n.Attr.Start, Size: n.Args[0].Type.Dims[i].Size}, dy)}
			}},
		Op{Name: "concat", Doc: "the operands one after another along dim; lengths of bounded dimensions add up", Eval: evalConcat, Operands: []string{"xs"}, Variadic: true, Attrs: []string{"dim"}, Rows: Rowwise, Type: concatType,
			Grad: func(b *Builder, n *Node, dy *Node) []*Node {
				if i := n.Type.Find(n.Attr.Dim); !n.Type.Dims[i].Static() {
					return nil
				}
				var out []*Node
				at := 0
				for _, a := range n.Args {
					size := a.Type.Dims[a.Type.Find(n.Attr.Dim)].Size
					out = append(out, b.Must("slice", Attr{Dim: n.Attr.Dim, Start: at, Size: size}, dy))
					at += size
				}
				return out
			}},
		Op{Name: "tail", Doc: "the last size rows of the bounded first dimension, all where there are fewer", Eval: evalTail, Operands: []string{"x"}, Attrs: []string{"size"}, Rows: NoRows,
			Type: func(n *Node) (Type, error) {
				t := n.Args[0].Type
				if len(t.Dims) == 0 || t.Dims[0].Clock != nil || n.Attr.Size < 1 {
					return t, fmt.Errorf("tail takes the last %d rows of a bounded dimension, found %s", n.Attr.Size, t)
				}
				dims := slices.Clone(t.Dims)
				dims[0].Len = ints.Least(LenOf(t.Dims[0]), ints.C(int64(n.Attr.Size)))
				dims[0].Size = min(t.Dims[0].Size, n.Attr.Size)
				return Type{t.Elem, dims}, nil
			}, NoGrad: "a queue is state: gradients do not go back through it yet"},
		Op{Name: "gather", Doc: "rows of table by number: table[idx[…], …]; a number outside is an error here, and its nearest row in compiled code", Eval: evalGather, Operands: []string{"table", "idx"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				if err := wantElem(n, 1, isInt, "an integer"); err != nil {
					return Type{}, err
				}
				t, idx := n.Args[0].Type, n.Args[1].Type
				if len(t.Dims) == 0 || t.Dims[0].Clock != nil {
					return Type{}, fmt.Errorf("table must have a first dimension without a clock, found %s", t)
				}
				r := Type{Elem: t.Elem, Dims: append(slices.Clone(idx.Dims), t.Dims[1:]...)}
				for i, d := range r.Dims {
					if r.Find(d.Name) != i {
						return r, fmt.Errorf("two dimensions called %s in %s", d.Name, r)
					}
				}
				if r.Elem.Float() {
					r.Elem = elem.F32
				}
				return r, nil
			}, NoGrad: "the gradient of a table of rows is a scatter, which only training the outer weights needs"},
		Op{Name: "sum", Doc: "the sum over the named dimensions", Eval: evalReduce(0, func(a, x float64) float64 { return a + x }), Operands: []string{"x"}, Attrs: []string{"over"}, Rows: Rowwise, Flops: 1, Type: reduction,
			Grad: func(b *Builder, n *Node, dy *Node) []*Node {
				return []*Node{b.Must("expand", Attr{Dims: n.Args[0].Type.Dims}, dy)}
			}},
		Op{Name: "maximum", Doc: "the largest over the named dimensions", Eval: evalReduce(math.Inf(-1), math.Max), Operands: []string{"x"}, Attrs: []string{"over"}, Rows: Rowwise, Flops: 1, Type: reduction,
			Grad: func(b *Builder, n *Node, dy *Node) []*Node {
				// Shared by all that are largest: they may be one value, repeated.
				hit := b.Select(b.Must("eq", Attr{}, n.Args[0], n), b.F(1), b.F(0))
				return []*Node{b.Mul(hit, b.Div(dy, b.Sum(hit, n.Attr.Over...)))}
			}},
	)
}

// LenOf is the number of rows of a dimension that is not over a clock.
func LenOf(d Dim) *ints.Expr {
	if d.Len != nil {
		return d.Len
	}
	return ints.C(int64(d.Size))
}

func concatType(n *Node) (Type, error) {
	if len(n.Args) == 0 {
		return Type{}, fmt.Errorf("concat needs at least one operand")
	}
	first := n.Args[0].Type
	i, err := dimAt(n)
	if err != nil {
		return Type{}, err
	}
	dims := slices.Clone(first.Dims)
	for _, a := range n.Args[1:] {
		t := a.Type
		if t.Elem.Float() != first.Elem.Float() || len(t.Dims) != len(dims) {
			return t, fmt.Errorf("concat along %s takes values of one element type that differ in %s alone, found %s", n.Attr.Dim, n.Attr.Dim, shapes(n.Args))
		}
		for j, d := range t.Dims {
			if j != i && !d.Same(dims[j]) || j == i && (d.Name != dims[i].Name || d.Clock != nil) {
				return t, fmt.Errorf("concat along %s takes values of one element type that differ in %s alone, found %s", n.Attr.Dim, n.Attr.Dim, shapes(n.Args))
			}
		}
		if l := ints.Plus(LenOf(dims[i]), LenOf(t.Dims[i])); !dims[i].Static() || !t.Dims[i].Static() {
			dims[i].Len = l
		}
		dims[i].Size += t.Dims[i].Size
	}
	if dims[i].Clock != nil {
		return first, fmt.Errorf("rows of the clock %s cannot be joined end to end", dims[i].Clock.Name)
	}
	e := first.Elem
	if e.Float() {
		e = elem.F32
	}
	return Type{e, dims}, nil
}

func reduction(n *Node) (Type, error) {
	if err := wantElem(n, 0, isFloat, "floating"); err != nil {
		return Type{}, err
	}
	t := n.Args[0].Type
	for i, o := range n.Attr.Over {
		if t.Find(o) < 0 || slices.Contains(n.Attr.Over[:i], o) {
			return t, fmt.Errorf("there is no dimension %s to reduce in %s", o, t)
		}
	}
	if len(n.Attr.Over) == 0 {
		return t, fmt.Errorf("no dimension to reduce")
	}
	r := t.Without(n.Attr.Over)
	r.Elem = elem.F32
	return r, nil
}
