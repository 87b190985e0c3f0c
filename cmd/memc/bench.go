package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"text/tabwriter"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/runtime"
)

type benchCmd struct {
	source
	engine
	weights
	Entry  string `placeholder:"NAME" help:"The entry point; without it next where the program has one, else forward."`
	Tokens *int64 `placeholder:"N" help:"Time a call of N tokens (1024, unless --decode is given alone)."`
	Decode *int64 `placeholder:"N" help:"Time N calls of one token each, after the N of --tokens."`
	At     int64  `placeholder:"N" help:"Begin at this position of a stream without reading the rows before it; what it keeps of them is drawn."`
	Check  *int64 `placeholder:"N" help:"How many rows to compare with the interpreter before timing; without it what about a second affords, or none where the interpreter cannot hold the weights: the report says so."`
	Batch  *int   `placeholder:"N" help:"Time N streams at once, each with its own state and the same calls."`
	Repeat *int   `placeholder:"N" help:"How often to repeat; without it until a second has gone by, seven times at least."`
}

// measured is what one way of calling took.
type measured struct {
	Position int64     `json:"position"` // of the stream when the first call begins
	Tokens   int64     `json:"tokens"`
	Seconds  []float64 `json:"seconds"`
	Median   float64   `json:"median_seconds"`
	Min      float64   `json:"min_seconds"`
	Max      float64   `json:"max_seconds"`
	Speed    float64   `json:"tokens_per_second"`
	Flops    int64     `json:"flops"`
	GFlops   float64   `json:"gflops"`
	Bytes    int64     `json:"bytes"` // 0 for a batch, whose streams share some
	GBytes   float64   `json:"gbytes_per_second"`
	Peak     float64   `json:"peak_gflops,omitempty"`            // f32 multiply-adds, measured in between
	ReadPeak float64   `json:"peak_gbytes_per_second,omitempty"` // reading memory, likewise, where that is what limits
}

type kernelReport struct {
	Name     string  `json:"name"`
	Schedule string  `json:"schedule"`
	Calls    int64   `json:"calls"`
	Seconds  float64 `json:"seconds"`
	Flops    int64   `json:"flops"`
	GFlops   float64 `json:"gflops"`
	Bytes    int64   `json:"bytes"`
}

type benchReport struct {
	Spec     string `json:"spec"`
	Entry    string `json:"entry"`
	Target   string `json:"target"`
	Device   string `json:"device,omitempty"` // the GPU
	Threads  int    `json:"threads"`
	Products string `json:"products,omitempty"` // what operands of products are rounded to, where they are
	Batch    int    `json:"batch,omitempty"`    // streams at once, where there are several
	Mode     string `json:"mode"`               // "prefill": one call; "decode": a call a token
	measured
	StateBytes     int64          `json:"state_bytes"`
	PeakRSS        int64          `json:"peak_rss_bytes"`
	CompileSeconds float64        `json:"compile_seconds"`
	Check          *checked       `json:"check,omitempty"` // how far from the interpreter; none for the interpreter itself
	Kernels        []kernelReport `json:"kernels"`
	Decode         *measured      `json:"decode,omitempty"` // where both are timed

	where string
}

// mostBatch bounds the streams of a batch.
const mostBatch = 4096

// mostAt bounds the position at which timing begins: lengths and counters are
// taken there slab by slab.
const mostAt = 1 << 30

// mostTokens bounds what is drawn for one call.
const mostTokens = 1 << 26

func (c *benchCmd) check() error {
	if c.Tokens == nil && c.Decode == nil {
		n := int64(1024)
		c.Tokens = &n
	}
	for _, n := range []*int64{c.Tokens, c.Decode} {
		if n != nil && (*n < 1 || *n > mostTokens) {
			return usage("%d tokens: from 1 to %d can be timed", *n, mostTokens)
		}
	}
	if c.Repeat != nil && *c.Repeat < 1 {
		return usage("--repeat %d: at least 1", *c.Repeat)
	}
	if c.Check != nil && (*c.Check < 1 || *c.Check > mostTokens) {
		return usage("--check %d: from 1 to %d rows can be compared", *c.Check, mostTokens)
	}
	if c.Batch != nil && (*c.Batch < 1 || *c.Batch > mostBatch) {
		return usage("--batch %d: from 1 to %d streams", *c.Batch, mostBatch)
	}
	if c.At < 0 || c.At > mostAt {
		return usage("--at %d: a position is from 0 to %d", c.At, mostAt)
	}
	return nil
}

func (c *benchCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	p, err := c.program(a, c.engine)
	if err != nil {
		return err
	}
	if c.Entry == "" {
		c.Entry = "forward"
		if slices.ContainsFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == "next" }) {
			c.Entry = "next"
		}
	}
	entry, err := p.entry(c.Entry)
	if err != nil {
		return err
	}
	if c.Check != nil && p.Target() == "interp" {
		return usage("--check %d: the interpreter is what others are compared with", *c.Check)
	}
	if why := tooLarge(p.Params()); c.Check != nil && why != "" { // who asks for a check gets no figures without
		return usage("--check %d: %s, and is given %s at most; check a smaller program (--set), or leave --check out for figures that are not checked", *c.Check, why, size(8*checkWeights))
	}
	if err := c.weights.fits(p); err != nil {
		return err
	}
	if c.Weights == "" && c.Seed == nil && p.in.folder == "" {
		zero := uint64(0)
		c.Seed = &zero
	}
	w, err := c.load(p)
	if err != nil {
		return err
	}
	b := &bench{app: a, p: p, w: w, threads: c.threads(p.Target()), repeat: c.Repeat, batch: 1}
	if c.Batch != nil {
		b.batch = *c.Batch
	}
	b.number = slices.IndexFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == entry.Name })
	if err := b.graphs(); err != nil {
		return err
	}
	r := benchReport{Spec: p.Name(), Entry: c.Entry, Target: p.Target(), Device: p.Device(), where: p.where(b.threads), Threads: b.threads, CompileSeconds: p.compileSeconds}
	if p.Target() != "interp" {
		r.Products = p.Artifact().Manifest.Products
	}
	if r.Products == "" && codedOperands(b.graph) > 0 {
		r.Products = elem.Q8.String()
	}
	ways := c.ways()
	if r.PeakRSS, err = b.footprint(ways[0]); err != nil {
		return err
	}
	if p.Target() != "interp" {
		if r.Check, err = b.compare(c.weights, c.Check); err != nil {
			return err
		}
		debug.FreeOSMemory() // the interpreter's
	}
	if b.batch > 1 {
		r.Batch = b.batch
	}
	if err := b.meters(ways); err != nil {
		return err
	}
	defer b.flops.close()
	defer b.read.close()
	for i, w := range ways {
		m, state, err := b.time(w)
		if err != nil {
			return err
		}
		r.StateBytes = state
		if i == 0 {
			r.measured, r.Mode = m, w.name
		} else {
			r.Decode = &m
		}
	}
	if r.Kernels = []kernelReport{}; b.batch == 1 {
		if r.Kernels, err = b.kernels(ways[0]); err != nil {
			return err
		}
	}
	return a.print(r, func(w io.Writer) { r.text(w) })
}

// ways are what the flags ask to time.
func (c *benchCmd) ways() []way {
	var ways []way
	if c.Tokens != nil {
		ways = append(ways, way{name: "prefill", at: c.At, rows: *c.Tokens, calls: 1})
	}
	if c.Decode != nil {
		w := way{name: "decode", at: c.At, rows: 1, calls: *c.Decode}
		if c.Tokens != nil {
			w.before = *c.Tokens
		}
		ways = append(ways, w)
	}
	return ways
}

func (r *benchReport) text(w io.Writer) {
	where := r.where
	if r.Products != "" {
		where += ", products of " + r.Products
	}
	fmt.Fprintf(w, "%s of %s on %s; compiled in %.2f s\n", r.Entry, r.Spec, where, r.CompileSeconds)
	if r.Batch > 0 {
		fmt.Fprintf(w, "%d streams at once\n", r.Batch)
	}
	if r.Check != nil {
		fmt.Fprintln(w, r.Check)
	}
	r.line(w, r.Mode)
	if r.Decode != nil {
		r.Decode.line(w, "decode")
	}
	fmt.Fprintf(w, "state %s, peak memory %s\n", size(r.StateBytes), size(r.PeakRSS))
	if len(r.Kernels) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kernel\tcalls\tms\tGFLOP/s\tGB/s")
	for _, k := range r.Kernels {
		fmt.Fprintf(t, "%s\t%d\t%.3f\t%.2f\t%.2f\n", k.Name, k.Calls, 1e3*k.Seconds, k.GFlops, float64(k.Bytes)/k.Seconds/1e9)
	}
	t.Flush()
}

// line is one line of the report.
func (m *measured) line(w io.Writer, what string) {
	fmt.Fprintf(w, "%s: %d tokens in %.6f s (median of %d, %.6f to %.6f)", what, m.Tokens, m.Median, len(m.Seconds), m.Min, m.Max)
	if m.Position > 0 {
		fmt.Fprintf(w, " from position %d", m.Position)
	}
	fmt.Fprintf(w, ", %.1f tokens/s, %.2f GFLOP/s", m.Speed, m.GFlops)
	if m.Peak > 0 {
		fmt.Fprintf(w, ", %.0f %% of %.1f (f32 multiply-adds alone, between the runs)", 100*m.GFlops/m.Peak, m.Peak)
	}
	if m.ReadPeak > 0 {
		fmt.Fprintf(w, ", %.2f GB/s, %.0f %% of %.1f (reading memory alone, between the runs)", m.GBytes, 100*m.GBytes/m.ReadPeak, m.ReadPeak)
	}
	fmt.Fprintln(w)
}
