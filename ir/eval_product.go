package ir

import (
	"slices"

	"github.com/memc-lang/memc/ir/elem"
)

// evalDot brings a to [batch, m, k] and b to [batch, n, k], multiplies, and
// brings [batch, m, n] to the result's order.
func evalDot(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	var batch, m, c, k []Dim
	a, b := n.Args[0].Type, n.Args[1].Type
	for _, d := range n.Type.Dims {
		switch inA, inB := a.Find(d.Name) >= 0, b.Find(d.Name) >= 0; {
		case inA && inB:
			batch = append(batch, d)
		case inA:
			m = append(m, d)
		default:
			c = append(c, d)
		}
	}
	for _, name := range n.Attr.Over {
		k = append(k, a.Dims[a.Find(name)])
	}
	// k in the order in which a has it: then a rarely moves.
	slices.SortFunc(k, func(x, y Dim) int { return a.Find(x.Name) - a.Find(y.Name) })

	at := func(i int, groups ...[]Dim) ([]float64, error) {
		dims := slices.Concat(groups...)
		sizes, err := e.sizes(dims, n.Args, in)
		if err != nil {
			return nil, err
		}
		return arrange(dims, sizes, n.Args[i], in[i])
	}
	x, err := at(0, batch, m, k)
	if err != nil {
		return nil, err
	}
	y, err := at(1, batch, c, k)
	if err != nil {
		return nil, err
	}
	order := slices.Concat(batch, m, c)
	sizes, err := e.sizes(order, n.Args, in)
	if err != nil {
		return nil, err
	}
	nk, err := e.sizes(k, n.Args, in)
	if err != nil {
		return nil, err
	}
	nb := count(sizes[:len(batch)])
	rows := count(sizes[len(batch) : len(batch)+len(m)])
	cols := count(sizes[len(batch)+len(m):])
	depth := count(nk)
	z := make([]float64, nb*rows*cols)
	for i := range nb {
		multiply(z[i*rows*cols:][:rows*cols], x[i*rows*depth:][:rows*depth], y[i*cols*depth:][:cols*depth], rows, cols, depth)
	}
	if slices.EqualFunc(order, n.Type.Dims, Dim.Same) {
		return &Tensor{Elem: elem.F32, Dims: sizes, Data: z}, nil
	}
	dims, err := e.sizes(n.Type.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	as := &Node{Type: Type{elem.F32, order}}
	data, err := arrange(n.Type.Dims, dims, as, &Tensor{Dims: sizes, Data: z})
	return &Tensor{Elem: elem.F32, Dims: dims, Data: data}, err
}

// multiply is z = x · yᵀ with x [rows, depth] and y [cols, depth], in tiles of
// 2 × 4 sums so that each element loaded serves several.
func multiply(z, x, y []float64, rows, cols, depth int) {
	for i := 0; i < rows; i += 2 {
		x0 := x[i*depth:][:depth]
		x1 := x0
		if i+1 < rows {
			x1 = x[(i+1)*depth:][:depth]
		}
		j := 0
		for ; j+4 <= cols; j += 4 {
			y0, y1, y2, y3 := y[j*depth:][:depth], y[(j+1)*depth:][:depth], y[(j+2)*depth:][:depth], y[(j+3)*depth:][:depth]
			var a0, a1, a2, a3, b0, b1, b2, b3 float64
			for k, v := range x0 {
				w := x1[k]
				a0, b0 = a0+v*y0[k], b0+w*y0[k]
				a1, b1 = a1+v*y1[k], b1+w*y1[k]
				a2, b2 = a2+v*y2[k], b2+w*y2[k]
				a3, b3 = a3+v*y3[k], b3+w*y3[k]
			}
			r := z[i*cols+j:]
			r[0], r[1], r[2], r[3] = a0, a1, a2, a3
			if i+1 < rows {
				r = z[(i+1)*cols+j:]
				r[0], r[1], r[2], r[3] = b0, b1, b2, b3
			}
		}
		for ; j < cols; j++ {
			z[i*cols+j] = inner(x0, y[j*depth:])
			if i+1 < rows {
				z[(i+1)*cols+j] = inner(x1, y[j*depth:])
			}
		}
	}
}

// inner is the sum of x·y over x's elements.
func inner(x, y []float64) float64 {
	y = y[:len(x)]
	s := 0.0
	for i, v := range x {
		s += v * y[i]
	}
	return s
}

// evalAccumulate adds a product's or a sum's value.
func evalAccumulate(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	op := Ops["dot"]
	if len(n.Args) == 2 {
		op = Ops["sum"]
	}
	t, err := op.Eval(&Node{Op: op, Type: n.Type, Args: n.Args[1:], Attr: n.Attr}, in[1:], e)
	if err != nil {
		return nil, err
	}
	if first, _ := e.Index(n.Args[1].Type.Clock()); first > 0 {
		for i := range t.Data {
			t.Data[i] += in[0].Data[i]
		}
	}
	return t, nil
}
