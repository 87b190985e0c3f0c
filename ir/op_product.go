package ir

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir/elem"
)

func init() {
	register(accumulate)
	register(Op{Name: "dot", Doc: "the sum over the named dimensions of a · b; dimensions in both operands and not summed are a batch", Eval: evalDot, Operands: []string{"a", "b"}, Attrs: []string{"over"}, Rows: Rowwise,
		Type: func(n *Node) (Type, error) {
			for i := range 2 {
				if err := wantElem(n, i, isFloat, "floating"); err != nil {
					return Type{}, err
				}
			}
			if len(n.Attr.Over) == 0 {
				return Type{}, fmt.Errorf("no dimension to sum over")
			}
			for i, o := range n.Attr.Over {
				for _, a := range n.Args {
					if a.Type.Find(o) < 0 || slices.Contains(n.Attr.Over[:i], o) {
						return Type{}, fmt.Errorf("the product sums over %s, which is not in both of %s", o, shapes(n.Args))
					}
				}
			}
			dims, err := join(n.Args)
			if err != nil {
				return Type{}, err
			}
			return Type{elem.F32, dims}.Without(n.Attr.Over), nil
		},
		Grad: func(b *Builder, n *Node, dy *Node) []*Node {
			out := make([]*Node, 2)
			for i, x := range n.Args {
				// Σ dy·other over what x has not; the rest is x's own or a batch.
				other := n.Args[1-i]
				var over []string
				for _, d := range dy.Type.Dims {
					if x.Type.Find(d.Name) < 0 && other.Type.Find(d.Name) >= 0 {
						over = append(over, d.Name)
					}
				}
				if len(over) == 0 {
					out[i] = b.Mul(dy, other)
				} else {
					out[i] = b.Dot(dy, other, over...)
				}
			}
			return out
		}})
}

// accumulate is how a sum over a chunk's rows is taken while they arrive. It is
// one op so that kernels go on with one chain of sums, wherever a chunk is cut.
var accumulate = Op{Name: "accumulate", Doc: "inside a write: acc + Σ a·b over the rows at hand, in their order, of a alone where there is no b; acc counts as 0 at the chunk's first row", Eval: evalAccumulate, Operands: []string{"acc", "a", "b"}, Variadic: true, Attrs: []string{"over"}, Rows: Rowwise,
	Type: func(n *Node) (Type, error) {
		if len(n.Args) != 2 && len(n.Args) != 3 {
			return Type{}, fmt.Errorf("accumulate takes 2 or 3 operands, not %d", len(n.Args))
		}
		for i := range n.Args {
			if err := wantElem(n, i, isFloat, "floating"); err != nil {
				return Type{}, err
			}
		}
		for _, a := range n.Args[1:] {
			if c := a.Type.Clock(); c == nil || c.Kind != Chunk || len(n.Attr.Over) != 1 || a.Type.Dims[0].Name != n.Attr.Over[0] {
				return Type{}, fmt.Errorf("accumulate sums over a chunk's rows, found %s", shapes(n.Args))
			}
		}
		dims, err := join(n.Args[1:])
		if err != nil {
			return Type{}, err
		}
		t := Type{elem.F32, dims}.Without(n.Attr.Over)
		if !slices.EqualFunc(t.Dims, n.Args[0].Type.Dims, Dim.Same) {
			return t, fmt.Errorf("accumulate adds %s to %s", t, n.Args[0].Type)
		}
		return t, nil
	}, NoGrad: "gradients are taken before streaming is derived"}
