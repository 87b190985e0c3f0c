package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/elem"
)

func evalConst(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	return Scalar(n.Attr.Elem, n.Attr.Value), nil
}

func evalTable(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	out, err := e.result(n, nil)
	if err != nil {
		return nil, err
	}
	for i, v := range n.Attr.Ints {
		out.Data[i] = float64(v)
	}
	copy(out.Data, n.Attr.Floats)
	return out, nil
}

func evalIota(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	out, err := e.result(n, nil)
	if err != nil {
		return nil, err
	}
	for i := range out.Data {
		out.Data[i] = float64(i)
	}
	return out, nil
}

func evalIndex(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	first, rows := e.Index(n.Attr.Clock)
	out := NewTensor(elem.I64, rows)
	for i := range out.Data {
		out.Data[i] = float64(first + int64(i))
	}
	return out, nil
}

func evalChunkIndex(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	return Scalar(elem.I64, float64(e.Chunk(n.Attr.Clock))), nil
}

func evalView(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	dims, err := e.sizes(n.Type.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	return &Tensor{Elem: n.Type.Elem, Dims: dims, Data: in[0].Data, Rows: in[0].Rows}, nil
}

func evalExpand(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	dims, err := e.sizes(n.Type.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	data, err := arrange(n.Type.Dims, dims, n.Args[0], in[0])
	return &Tensor{Elem: n.Type.Elem, Dims: dims, Data: data}, err
}

// around gives the sizes of the loops outside dimension i, of it, and inside.
func around(dims []int, i int) (outer, size, inner int) {
	return count(dims[:i]), dims[i], count(dims[i+1:])
}

func evalSlice(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	i := n.Type.Find(n.Attr.Dim)
	outer, size, inner := around(in[0].Dims, i)
	dims := append([]int{}, in[0].Dims...)
	dims[i] = n.Attr.Size
	out := NewTensor(n.Type.Elem, dims...)
	w := n.Attr.Size * inner
	for o := range outer {
		copy(out.Data[o*w:(o+1)*w], in[0].Data[(o*size+n.Attr.Start)*inner:])
	}
	return out, nil
}

func evalPad(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	i := n.Type.Find(n.Attr.Dim)
	outer, size, inner := around(in[0].Dims, i)
	dims := append([]int{}, in[0].Dims...)
	dims[i] = n.Attr.Size
	out := NewTensor(n.Type.Elem, dims...)
	for o := range outer {
		copy(out.Data[(o*n.Attr.Size+n.Attr.Start)*inner:], in[0].Data[o*size*inner:(o+1)*size*inner])
	}
	return out, nil
}

func evalConcat(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	i := n.Type.Find(n.Attr.Dim)
	dims := append([]int{}, in[0].Dims...)
	dims[i] = 0
	for _, t := range in {
		dims[i] += t.Dims[i]
	}
	out := NewTensor(n.Type.Elem, dims...)
	outer, size, inner := around(dims, i)
	at := 0
	for _, t := range in {
		w := t.Dims[i] * inner
		if len(t.Data) != outer*w {
			return nil, fmt.Errorf("concat of %s and %s along %s", in[0], t, n.Attr.Dim)
		}
		for o := range outer {
			copy(out.Data[o*size*inner+at:], t.Data[o*w:(o+1)*w])
		}
		at += w
	}
	return out, nil
}

func evalTail(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	rows := in[0].Dims[0]
	return in[0].cut(max(0, rows-n.Attr.Size), rows), nil
}

func evalGather(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	table, idx := in[0], in[1]
	out := NewTensor(n.Type.Elem, append(append([]int{}, idx.Dims...), table.Dims[1:]...)...)
	w := table.row()
	for i, x := range idx.Data {
		if !(x >= 0 && x < float64(table.Dims[0])) {
			return nil, fmt.Errorf("row %v is outside a table of %d rows", x, table.Dims[0])
		}
		copy(out.Data[i*w:(i+1)*w], table.Data[int(x)*w:])
	}
	return out, nil
}

// evalReduce is the Eval of a reduction with a first value and a step.
func evalReduce(first float64, step func(a, x float64) float64) evalFunc {
	return func(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
		// The reduced dimensions go innermost, so that each result is one run.
		dims, rest := n.Type.Dims, []Dim{}
		for _, name := range n.Attr.Over {
			rest = append(rest, n.Args[0].Type.Dims[n.Args[0].Type.Find(name)])
		}
		order := append(append([]Dim{}, dims...), rest...)
		sizes, err := e.sizes(order, n.Args, in)
		if err != nil {
			return nil, err
		}
		data, err := arrange(order, sizes, n.Args[0], in[0])
		if err != nil {
			return nil, err
		}
		out := NewTensor(elem.F32, sizes[:len(dims)]...)
		w := count(sizes[len(dims):])
		for i := range out.Data {
			a := first
			for _, x := range data[i*w : (i+1)*w] {
				a = step(a, x)
			}
			out.Data[i] = a
		}
		return out, nil
	}
}
