package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/elem"
)

// Tensor is a value of the interpreter: Data in row-major order of Dims, the
// sizes at hand (a clock's or a bounded dimension's rows as they are). Every
// element type is held in float64, which is exact for 53-bit integers.
// Tensors are never written once made, so they share Data.
type Tensor struct {
	Elem elem.Type
	Dims []int
	Data []float64
	Rows []int64 // of a kept history: the number of each row, rising; else nil
}

// NewTensor is a tensor of zeros.
func NewTensor(e elem.Type, dims ...int) *Tensor {
	return &Tensor{Elem: e, Dims: dims, Data: make([]float64, count(dims))}
}

// Scalar is a tensor without dimensions.
func Scalar(e elem.Type, v float64) *Tensor { return &Tensor{Elem: e, Data: []float64{v}} }

func (t *Tensor) String() string { return fmt.Sprintf("%s%v", t.Elem, t.Dims) }

// row is the number of elements of one row of the first dimension.
func (t *Tensor) row() int { return count(t.Dims[1:]) }

// cut gives rows [from, to) of the first dimension.
func (t *Tensor) cut(from, to int) *Tensor {
	w := t.row()
	r := &Tensor{Elem: t.Elem, Dims: append([]int{to - from}, t.Dims[1:]...), Data: t.Data[from*w : to*w]}
	if t.Rows != nil {
		r.Rows = t.Rows[from:to]
	}
	return r
}

// stack joins tensors of one row shape along the first dimension.
func stack(ts ...*Tensor) *Tensor {
	r := &Tensor{Elem: ts[0].Elem, Dims: append([]int{0}, ts[0].Dims[1:]...)}
	for _, t := range ts {
		r.Dims[0] += t.Dims[0]
		r.Data = append(r.Data, t.Data...)
		r.Rows = append(r.Rows, t.Rows...)
	}
	return r
}

func count(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// Env is what an op's Eval may ask about where it runs.
type Env struct {
	// Index gives the number of the first row at hand of a clock, and how many
	// there are.
	Index func(c *Clock) (first int64, count int)
	// Chunk gives the number of the running chunk of a scan's clock.
	Chunk func(c *Clock) int64
	// Len gives the value of a named length.
	Len func(name string) (int64, bool)
	// Carry gives what the op left by Keep when it computed the rows before
	// these, nil at the clock's start.
	Carry func(n *Node) (*Tensor, error)
	// Keep leaves t for the op's next rows.
	Keep func(n *Node, t *Tensor) error
}
