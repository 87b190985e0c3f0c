package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/elem"
)

func init() {
	register(Op{Name: "attend", Doc: "o[i,h] = Σ_j p[i,j,h]·v[j,h div r]; s = value·⟨q[i,h], k[j,h div r]⟩ where the mask holds, r = heads of q / heads of k; the mask is a test of i, of j, and of integers that rows have: i.n is the operand rows[n] in row i, j.n in row j; with cap, s becomes cap·tanh(s/cap) (Gemma 2, arXiv 2408.00118); with floats, floats[h]·(j-i) is added to it (ALiBi, arXiv 2108.12409); p = softmax_j s (0 where the mask is nowhere true), or p = s where linear", Eval: evalAttend,
		Operands: []string{"q", "k", "v", "rows"}, Variadic: true, Attrs: []string{"name", "where", "value", "linear", "cap", "floats"}, Rows: Masked,
		Type: func(n *Node) (Type, error) {
			if len(n.Args) < 3 {
				return Type{}, fmt.Errorf("attend takes q, k, v and what its mask knows of rows, not %d operands", len(n.Args))
			}
			q, k, v := n.Args[0].Type, n.Args[1].Type, n.Args[2].Type
			for i, t := range []Type{q, k, v} {
				if len(t.Dims) != 3 || t.Dims[0].Clock == nil || !t.Elem.Float() {
					return t, fmt.Errorf("operand %s must be floating [rows, heads, size], found %s", operand(n, i), t)
				}
			}
			if q.Dims[0].Clock != k.Dims[0].Clock || !k.Dims[0].Same(v.Dims[0]) {
				return q, fmt.Errorf("q, k and v must follow one clock, found %s", shapes(n.Args))
			}
			if q.Dims[2].Size != k.Dims[2].Size {
				return q, fmt.Errorf("q and k must have one size, found %s", shapes(n.Args))
			}
			if k.Dims[1].Size != v.Dims[1].Size || q.Dims[1].Size%k.Dims[1].Size != 0 {
				return q, fmt.Errorf("the heads of q must be a multiple of those of k and v, found %s", shapes(n.Args))
			}
			if n.Attr.Cap < 0 || n.Attr.Cap != n.Attr.Cap {
				return q, fmt.Errorf("scores are capped at a positive number, found %v", n.Attr.Cap)
			}
			if have := len(n.Attr.Floats); have > 0 && have != q.Dims[1].Size {
				return q, fmt.Errorf("there are %d slopes for %d heads", have, q.Dims[1].Size)
			}
			if n.Attr.Where == nil {
				return q, fmt.Errorf("attend needs a mask")
			}
			key, err := KeyRows(n.Attr.Where, len(n.Args)-3)
			if err != nil {
				return q, err
			}
			for i, x := range n.Args[3:] {
				of, row := q.Dims[0], "i"
				if key[i] {
					of, row = k.Dims[0], "j"
				}
				if t := x.Type; len(t.Dims) != 1 || !t.Dims[0].Same(of) || !isInt(t.Elem) {
					return q, fmt.Errorf("%s.%d must be an integer in each row of %s, found %s", row, i, of, t)
				}
			}
			out := v.Dims[2]
			if out.Name == q.Dims[1].Name {
				return q, fmt.Errorf("two dimensions called %s", out.Name)
			}
			return Type{elem.F32, []Dim{q.Dims[0], q.Dims[1], out}}, nil
		},
		NoGrad: "the softmax form's gradient recomputes scores; only training the outer weights needs it",
	})
}
