package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
)

// What a second affords in the interpreter: floating-point operations of a
// stream, and weights, which it holds in float64.
const (
	checkFlops   = 5e9
	checkWeights = 1 << 30
)

// The largest error that is let pass, ‖got − want‖₂ / ‖want‖₂ of an output of a
// call. f32 programs come to 1e-6; a memory amplifies that at each of its
// writes, to 1e-4 after a few. Where values are stored in 16 bits or fewer, one
// that lies between two of them may be rounded either way; of a chain of products
// whose operands are rounded to 8 bits, each adds an error of its own, which add up as
// the root of their number does.
const (
	errorF32    = 1e-3
	errorNarrow = 2e-2
)

// checked says how far the program was from the interpreter.
type checked struct {
	Rows  int64   `json:"rows"`  // of a stream; 0: nothing was compared
	Calls int     `json:"calls"` // that they were fed in
	Error float64 `json:"error"` // the largest of any output of a call
	Limit float64 `json:"limit"`
	Why   string  `json:"why,omitempty"` // why nothing was compared
}

func (c *checked) String() string {
	if c.Rows == 0 {
		return "not checked: " + c.Why
	}
	return fmt.Sprintf("checked: %d rows in %d calls against the float64 interpreter, the largest error is %.1e of %.0e", c.Rows, c.Calls, c.Error, c.Limit)
}

// compare runs a short stream on the program and on the interpreter, with the
// same weights: a long call and two of one row. rows is its length, nil for as
// long a one as is affordable. An error means that the program computes
// something else, and is not worth timing.
func (b *bench) compare(from weights, rows *int64) (*checked, error) {
	c := &checked{Limit: errorF32}
	if c.Why = tooLarge(b.p.Params()); c.Why != "" {
		return c, nil
	}
	if narrow(b.graph) || b.p.Artifact().Manifest.Products != "" {
		c.Limit = errorNarrow * math.Sqrt(max(1, float64(codedOperands(b.graph))/4))
	}
	n, err := b.checkRows(rows)
	if err != nil {
		return nil, err
	}
	art := *b.p.Artifact()
	art.Targets = append(slices.Clip(art.Targets), artifact.Target{Name: "interp", Format: "graph"})
	slow, err := runtime.New(&art, "interp")
	if err != nil {
		return nil, err
	}
	w, err := from.load(&program{Program: slow, in: b.p.in})
	if err != nil {
		return nil, err
	}
	want, err := slow.NewSession(w, runtime.Options{})
	if err != nil {
		return nil, err
	}
	defer want.Close()
	got, err := b.p.NewSession(b.w, runtime.Options{Threads: b.threads})
	if err != nil {
		return nil, err
	}
	defer got.Close()
	pieces := []int64{n}
	if n >= 3 {
		pieces = []int64{n - 2, 1, 1}
	}
	in, err := b.inputs(n)
	if err != nil {
		return nil, err
	}
	for _, rows := range pieces {
		piece := b.piece(in, c.Rows, c.Rows+rows)
		if err := b.difference(c, got, want, piece); err != nil {
			return nil, err
		}
		c.Rows += rows
		c.Calls++
	}
	return c, nil
}

// tooLarge says why a program with these weights is not compared; empty where it is.
func tooLarge(params []runtime.Param) string {
	total := 0
	for _, p := range params {
		n := 1
		for _, d := range p.Shape {
			n *= d
		}
		total += n
	}
	if total <= checkWeights {
		return ""
	}
	return fmt.Sprintf("the interpreter would need %s for the weights", size(int64(total)*8))
}

// difference feeds both streams a piece and compares what they make of it.
func (b *bench) difference(c *checked, got, want *runtime.Session, in []runtime.Tensor) error {
	ports := b.p.Entries()[b.number].Outputs
	x, y := make([]runtime.Tensor, len(ports)), make([]runtime.Tensor, len(ports))
	if err := got.Run(b.app.ctx, b.number, in, x); err != nil {
		return err
	}
	if err := want.Run(b.app.ctx, b.number, in, y); err != nil {
		return fmt.Errorf("the interpreter: %w", err)
	}
	for i, p := range ports {
		e, err := apart(x[i], y[i])
		if err != nil {
			return fmt.Errorf("the output %s: %w", p.Name, err)
		}
		c.Error = max(c.Error, e)
		if math.IsNaN(e) && !numbers(y[i]) {
			return fmt.Errorf("the output %s of rows %d and following holds what is no number, in the interpreter too: the program diverges with these weights and inputs, which --set, --seed and --weights change. There is nothing to time", p.Name, c.Rows)
		}
		if !(e <= c.Limit) {
			return fmt.Errorf("the output %s of rows %d and following is not what the interpreter makes of them: the error is %.2e, allowed is %.0e. There is nothing to time", p.Name, c.Rows, e, c.Limit)
		}
	}
	return nil
}

// numbers reports whether a floating tensor holds no infinity, and nothing that is no number.
func numbers(t runtime.Tensor) bool {
	v, err := runtime.Float64(t)
	return err == nil && !slices.ContainsFunc(v, func(x float64) bool { return math.IsNaN(x - x) })
}

// apart is ‖got − want‖₂ / ‖want‖₂, or NaN where a value is none.
func apart(got, want runtime.Tensor) (float64, error) {
	if !slices.Equal(got.Shape, want.Shape) {
		return 0, fmt.Errorf("the shape is %v, the interpreter's %v", got.Shape, want.Shape)
	}
	if got.Elem == runtime.I32 || got.Elem == runtime.I64 || got.Elem == runtime.Bool {
		if !slices.Equal(got.Data, want.Data) {
			return math.Inf(1), nil
		}
		return 0, nil
	}
	x, err := runtime.Float64(got)
	if err != nil {
		return 0, err
	}
	y, err := runtime.Float64(want)
	if err != nil {
		return 0, err
	}
	var diff, norm float64
	for i := range x {
		diff += (x[i] - y[i]) * (x[i] - y[i])
		norm += y[i] * y[i]
	}
	if diff == 0 {
		return 0, nil
	}
	return math.Sqrt(diff / norm), nil
}

// piece cuts rows from to to out of inputs that follow a clock.
func (b *bench) piece(in []runtime.Tensor, from, to int64) []runtime.Tensor {
	out := slices.Clone(in)
	for i, p := range b.p.Entries()[b.number].Inputs {
		if len(p.Dims) > 0 && !numeric(p.Dims[0]) {
			out[i] = rowsOf(in[i], int(from), int(to))
		}
	}
	return out
}

// checkRows is how many rows to compare: beyond the first chunk's border and the
// window, and 64 keys more, or as much of that as is affordable.
func (b *bench) checkRows(asked *int64) (int64, error) {
	if asked != nil {
		return *asked, nil
	}
	chunk, ring := int64(0), int64(0)
	for _, n := range memc.Nodes(b.graph) {
		if n.Op.Name == "keep" && !n.Attr.Keep.All {
			ring = max(ring, int64(n.Attr.Keep.Ring))
		}
		if n.Body != nil {
			chunk = max(chunk, int64(n.Body.Clock.Size))
		}
	}
	for _, n := range []int64{max(chunk, ring) + 66, chunk + 66, 130, 66, 33, 16, 8, 4} {
		c, err := b.graph.Cost(0, n)
		if err != nil {
			return 0, err
		}
		if c.Flops <= checkFlops {
			return n, nil
		}
	}
	return 3, nil
}

// narrow reports whether a program stores what it computes in 16 bits or fewer;
// narrow weights are the same for both.
func narrow(g *ir.Graph) bool {
	return slices.ContainsFunc(memc.Nodes(g), func(n *ir.Node) bool {
		e := n.Type.Elem
		return n.Op.Name != "weight" && (e == elem.BF16 || e == elem.F16 || e.Quantised())
	})
}

// codedOperands counts the values that are rounded to codes for products.
func codedOperands(g *ir.Graph) (n int) {
	for _, x := range memc.Nodes(g) {
		if x.Op.Name == "dot" && slices.ContainsFunc(x.Args, func(a *ir.Node) bool { return a.Op.Name == "cast" && a.Type.Elem.Quantised() }) {
			n++
		}
	}
	return n
}
