package ir

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir/elem"
)

func init() {
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
