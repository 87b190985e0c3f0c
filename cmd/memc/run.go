package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
	"time"

	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/regular"
)

type runCmd struct {
	source
	engine
	stepwise
	weights
	Text     string `required:"" placeholder:"FILE" help:"The text, read as bytes; - is the standard input."`
	Probes   bool   `help:"Print each memory's inner loss as a chunk is completed, a line each."`
	Log      string `placeholder:"FILE" help:"Write each memory's inner loss for each chunk, a JSON object a line."`
	StateIn  string `placeholder:"F" help:"Go on with the stream whose state this is."`
	StateOut string `placeholder:"F" help:"Where to write the state at the end, also of a run that is interrupted."`
}

// probeReport is what became of one memory's inner loss.
type probeReport struct {
	Name   string   `json:"name"`
	Chunks int64    `json:"chunks"`
	First  number   `json:"first"`
	Last   number   `json:"last_quarter_mean"`
	Stride int64    `json:"chunks_per_value"`
	Values []number `json:"values"`
}

type runReport struct {
	Spec       string        `json:"spec"`
	Target     string        `json:"target"`
	Device     string        `json:"device,omitempty"` // the GPU
	Threads    int           `json:"threads"`
	Tokens     int64         `json:"tokens"`
	Seconds    float64       `json:"seconds"`
	Speed      float64       `json:"tokens_per_second"`
	Bits       number        `json:"bits_per_byte"`
	Position   int64         `json:"position"`
	StateBytes int64         `json:"state_bytes"`
	RSS        int64         `json:"peak_rss_bytes"`
	Probes     []probeReport `json:"probes"`
}

// number is a float that JSON can hold: null where it is none.
type number float64

// MarshalJSON writes null for what is not finite.
func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func (c *runCmd) Run(a *app) error {
	if c.Probes && a.json {
		return usage("--probes prints lines of text; with --json the report holds the values")
	}
	if samePath(c.Log, c.StateOut) {
		return usage("--log and --state-out are the same file")
	}
	if err := writable(c.Log, c.StateOut); err != nil {
		return err
	}
	p, err := c.program(a, c.engine)
	if err != nil {
		return err
	}
	m, err := language(p, 256, "--text feeds bytes, which are 256")
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
	text, total, err := c.open(a)
	if err != nil {
		return err
	}
	r := &reader{app: a, m: m, s: s, bar: newProgress(a.err, total), probes: c.Probes, series: map[string]*series{}}
	begin := time.Now()
	var stopped error
	if c.Log == "" {
		stopped = r.read(text)
	} else if err := atomicfile.Write(c.Log, func(w io.Writer) error {
		r.log = json.NewEncoder(w)
		if stopped = r.read(text); !errors.Is(stopped, context.Canceled) {
			return stopped
		}
		return nil // what was read until then is logged
	}); err != nil {
		return err
	}
	r.bar.done()
	if stopped != nil && !errors.Is(stopped, context.Canceled) {
		return stopped
	}
	if c.StateOut != "" {
		if err := s.SaveState(c.StateOut); err != nil {
			return err
		}
	}
	if r.tokens == 0 && stopped == nil {
		return fmt.Errorf("%s is empty", c.Text)
	}
	if err := r.report(p, c.threads(p.Target()), time.Since(begin).Seconds()); err != nil {
		return err
	}
	return stopped
}

// open opens the text; its length is -1 where it is not known.
func (c *runCmd) open(a *app) (io.Reader, int64, error) {
	if c.Text == "-" {
		return a.in, -1, nil
	}
	st, err := os.Stat(c.Text)
	switch {
	case err != nil:
		return nil, 0, err
	case st.IsDir():
		return nil, 0, fmt.Errorf("%s is a folder, not a text", c.Text)
	case !st.Mode().IsRegular():
		return &lateFile{path: c.Text}, -1, nil
	}
	f, err := regular.Open(c.Text)
	return f, st.Size(), err
}

// lateFile is a pipe or a device, which its first reader opens: a pipe's waits for
// who writes to it.
type lateFile struct {
	path string
	file *os.File
}

func (s *lateFile) Read(b []byte) (n int, err error) {
	if s.file == nil {
		if s.file, err = os.Open(s.path); err != nil {
			return 0, err
		}
	}
	return s.file.Read(b)
}

// reader streams a text through a model.
type reader struct {
	app    *app
	m      *languageModel
	s      *runtime.Session
	bar    *progress
	probes bool
	log    *json.Encoder // nil: no log

	tokens  int64
	bits    float64 // of all predicted bytes
	guessed int64   // how many those are
	last    []float32
	names   []string // of the probes, as they came
	series  map[string]*series
}

// read feeds the text as it comes. Where the program is interrupted, the rows
// that were read stay read.
func (r *reader) read(text io.Reader) error {
	type piece struct {
		bytes []byte
		err   error
	}
	pieces, taken := make(chan piece), make(chan struct{})
	go func() { // so that waiting for input can be interrupted
		buf := make([]byte, r.m.piece())
		for {
			n, err := text.Read(buf)
			select {
			case pieces <- piece{buf[:n], err}:
			case <-r.app.ctx.Done():
				return
			}
			if err != nil {
				return
			}
			<-taken
		}
	}()
	tokens := make([]int32, 0, r.m.piece())
	for {
		select {
		case <-r.app.ctx.Done():
			return fmt.Errorf("after %d bytes: %w", r.tokens, r.app.ctx.Err())
		case p := <-pieces:
			tokens = tokens[:0]
			for _, b := range p.bytes {
				tokens = append(tokens, int32(b))
			}
			if len(tokens) > 0 {
				if err := r.feed(tokens); err != nil {
					return err
				}
			}
			switch {
			case p.err == io.EOF:
				return nil
			case p.err != nil:
				return p.err
			}
			taken <- struct{}{}
		}
	}
}

func (r *reader) feed(tokens []int32) error {
	logits, err := r.m.logits(r.app, r.s, tokens)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", r.tokens, err)
	}
	for i, t := range tokens {
		if r.last != nil {
			r.bits += surprise(r.last, t)
			r.guessed++
		}
		r.last = logits[i*r.m.vocab : (i+1)*r.m.vocab]
	}
	r.tokens += int64(len(tokens))
	for _, p := range r.s.Probes() {
		if r.series[p.Name] == nil {
			r.series[p.Name] = &series{}
			r.names = append(r.names, p.Name)
		}
		r.series[p.Name].add(float64(p.Value))
		if r.probes {
			if _, err := fmt.Fprintf(r.app.out, "chunk %d %s %.6g\n", p.Chunk, p.Name, p.Value); err != nil {
				return err
			}
		}
		if r.log != nil {
			if err := r.log.Encode(struct {
				Chunk int64  `json:"chunk"`
				Name  string `json:"name"`
				Value number `json:"value"`
			}{p.Chunk, p.Name, number(p.Value)}); err != nil {
				return err
			}
		}
	}
	r.bar.add(len(tokens), "state "+size(r.s.StateBytes()))
	return nil
}

// surprise is the bits that a token takes under logits: -log2 of its share.
func surprise(logits []float32, token int32) float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = max(top, float64(v)) // NaN stays
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return (math.Log(sum) + top - float64(logits[token])) / math.Ln2
}

func (r *reader) report(p *program, threads int, seconds float64) error {
	out := runReport{
		Spec: p.Name(), Target: p.Target(), Device: p.Device(), Threads: threads, Tokens: r.tokens, Seconds: seconds, Speed: float64(r.tokens) / seconds,
		Bits: number(r.bits / float64(r.guessed)), Position: r.s.Pos(), StateBytes: r.s.StateBytes(), RSS: peakRSS(), Probes: []probeReport{},
	}
	for _, name := range r.names {
		s := r.series[name]
		v := probeReport{Name: name, Chunks: s.count, First: number(s.first), Last: number(s.last()), Stride: s.stride, Values: []number{}}
		for _, x := range s.means() {
			v.Values = append(v.Values, number(x))
		}
		out.Probes = append(out.Probes, v)
	}
	return r.app.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%d bytes in %.2f s: %.0f tokens/s on %s\n", out.Tokens, seconds, out.Speed, p.where(threads))
		if r.guessed > 0 {
			fmt.Fprintf(w, "%.4f bits per byte\n", float64(out.Bits))
		}
		fmt.Fprintf(w, "state %s at position %d, peak memory %s\n", size(out.StateBytes), out.Position, size(out.RSS))
		if len(out.Probes) == 0 {
			return
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "probe\tchunks\tfirst\tlast quarter")
		for _, v := range out.Probes {
			fmt.Fprintf(t, "%s\t%d\t%.6g\t%.6g\n", v.Name, v.Chunks, float64(v.First), float64(v.Last))
		}
		t.Flush()
	})
}
