package ir

import (
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Eval functions are the meaning of the ops in float64: slow and plain, the
// truth that every kernel is tested against. This file holds what they share:
// the sizes at hand, and walks over operands whose dimensions match by name.

// evalFunc is the type of Op.Eval.
type evalFunc = func(n *Node, in []*Tensor, e *Env) (*Tensor, error)

// length evaluates an expression over lengths.
func (e *Env) length(x *ints.Expr) (int, error) {
	if k, ok := x.IsConst(); ok {
		return int(k), nil
	}
	vars := map[string]bool{}
	x.Vars(vars)
	env := map[string]int64{}
	for name := range vars {
		v, ok := e.Len(name)
		if !ok {
			return 0, fmt.Errorf("there is no length %s here", name)
		}
		env[name] = v
	}
	v, err := x.Eval(env)
	return int(v), err
}

// size gives the elements at hand along a dimension, from an operand that has
// it where there is one.
func (e *Env) size(d Dim, args []*Node, in []*Tensor) (int, error) {
	if d.Static() {
		return d.Size, nil
	}
	for k, a := range args {
		if i := a.Type.Find(d.Name); i >= 0 && a.Type.Dims[i].Same(d) && in[k] != nil {
			return in[k].Dims[i], nil
		}
	}
	if d.Clock != nil {
		_, n := e.Index(d.Clock)
		return n, nil
	}
	n, err := e.length(d.Len)
	if err == nil && (n < 0 || n > d.Size) {
		err = fmt.Errorf("dimension %s has %d rows, more than its %d", d.Name, n, d.Size)
	}
	return n, err
}

// result makes the tensor of n's type with the sizes at hand.
func (e *Env) result(n *Node, in []*Tensor) (*Tensor, error) {
	dims, err := e.sizes(n.Type.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	return NewTensor(n.Type.Elem, dims...), nil
}

func (e *Env) sizes(of []Dim, args []*Node, in []*Tensor) ([]int, error) {
	dims := make([]int, len(of))
	for i, d := range of {
		var err error
		if dims[i], err = e.size(d, args, in); err != nil {
			return nil, err
		}
	}
	return dims, nil
}

// walk is a nest of loops over a result's elements with, for each operand, the
// step of its place along each loop (0 where it lacks the dimension).
type walk struct {
	dims  []int
	steps [][]int // of each operand
}

// strides gives row-major steps.
func strides(dims []int) []int {
	s := make([]int, len(dims))
	n := 1
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = n
		n *= dims[i]
	}
	return s
}

// over prepares the walk of operands over dims, whose sizes are given. Loops
// that every operand runs through in one stride are joined.
func over(dims []Dim, sizes []int, args []*Node, in []*Tensor) (*walk, error) {
	w := &walk{dims: append([]int{}, sizes...)}
	for k, a := range args {
		steps := make([]int, len(dims))
		own := strides(in[k].Dims)
		for i, d := range dims {
			j := a.Type.Find(d.Name)
			if j < 0 {
				continue
			}
			if in[k].Dims[j] != sizes[i] {
				return nil, fmt.Errorf("dimension %s has %d rows in one operand and %d in another", d.Name, sizes[i], in[k].Dims[j])
			}
			steps[i] = own[j]
		}
		w.steps = append(w.steps, steps)
	}
	w.join()
	return w, nil
}

func (w *walk) join() {
	for i := len(w.dims) - 2; i >= 0; i-- {
		one := true
		for _, s := range w.steps {
			one = one && s[i] == s[i+1]*w.dims[i+1]
		}
		if !one {
			continue
		}
		w.dims[i] *= w.dims[i+1]
		w.dims = append(w.dims[:i+1], w.dims[i+2:]...)
		for k, s := range w.steps {
			s[i] = s[i+1]
			w.steps[k] = append(s[:i+1], s[i+2:]...)
		}
	}
	if len(w.dims) == 0 {
		w.dims = []int{1}
		for k := range w.steps {
			w.steps[k] = []int{0}
		}
	}
}

// run calls row for each run of the innermost loop: the result's elements
// [at, at+n) and the operands' first places; their steps are inner's.
func (w *walk) run(row func(at int, from []int, n int)) {
	last := len(w.dims) - 1
	n := w.dims[last]
	if count(w.dims) == 0 {
		return
	}
	from := make([]int, len(w.steps))
	turn := make([]int, last)
	for at := 0; ; at += n {
		row(at, from, n)
		d := last - 1
		for ; d >= 0; d-- {
			turn[d]++
			for k, s := range w.steps {
				from[k] += s[d]
			}
			if turn[d] < w.dims[d] {
				break
			}
			for k, s := range w.steps {
				from[k] -= s[d] * w.dims[d]
			}
			turn[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// inner gives the steps of the innermost loop.
func (w *walk) inner() []int {
	s := make([]int, len(w.steps))
	for k := range s {
		s[k] = w.steps[k][len(w.dims)-1]
	}
	return s
}

// arrange copies an operand into the order of dims, repeating it along those
// that it lacks; where nothing moves, it gives the operand's own data.
func arrange(dims []Dim, sizes []int, a *Node, t *Tensor) ([]float64, error) {
	w, err := over(dims, sizes, []*Node{a}, []*Tensor{t})
	if err != nil {
		return nil, err
	}
	if len(w.dims) == 1 && (w.steps[0][0] == 1 || w.dims[0] == 1 && len(t.Data) == 1) {
		return t.Data, nil
	}
	out := make([]float64, count(sizes))
	s := w.inner()[0]
	w.run(func(at int, from []int, n int) {
		p := from[0]
		for i := range n {
			out[at+i] = t.Data[p]
			p += s
		}
	})
	return out, nil
}

// Round gives x as the element type holds it: bf16 and f16 to the nearest, ties
// to even (IEEE 754-2019, 4.3.1), integers towards zero, clamped to their range,
// a test as 0 or 1. f32 stands for the reals here and is not rounded.
func Round(e elem.Type, x float64) float64 {
	switch e {
	case elem.BF16:
		return roundFloat(x, 8, -126, 127)
	case elem.F16:
		return roundFloat(x, 11, -14, 15)
	case elem.I32:
		return truncate(x, math.MinInt32, math.MaxInt32)
	case elem.I64:
		return truncate(x, math.MinInt64, math.MaxInt64-1023) // the largest float64 below 2^63
	case elem.Bool:
		if x != 0 {
			return 1
		}
		return 0
	}
	return x
}

// truncate is x towards zero, held between two integers; NaN is 0.
func truncate(x, least, most float64) float64 {
	if x != x {
		return 0
	}
	return min(max(math.Trunc(x), least), most)
}

// roundFloat rounds to a binary format of that many significant bits, whose
// normal numbers are at least 2^least and below 2^(most+1).
func roundFloat(x float64, bits, least, most int) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	r := 0.0
	if math.Abs(x) >= math.Ldexp(1, least) { // normal: an f64 with fewer bits
		drop := 53 - bits
		b := math.Float64bits(x)
		b += 1<<(drop-1) - 1 + b>>drop&1
		r = math.Float64frombits(b &^ (1<<drop - 1))
	} else { // a multiple of the smallest number
		unit := least - bits + 1
		r = math.Ldexp(math.RoundToEven(math.Ldexp(x, -unit)), unit)
	}
	if math.Abs(r) >= math.Ldexp(1, most+1) {
		return math.Inf(int(math.Copysign(1, x)))
	}
	return r
}
