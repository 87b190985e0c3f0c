// Package irtest makes random graphs, inputs and weights for tests, and compares
// results. Graphs are well typed, can be streamed, and keep their values near 1,
// without jumps, so that f32 and float64 stay close.
package irtest

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/memc-lang/memc/ir"
)

// Source is where choices come from: a *rand.Rand of math/rand/v2, or a
// shrinking generator behind the same method.
type Source interface {
	IntN(n int) int // in [0, n)
}

// Vocabulary is the bound of the integers in random inputs.
const Vocabulary = 11

// Inputs draws values for g's inputs over so many tokens: floats in [-1, 1) that
// f32 holds, integers below Vocabulary.
func Inputs(src Source, g *ir.Graph, tokens int) map[string]*ir.Tensor {
	in := map[string]*ir.Tensor{}
	for _, n := range g.Inputs {
		dims := make([]int, len(n.Type.Dims))
		for i, d := range n.Type.Dims {
			dims[i] = d.Size
			if d.Clock != nil {
				dims[i] = tokens
			}
		}
		t := ir.NewTensor(n.Type.Elem, dims...)
		for i := range t.Data {
			if n.Type.Elem.Float() {
				t.Data[i] = float64(src.IntN(1<<20))/(1<<19) - 1
			} else {
				t.Data[i] = float64(src.IntN(Vocabulary))
			}
		}
		in[n.Attr.Name] = t
	}
	return in
}

// Rows gives rows [from, to) of tensors that all follow one clock.
func Rows(in map[string]*ir.Tensor, from, to int) map[string]*ir.Tensor {
	out := map[string]*ir.Tensor{}
	for name, t := range in {
		w := 1
		for _, d := range t.Dims[1:] {
			w *= d
		}
		out[name] = &ir.Tensor{Elem: t.Elem, Dims: append([]int{to - from}, t.Dims[1:]...), Data: t.Data[from*w : to*w]}
	}
	return out
}

// Weights draws each weight as its init says, from its name alone, in values
// that its element type holds: the same for every graph and every session.
func Weights(n *ir.Node) (*ir.Tensor, error) {
	h := fnv.New64a()
	h.Write([]byte(n.Attr.Name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	t := ir.NewTensor(n.Type.Elem)
	t.Dims = nil
	for _, d := range n.Type.Dims {
		t.Dims = append(t.Dims, d.Size)
	}
	t.Data = make([]float64, n.Type.Count())
	for i := range t.Data {
		x := n.Attr.Init.Scale
		switch n.Attr.Init.Kind {
		case "zeros":
			x = 0
		case "normal":
			x *= rng.NormFloat64()
		case "uniform":
			x *= 2*rng.Float64() - 1
		}
		t.Data[i] = ir.Round(n.Type.Elem, float64(float32(x)))
	}
	return t, nil
}

// Difference is the size of got - want relative to want's, both by their root
// of squares; infinite where the shapes differ or a value is no number.
func Difference(got, want *ir.Tensor) float64 {
	if fmt.Sprint(got.Dims) != fmt.Sprint(want.Dims) || len(got.Data) != len(want.Data) {
		return math.Inf(1)
	}
	var diff, size float64
	for i, w := range want.Data {
		d := got.Data[i] - w
		diff += d * d
		size += w * w
	}
	switch r := math.Sqrt(diff); {
	case math.IsNaN(r) || math.IsNaN(size):
		return math.Inf(1)
	case r == 0:
		return 0
	default:
		return r / max(math.Sqrt(size), 1e-30)
	}
}

// Stream feeds a session an entry's inputs in pieces that src cuts, at most
// most tokens each, and gives the outputs over the base clock joined end to end,
// others as the last call gave them.
func Stream(src Source, s *ir.Session, g *ir.Graph, in map[string]*ir.Tensor, tokens, most int) (map[string]*ir.Tensor, error) {
	out := map[string]*ir.Tensor{}
	for at := 0; at < tokens; {
		k := min(1+src.IntN(most), tokens-at)
		part, err := s.Call(g.Name, Rows(in, at, at+k))
		if err != nil {
			return nil, fmt.Errorf("rows %d to %d: %w", at, at+k, err)
		}
		for _, o := range g.Outputs {
			t, old := part[o.Name], out[o.Name]
			if old != nil && o.Node.Type.Clock() != nil {
				t = &ir.Tensor{Elem: t.Elem, Dims: append([]int{old.Dims[0] + t.Dims[0]}, t.Dims[1:]...), Data: append(old.Data[:len(old.Data):len(old.Data)], t.Data...)}
			}
			out[o.Name] = t
		}
		at += k
	}
	return out, nil
}
