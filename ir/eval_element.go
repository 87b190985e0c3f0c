package ir

import (
	"math"

	"github.com/memc-lang/memc/ir/elem"
)

// eval1 is the Eval of a function of one number.
func eval1(f func(x float64) float64) evalFunc {
	return func(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
		out := &Tensor{Elem: n.Type.Elem, Dims: in[0].Dims, Data: make([]float64, len(in[0].Data))}
		for i, x := range in[0].Data {
			out.Data[i] = f(x)
		}
		return out, nil
	}
}

// eval2 is the Eval of a function of two numbers; integer results wrap as
// 32-bit ones do.
func eval2(f func(a, b float64) float64) evalFunc {
	return func(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
		out, err := e.result(n, in)
		if err != nil {
			return nil, err
		}
		w, err := over(n.Type.Dims, out.Dims, n.Args, in)
		if err != nil {
			return nil, err
		}
		s, a, b := w.inner(), in[0].Data, in[1].Data
		w.run(func(at int, from []int, n int) {
			p, q := from[0], from[1]
			for i := range n {
				out.Data[at+i] = f(a[p], b[q])
				p, q = p+s[0], q+s[1]
			}
		})
		if out.Elem == elem.I32 {
			for i, x := range out.Data {
				out.Data[i] = float64(int32(int64(x)))
			}
		}
		return out, nil
	}
}

// evalInts picks by the operands' type between integers and numbers.
func evalInts(f func(a, b float64) float64, g func(a, b int64) int64) evalFunc {
	floats := eval2(f)
	whole := eval2(func(a, b float64) float64 { return float64(g(int64(a), int64(b))) })
	return func(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
		if n.Type.Elem.Float() {
			return floats(n, in, e)
		}
		return whole(n, in, e)
	}
}

// floorDiv rounds down. The divisor of a spec is positive; 0 gives 0, as the
// row that holds it may be one that a select drops.
func floorDiv(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - b*floorDiv(a, b) }

func test(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func evalSelect(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	out, err := e.result(n, in)
	if err != nil {
		return nil, err
	}
	w, err := over(n.Type.Dims, out.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	s := w.inner()
	w.run(func(at int, from []int, n int) {
		for i := range n {
			k := 2
			if in[0].Data[from[0]+i*s[0]] != 0 {
				k = 1
			}
			out.Data[at+i] = in[k].Data[from[k]+i*s[k]]
		}
	})
	return out, nil
}

func evalCast(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	to, from := n.Type.Elem, n.Args[0].Type.Elem
	if to == elem.F32 || to == from || to == elem.I64 && from == elem.I32 {
		return &Tensor{Elem: to, Dims: in[0].Dims, Data: in[0].Data}, nil
	}
	if to == elem.I32 && from == elem.I64 {
		return eval1(func(x float64) float64 { return float64(int32(int64(x))) })(n, in, e)
	}
	if to.Quantised() {
		return &Tensor{Elem: to, Dims: in[0].Dims, Data: RoundRows(to, in[0].Data, in[0].Dims)}, nil
	}
	return eval1(func(x float64) float64 { return Round(to, x) })(n, in, e)
}

// RoundRows gives the elements of a tensor of that shape, row-major, as the
// element type holds them: groups of quantised types run along the last
// dimension, and are made of f32; the other types are Round's.
func RoundRows(e elem.Type, data []float64, dims []int) []float64 {
	out := make([]float64, len(data))
	if !e.Quantised() || len(dims) == 0 {
		for i, x := range data {
			out[i] = Round(e, x)
		}
		return out
	}
	rows := make([]float32, len(data))
	for i, x := range data {
		rows[i] = float32(x)
	}
	e.Round(rows, dims[len(dims)-1])
	for i, x := range rows {
		out[i] = float64(x)
	}
	return out
}

func evalTurns(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	f := n.Attr.Ints
	out := NewTensor(elem.F32, append(append([]int{}, in[0].Dims...), len(f))...)
	for i, x := range in[0].Data {
		for j, y := range f {
			// The product modulo 2^64, seen as signed, is the angle in units
			// of 2^-64 turns.
			t := math.Ldexp(float64(int64(uint64(int64(x))*uint64(y))), -64)
			if t >= 0.5 {
				t = -0.5
			}
			out.Data[i*len(f)+j] = t
		}
	}
	return out, nil
}

func sigmoid(x float64) float64 {
	if x < 0 {
		t := math.Exp(x)
		return t / (1 + t)
	}
	return 1 / (1 + math.Exp(-x))
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
