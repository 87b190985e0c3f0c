package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime"
)

type quantizeCmd struct {
	Spec     string   `arg:"" help:"A spec, an artifact (.memc), or a model folder whose config.json names its spec."`
	Set      []string `sep:"none" placeholder:"K=V" help:"Set a parameter of the spec; the value is JSON. May be repeated."`
	Config   string   `placeholder:"FILE" help:"A JSON object with values for the spec's parameters; other keys are ignored."`
	Quantize string   `placeholder:"Q" help:"Store the weights of products as q8 (8.25 bits each) or q4 (4.5 bits); without it those that the spec or artifact stores so."`
	Weights  string   `placeholder:"F" help:"The weights: a safetensors file, or a folder with one; without it those of the model folder."`
	Out      string   `short:"o" required:"" placeholder:"FILE" help:"Where to write the quantised weights, a safetensors file."`
}

type quantized struct {
	Spec     string            `json:"spec"`
	File     string            `json:"file"`
	Bytes    int64             `json:"bytes"`
	Weights  map[string]string `json:"weights"` // the types of those that were quantised
	Elements int64             `json:"elements"`
	Bits     float64           `json:"bits_per_element"`
	Copied   int               `json:"copied"`
	Seconds  float64           `json:"seconds"`
}

func (c *quantizeCmd) Run(a *app) error {
	if err := writable(c.Out); err != nil {
		return err
	}
	s := source{Spec: c.Spec, Set: c.Set, Config: c.Config, Quantize: c.Quantize}
	in, err := s.open()
	if err != nil {
		return err
	}
	config := c.Config
	if in.folder != "" {
		config = filepath.Join(in.folder, "config.json")
	}
	for _, file := range []string{c.Spec, in.spec, config} {
		if sameFile(c.Out, file) {
			return usage("-o %s would replace %s, which is read", c.Out, file)
		}
	}
	// The graph says which weights are stored as codes: all targets store the same.
	art, err := in.compile(a, []string{"interp"})
	if err != nil {
		return err
	}
	opened, err := runtime.New(art, "interp")
	if err != nil {
		return fmt.Errorf("%s: %w", c.Spec, err)
	}
	p := &program{Program: opened, in: in}
	from := weights{Weights: c.Weights}
	switch {
	case c.Weights == "" && in.folder == "":
		return usage("--weights says where the weights are that are to be quantised")
	case !slices.ContainsFunc(p.Params(), func(w runtime.Param) bool { return slices.ContainsFunc(w.Stored, plan.Elem.Quantised) }):
		return usage("%s stores no weight as q8 or q4 by itself: --quantize says as which", p.Name())
	}
	if err := from.fits(p); err != nil {
		return err
	}
	w, err := from.load(p)
	if err != nil {
		return err
	}
	begin := time.Now()
	q, err := w.WriteQuantised(a.ctx, c.Out)
	if err != nil {
		return err
	}
	r := quantized{
		Spec: p.Name(), File: filepath.Clean(c.Out), Weights: map[string]string{}, Elements: q.Elements, Copied: q.Copied,
		Bits: 8 * float64(q.Coded) / float64(max(q.Elements, 1)), Seconds: time.Since(begin).Seconds(),
	}
	if st, err := os.Stat(c.Out); err == nil {
		r.Bytes = st.Size()
	}
	kinds := map[string]int{}
	for name, e := range q.Types {
		r.Weights[name] = e.String()
		kinds[e.String()]++
	}
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d bytes in %.2f s\n", r.File, r.Bytes, r.Seconds)
		for _, kind := range []string{"q8", "q4"} {
			if kinds[kind] > 0 {
				fmt.Fprintf(w, "  %d weights as %s\n", kinds[kind], kind)
			}
		}
		fmt.Fprintf(w, "  %d elements in %.2f bits each, scales and all; %d tensors copied\n", r.Elements, r.Bits, r.Copied)
	})
}

// sameFile reports whether two names are of one file that there is, by whatever links.
func sameFile(a, b string) bool {
	x, errx := os.Stat(a)
	y, erry := os.Stat(b)
	return errx == nil && erry == nil && os.SameFile(x, y)
}
