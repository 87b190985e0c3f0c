package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

type execCmd struct {
	source
	engine
	stepwise
	weights
	Entry    string `default:"forward" help:"The entry point to run (${default})."`
	In       string `required:"" placeholder:"F" help:"The inputs: a safetensors file with a tensor for each."`
	Out      string `required:"" placeholder:"F" help:"Where to write the outputs."`
	StateIn  string `placeholder:"F" help:"Go on with the stream whose state this is."`
	StateOut string `placeholder:"F" help:"Where to write the state after the call."`
	Cut      *int   `placeholder:"N" help:"Feed the rows in pieces of N; the results are the same."`
}

type tensorInfo struct {
	Elem  string `json:"dtype"`
	Shape []int  `json:"shape"`
}

type executed struct {
	Spec       string                `json:"spec"`
	Entry      string                `json:"entry"`
	Target     string                `json:"target"`
	File       string                `json:"file"`
	Outputs    map[string]tensorInfo `json:"outputs"`
	Position   int64                 `json:"position"`
	StateBytes int64                 `json:"state_bytes"`
	Seconds    float64               `json:"seconds"`
}

func (c *execCmd) Run(a *app) error {
	if c.Cut != nil && *c.Cut < 1 {
		return usage("--cut %d: a piece has at least one row", *c.Cut)
	}
	if samePath(c.Out, c.StateOut) {
		return usage("--out and --state-out are the same file")
	}
	if err := writable(c.Out, c.StateOut); err != nil {
		return err
	}
	p, err := c.program(a, c.engine)
	if err != nil {
		return err
	}
	entry, err := p.entry(c.Entry)
	if err != nil {
		return err
	}
	inputs, err := readTensors(c.In)
	if err != nil {
		return err
	}
	s, err := p.session(&c.weights, c.engine, c.stepwise)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.StateIn != "" {
		if err := s.LoadState(c.StateIn); err != nil {
			return err
		}
	}
	begin := time.Now()
	outputs, err := call(a, s, entry, inputs, c.Cut)
	if err != nil {
		return fmt.Errorf("%s: %w", c.In, err)
	}
	seconds := time.Since(begin).Seconds()
	if c.StateOut != "" {
		if err := s.SaveState(c.StateOut); err != nil {
			return err
		}
	}
	if err := safetensors.WriteFile(c.Out, outputs, nil); err != nil {
		return err
	}
	r := executed{
		Spec: p.Name(), Entry: c.Entry, Target: p.Target(), File: c.Out, Outputs: map[string]tensorInfo{},
		Position: s.Pos(), StateBytes: s.StateBytes(), Seconds: seconds,
	}
	for name, t := range outputs {
		r.Outputs[name] = tensorInfo{t.Elem.String(), t.Shape}
	}
	return a.print(r, func(w io.Writer) {
		for _, name := range slices.Sorted(maps.Keys(outputs)) {
			fmt.Fprintf(w, "%s: %s %v\n", name, outputs[name].Elem, outputs[name].Shape)
		}
		fmt.Fprintf(w, "%s of %s on %s: %.3f s, position %d, state %d bytes\n", c.Entry, r.Spec, r.Target, seconds, r.Position, r.StateBytes)
	})
}

// readTensors reads a safetensors file into memory.
func readTensors(path string) (map[string]runtime.Tensor, error) {
	c, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	out := make(map[string]runtime.Tensor, len(c.Tensors))
	err = c.Guard(func() error {
		for name, t := range c.Tensors {
			t.Data = slices.Clone(t.Data)
			out[name] = t
		}
		return nil
	})
	return out, err
}

// call runs an entry point on all the inputs' rows, in pieces where cut says so.
func call(a *app, s *runtime.Session, e *runtime.Entry, in map[string]runtime.Tensor, cut *int) (map[string]runtime.Tensor, error) {
	rows := 0 // of the inputs that follow a clock
	follows := func(p runtime.Port) bool { return len(p.Dims) > 0 && !numeric(p.Dims[0]) }
	for _, p := range e.Inputs {
		if t, ok := in[p.Name]; ok && follows(p) && len(t.Shape) > 0 {
			rows = max(rows, t.Shape[0])
		}
	}
	if cut == nil || rows == 0 {
		return s.Call(a.ctx, e.Name, in)
	}
	for _, p := range e.Inputs { // a piece could hide what the whole shows
		if t, ok := in[p.Name]; ok && follows(p) && (len(t.Shape) == 0 || t.Shape[0] != rows) {
			return nil, fmt.Errorf("the input %s has the shape %v, another one has %d rows", p.Name, t.Shape, rows)
		}
	}
	var out map[string]runtime.Tensor
	for at := 0; at < rows; at += *cut {
		piece := maps.Clone(in)
		for _, p := range e.Inputs {
			if t, ok := in[p.Name]; ok && follows(p) {
				piece[p.Name] = rowsOf(t, at, min(at+*cut, rows))
			}
		}
		got, err := s.Call(a.ctx, e.Name, piece)
		if err != nil {
			return nil, err
		}
		for _, p := range e.Outputs {
			if t := got[p.Name]; out != nil && follows(p) {
				whole := out[p.Name]
				whole.Shape[0] += t.Shape[0]
				whole.Data = append(whole.Data, t.Data...)
				got[p.Name] = whole
			}
		}
		out = got
	}
	return out, nil
}

func numeric(dim string) bool { return dim != "" && dim[0] >= '0' && dim[0] <= '9' }

// rowsOf gives rows from to to of t.
func rowsOf(t runtime.Tensor, from, to int) runtime.Tensor {
	row := len(t.Data) / t.Shape[0]
	shape := slices.Clone(t.Shape)
	shape[0] = to - from
	return runtime.Tensor{Elem: t.Elem, Shape: shape, Data: t.Data[from*row : to*row : to*row]}
}
