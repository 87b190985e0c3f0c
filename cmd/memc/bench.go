package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime"
)

type benchCmd struct {
	source
	engine
	weights
	Entry  string `placeholder:"NAME" help:"The entry point; without it next where the program has one, else forward."`
	Tokens *int64 `placeholder:"N" help:"Time a call of N tokens (1024, unless --decode is given alone)."`
	Decode *int64 `placeholder:"N" help:"Time N calls of one token each, after the N of --tokens."`
	Repeat *int   `placeholder:"N" help:"How often to repeat; without it until a second has gone by."`
}

// measured is what one way of calling took.
type measured struct {
	Tokens  int64     `json:"tokens"`
	Seconds []float64 `json:"seconds"`
	Median  float64   `json:"median_seconds"`
	Speed   float64   `json:"tokens_per_second"`
	Flops   int64     `json:"flops"`
	GFlops  float64   `json:"gflops"`
	Bytes   int64     `json:"bytes"`
	Peak    float64   `json:"peak_gflops,omitempty"` // f32 multiply-adds, measured in between
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
	Spec    string `json:"spec"`
	Entry   string `json:"entry"`
	Target  string `json:"target"`
	Threads int    `json:"threads"`
	Mode    string `json:"mode"` // "prefill": one call; "decode": a call a token
	measured
	StateBytes     int64          `json:"state_bytes"`
	PeakRSS        int64          `json:"peak_rss_bytes"`
	CompileSeconds float64        `json:"compile_seconds"`
	Kernels        []kernelReport `json:"kernels"`
	Decode         *measured      `json:"decode,omitempty"` // where both are timed
}

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
	if c.Weights == "" && c.Seed == nil && p.in.folder == "" {
		zero := uint64(0)
		c.Seed = &zero
	}
	w, err := c.load(p)
	if err != nil {
		return err
	}
	b := &bench{app: a, p: p, w: w, threads: c.threads(), repeat: c.Repeat}
	b.number = slices.IndexFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == entry.Name })
	if err := b.graphs(); err != nil {
		return err
	}
	if b.peak, err = newPeakMeter(a, p.Target(), b.threads); err != nil {
		return err
	}
	defer b.peak.close()
	r := benchReport{Spec: p.Name(), Entry: c.Entry, Target: p.Target(), Threads: b.threads, CompileSeconds: p.compileSeconds}
	var state int64
	switch {
	case c.Decode == nil:
		r.Mode = "prefill"
		r.measured, state, err = b.prefill(*c.Tokens)
	case c.Tokens == nil:
		r.Mode = "decode"
		r.measured, state, err = b.decode(0, *c.Decode)
	default:
		r.Mode = "prefill"
		if r.measured, _, err = b.prefill(*c.Tokens); err == nil {
			r.Decode = new(measured)
			*r.Decode, state, err = b.decode(*c.Tokens, *c.Decode)
		}
	}
	if err != nil {
		return err
	}
	r.StateBytes = state
	if r.Kernels, err = b.kernels(&r); err != nil {
		return err
	}
	r.PeakRSS = peakRSS()
	return a.print(r, func(w io.Writer) { r.text(w) })
}

// bench times one entry point.
type bench struct {
	app     *app
	p       *program
	w       *runtime.Weights
	threads int
	repeat  *int
	number  int // of the entry
	graph   *ir.Graph
	plan    *plan.Plan // nil: the target has none
	peak    *peakMeter
}

// graphs reads the program's graph, after all passes, and its plan.
func (b *bench) graphs() error {
	art := b.p.Artifact()
	m, err := memc.ParseGraph(art)
	if err != nil {
		return err
	}
	if m, err = memc.Optimise(m, false, nil); err != nil {
		return err
	}
	b.graph = m.Entries[b.number]
	if t := art.Find(b.p.Target()); t.Plan != "" {
		b.plan, err = plan.Parse(t.Plan)
	}
	return err
}

// inputs draws the entry's inputs for so many tokens: integers below what they
// may be, other values from 0 to 1.
func (b *bench) inputs(tokens int64) ([]runtime.Tensor, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	var out []runtime.Tensor
	for _, p := range b.p.Entries()[b.number].Inputs {
		t := runtime.Tensor{Shape: []int{}}
		count := 1
		for _, d := range p.Dims {
			n := int(tokens)
			if numeric(d) {
				n, _ = strconv.Atoi(d)
			}
			if n > math.MaxInt32/count {
				return nil, usage("the input %s would have more than %d elements", p.Name, math.MaxInt32)
			}
			count *= n
			t.Shape = append(t.Shape, n)
		}
		switch p.Elem {
		case "f32":
			data := make([]float32, count)
			for i := range data {
				data[i] = rng.Float32()
			}
			t = runtime.FromFloat32(data, t.Shape...)
		case "i32":
			below := b.below(p.Name)
			data := make([]int32, count)
			for i := range data {
				data[i] = int32(rng.IntN(below))
			}
			t = runtime.FromInt32(data, t.Shape...)
		case "i64":
			t.Elem = runtime.I64
			below := b.below(p.Name)
			for range count {
				t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(rng.IntN(below)))
			}
		default:
			return nil, fmt.Errorf("the input %s of %s holds %s, which memc bench does not draw", p.Name, b.graph.Name, p.Elem)
		}
		out = append(out, t)
	}
	return out, nil
}

// below is the number of rows of the least table that an input chooses from.
func (b *bench) below(input string) int {
	least := math.MaxInt32
	for _, o := range b.graph.Outputs {
		for _, n := range ir.Postorder(o.Node) {
			if n.Op.Name == "gather" && n.Args[1].Op.Name == "input" && n.Args[1].Attr.Name == input {
				least = min(least, n.Args[0].Type.Dims[0].Size)
			}
		}
	}
	if least == math.MaxInt32 {
		return 1 // nothing says what it means: zeros
	}
	return least
}

// start begins a stream, reads tokens, and gives what leads back to that point.
func (b *bench) start(tokens int64, o runtime.Options) (*runtime.Session, []byte, error) {
	s, err := b.p.NewSession(b.w, o)
	if err != nil {
		return nil, nil, err
	}
	if tokens > 0 {
		if err := b.call(s, tokens); err != nil {
			return nil, nil, err
		}
	}
	var state bytes.Buffer
	if err := s.WriteState(&state); err != nil {
		return nil, nil, err
	}
	return s, state.Bytes(), nil
}

func (b *bench) call(s *runtime.Session, tokens int64) error {
	in, err := b.inputs(tokens)
	if err != nil {
		return err
	}
	return s.Run(b.app.ctx, b.number, in, make([]runtime.Tensor, len(b.p.Entries()[b.number].Outputs)))
}

// The number of repetitions where --repeat does not say it: at least so many,
// and until so much time has been measured.
const (
	leastRepeats = 3
	mostRepeats  = 1000
	enough       = 1.0 // seconds
)

// repeated times calls from the same point of a stream, after one that is not
// timed. state leads to that point.
func (b *bench) repeated(s *runtime.Session, state []byte, run func() error) ([]float64, error) {
	var seconds []float64
	sum := 0.0
	for i := 0; ; i++ {
		if err := s.ReadState(state); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := run(); err != nil {
			return nil, err
		}
		took := time.Since(begin).Seconds()
		if err := b.peak.run(b.app, sum); err != nil {
			return nil, err
		}
		if i > 0 {
			seconds = append(seconds, took)
			sum += took
		}
		switch n := len(seconds); {
		case b.repeat != nil && n == *b.repeat:
			return seconds, nil
		case b.repeat == nil && (n >= leastRepeats && sum >= enough || n == mostRepeats):
			return seconds, nil
		}
	}
}

func (b *bench) prefill(tokens int64) (measured, int64, error) {
	s, state, err := b.start(0, runtime.Options{Threads: b.threads})
	if err != nil {
		return measured{}, 0, err
	}
	defer s.Close()
	in, err := b.inputs(tokens)
	if err != nil {
		return measured{}, 0, err
	}
	out := make([]runtime.Tensor, len(b.p.Entries()[b.number].Outputs))
	seconds, err := b.repeated(s, state, func() error { return s.Run(b.app.ctx, b.number, in, out) })
	if err != nil {
		return measured{}, 0, err
	}
	if err := finite(out); err != nil {
		return measured{}, 0, err
	}
	m, err := b.summary(seconds, 0, tokens)
	return m, s.StateBytes(), err
}

// decode times so many calls of one token, at position pos.
func (b *bench) decode(pos, tokens int64) (measured, int64, error) {
	s, state, err := b.start(pos, runtime.Options{Threads: b.threads})
	if err != nil {
		return measured{}, 0, err
	}
	defer s.Close()
	in, err := b.inputs(1)
	if err != nil {
		return measured{}, 0, err
	}
	out := make([]runtime.Tensor, len(b.p.Entries()[b.number].Outputs))
	seconds, err := b.repeated(s, state, func() error {
		for range tokens {
			if err := s.Run(b.app.ctx, b.number, in, out); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return measured{}, 0, err
	}
	if err := finite(out); err != nil {
		return measured{}, 0, err
	}
	m, err := b.summary(seconds, pos, tokens)
	return m, s.StateBytes(), err
}

// finite refuses to time what does not compute: a result that is no number.
func finite(out []runtime.Tensor) error {
	for _, t := range out {
		if v, err := runtime.Float32(t); err == nil && slices.ContainsFunc(v, func(x float32) bool { return x-x != 0 }) {
			return errors.New("the results are not finite: these weights and inputs are no work to time")
		}
	}
	return nil
}

func (b *bench) summary(seconds []float64, pos, tokens int64) (measured, error) {
	cost, err := b.graph.Cost(pos, tokens)
	if err != nil {
		return measured{}, err
	}
	sorted := slices.Sorted(slices.Values(seconds))
	median := (sorted[len(sorted)/2] + sorted[(len(sorted)-1)/2]) / 2
	return measured{tokens, seconds, median, float64(tokens) / median, cost.Flops, float64(cost.Flops) / median / 1e9, cost.Bytes, b.peak.gflops()}, nil
}

// profiledRuns is how often each kernel is timed; it is odd.
const profiledRuns = 5

// kernels times each kernel in more runs of what the report's numbers are of,
// launched one by one, and gives the medians.
func (b *bench) kernels(r *benchReport) ([]kernelReport, error) {
	out := []kernelReport{}
	if b.plan == nil {
		return out, nil
	}
	s, state, err := b.start(0, runtime.Options{Threads: b.threads, Profile: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	run := func() error {
		if r.Mode == "prefill" {
			return b.call(s, r.Tokens)
		}
		for range r.Tokens {
			if err := b.call(s, 1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(); err != nil {
		return nil, err
	}
	var calls []int64           // of each kernel in a run
	var times [][]time.Duration // of each kernel in each run
	for range profiledRuns {
		before := slices.Clone(s.Profile())
		if err := s.ReadState(state); err != nil {
			return nil, err
		}
		if err := run(); err != nil {
			return nil, err
		}
		after := s.Profile()
		if times == nil {
			times, calls = make([][]time.Duration, len(after)), make([]int64, len(after))
		}
		for i, k := range after {
			calls[i] = k.Calls - before[i].Calls
			times[i] = append(times[i], k.Time-before[i].Time)
		}
	}
	costs := memc.KernelCosts(b.graph, b.plan, 0, r.Tokens)
	for i, k := range s.Profile() {
		if calls[i] == 0 {
			continue // of another entry point
		}
		slices.Sort(times[i])
		c := costs[k.Kernel]
		x := kernelReport{Name: k.Kernel, Schedule: memc.Schedule(k.Kernel), Calls: calls[i], Seconds: times[i][profiledRuns/2].Seconds(), Flops: c.Flops, Bytes: c.Bytes}
		if x.Seconds > 0 {
			x.GFlops = float64(x.Flops) / x.Seconds / 1e9
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b kernelReport) int {
		switch {
		case a.Seconds > b.Seconds:
			return -1
		case a.Seconds < b.Seconds:
			return 1
		}
		return 0
	})
	return out, nil
}

func (r *benchReport) text(w io.Writer) {
	show := func(what string, m *measured) {
		fmt.Fprintf(w, "%s: %d tokens in %.6f s (median of %d), %.1f tokens/s, %.2f GFLOP/s", what, m.Tokens, m.Median, len(m.Seconds), m.Speed, m.GFlops)
		if m.Peak > 0 {
			fmt.Fprintf(w, ", %.0f %% of %.1f (f32 multiply-adds alone, between the runs)", 100*m.GFlops/m.Peak, m.Peak)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s of %s on %s, %d threads; compiled in %.2f s\n", r.Entry, r.Spec, r.Target, r.Threads, r.CompileSeconds)
	show(r.Mode, &r.measured)
	if r.Decode != nil {
		show("decode", r.Decode)
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
