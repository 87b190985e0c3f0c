package ir

import (
	"fmt"
	"slices"
)

func evalTake(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	x, idx := in[0], in[1]
	first, _ := e.Index(n.Args[0].Type.Clock())
	out := NewTensor(x.Elem, append([]int{len(idx.Data)}, x.Dims[1:]...)...)
	w := x.row()
	for i, v := range idx.Data {
		at := int64(v) - first
		if at < 0 || at >= int64(x.Dims[0]) {
			return nil, fmt.Errorf("row %v is taken of rows %d to %d", v, first, first+int64(x.Dims[0])-1)
		}
		copy(out.Data[i*w:(i+1)*w], x.Data[int(at)*w:])
	}
	return out, nil
}

func evalPrefix(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	m, x := in[0], in[1]
	_, rows := e.Index(n.Attr.Clock)
	switch rows - x.Dims[0] {
	case m.Dims[0]:
		t := stack(m, x)
		return &Tensor{Elem: n.Type.Elem, Dims: t.Dims, Data: t.Data}, nil
	case 0: // a later piece of the chunk: the first brought the rows of m
		return &Tensor{Elem: n.Type.Elem, Dims: x.Dims, Data: x.Data}, nil
	}
	return nil, fmt.Errorf("%d rows of %s before %d make no %d", m.Dims[0], n.Attr.Clock.Name, x.Dims[0], rows)
}

func evalSuffix(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	_, rows := e.Index(n.Type.Clock())
	have := in[0].Dims[0]
	if rows > have {
		return nil, fmt.Errorf("%d rows have no last %d", have, rows)
	}
	return in[0].cut(have-rows, have), nil
}

func evalLast(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	rows := in[0].Dims[0]
	if rows == 0 {
		return nil, fmt.Errorf("there is no last row: the call brought none")
	}
	t := in[0].cut(rows-1, rows)
	return &Tensor{Elem: t.Elem, Dims: t.Dims[1:], Data: t.Data}, nil
}

// evalShift finds each row some rows back, in a history by its number.
func evalShift(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	x := in[0]
	first, rows := e.Index(n.Type.Clock())
	out := NewTensor(n.Type.Elem, append([]int{rows}, x.Dims[1:]...)...)
	w := x.row()
	for i := range rows {
		want := first + int64(i-n.Attr.Start)
		at, ok := i-n.Attr.Start, i >= n.Attr.Start
		if x.Rows != nil {
			at, ok = slices.BinarySearch(x.Rows, want)
		}
		if !ok && want >= 0 {
			return nil, fmt.Errorf("row %d is shifted from row %d, which is forgotten", first+int64(i), want)
		}
		if ok {
			copy(out.Data[i*w:(i+1)*w], x.Data[at*w:])
		}
	}
	return out, nil
}

// evalCumsum carries the sum so far.
func evalCumsum(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	x := in[0]
	return recur(n, x.Dims, e, func(y []float64, i int) {
		for j, v := range x.Data[i*len(y) : (i+1)*len(y)] {
			y[j] += v
		}
	})
}

// evalLinrec carries the last y.
func evalLinrec(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	dims, err := e.sizes(n.Type.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	a, err := arrange(n.Type.Dims, dims, n.Args[0], in[0])
	if err != nil {
		return nil, err
	}
	b, err := arrange(n.Type.Dims, dims, n.Args[1], in[1])
	if err != nil {
		return nil, err
	}
	return recur(n, dims, e, func(y []float64, i int) {
		for j := range y {
			y[j] = a[i*len(y)+j]*y[j] + b[i*len(y)+j]
		}
	})
}

// recur runs step over the rows; y is the last row's result, then this one's.
func recur(n *Node, dims []int, e *Env, step func(y []float64, i int)) (*Tensor, error) {
	old, err := e.Carry(n)
	if err != nil {
		return nil, err
	}
	y := make([]float64, count(dims[1:]))
	if old != nil {
		copy(y, old.Data)
	}
	out := NewTensor(n.Type.Elem, dims...)
	for i := range dims[0] {
		step(y, i)
		copy(out.Data[i*len(y):], y)
	}
	return out, e.Keep(n, &Tensor{Elem: n.Type.Elem, Dims: slices.Clone(dims[1:]), Data: y})
}

func evalRows(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	x := in[0]
	out := NewTensor(x.Elem, append([]int{len(n.Attr.Ints)}, x.Dims[1:]...)...)
	w := x.row()
	for i, r := range n.Attr.Ints {
		if r >= int64(x.Dims[0]) {
			return nil, fmt.Errorf("row %d is picked from a chunk of %d rows", r, x.Dims[0])
		}
		copy(out.Data[i*w:(i+1)*w], x.Data[int(r)*w:])
	}
	return out, nil
}

// evalKeep carries the rows that may still be asked for.
func evalKeep(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	old, err := e.Carry(n)
	if err != nil {
		return nil, err
	}
	first, rows := e.Index(n.Args[0].Type.Clock())
	if rows != in[0].Dims[0] {
		return nil, fmt.Errorf("%d rows to keep of a call of %d", in[0].Dims[0], rows)
	}
	x := *in[0]
	x.Rows = make([]int64, rows)
	for i := range x.Rows {
		x.Rows[i] = first + int64(i)
	}
	all := &x
	if old != nil {
		all = stack(old, all)
	}
	return all, e.Keep(n, forget(all, n.Attr.Keep, first+int64(rows)))
}

// forget drops what k allows to forget of rows before row next.
func forget(t *Tensor, k Keep, next int64) *Tensor {
	if k.All {
		return t
	}
	from := next - int64(k.Ring)
	switch {
	case k.Chunk && k.Ring > 0 && k.Block > 0:
		from = added(next, k.Ring, k.Block)
	case k.Chunk && k.Ring > 0:
		from = next / int64(k.Ring) * int64(k.Ring)
	}
	pin := slices.IndexFunc(t.Rows, func(r int64) bool { return r >= int64(k.Pin) })
	if pin < 0 {
		return t
	}
	at := slices.IndexFunc(t.Rows, func(r int64) bool { return r >= from })
	if at < 0 {
		at = len(t.Rows)
	}
	if at <= pin {
		return t
	}
	return stack(t.cut(0, pin), t.cut(at, len(t.Rows)))
}
