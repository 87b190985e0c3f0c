package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/memc-lang/memc/runtime"
)

type evalCmd struct {
	Passkey passkeyCmd `cmd:"" help:"Hide a key in noise and ask for it at the end of the stream."`
}

type passkeyCmd struct {
	source
	engine
	weights
	Length  []int64   `default:"1024,4096,16384" placeholder:"T" help:"Lengths of the streams, in tokens (${default})."`
	Depth   []float64 `default:"0.1,0.5,0.9" placeholder:"D" help:"Where the key stands: 0 is the start, 1 the end (${default})."`
	Seeds   int       `default:"4" help:"Streams for each length and depth (${default})."`
	Symbols *int      `placeholder:"N" help:"Symbols of a key; without it as many as the model gets right in short streams."`
}

// The alphabet of a stream: noise is any symbol from filler on, the mark says
// that a key follows, the query asks for it.
const (
	alphabet  = 64
	mark      = 1
	query     = 2
	filler    = 4
	keyFirst  = 32
	firstMark = 20 // no mark stands before this token
)

// stream is one stream of a task: token i is a function of it and i.
type stream struct {
	seed         uint64
	length, mark int64
	key          []int32
}

// newStream puts the mark of a key of n symbols at a depth of a stream.
func newStream(seed uint64, length int64, depth float64, n int) stream {
	s := stream{seed: seed, length: length, mark: max(firstMark, int64(math.Floor(depth*float64(length-2*int64(n)-1))))}
	for j := range n {
		s.key = append(s.key, keyFirst+int32(splitmix64(seed<<32+1<<31+uint64(j))%32))
	}
	return s
}

// token is token i: noise, but for the mark with its key and the query at the
// end with all of the key but the last symbol.
func (s *stream) token(i int64) int32 {
	n := int64(len(s.key))
	switch asked := i - (s.length - n); {
	case i == s.mark:
		return mark
	case i > s.mark && i <= s.mark+n:
		return s.key[i-s.mark-1]
	case asked == 0:
		return query
	case asked > 0:
		return s.key[asked-1]
	}
	return filler + int32(splitmix64(s.seed<<32+uint64(i))%60)
}

// splitmix64 is what the generator gives in a state (Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", 2014).
func splitmix64(state uint64) uint64 {
	z := state + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

type passkeyResult struct {
	Length int64   `json:"length"`
	Depth  float64 `json:"depth"`
	Right  int     `json:"right"`
	Of     int     `json:"streams"`
}

type passkeyLength struct {
	Length     int64   `json:"length"`
	StateBytes int64   `json:"state_bytes"`
	Seconds    float64 `json:"seconds"`
	Speed      float64 `json:"tokens_per_second"`
}

type passkeyReport struct {
	Spec    string `json:"spec"`
	Target  string `json:"target"`
	Threads int    `json:"threads"`
	where   string
	Symbols int             `json:"symbols"`
	Results []passkeyResult `json:"results"`
	Lengths []passkeyLength `json:"lengths"`
	RSS     int64           `json:"peak_rss_bytes"`
}

func (c *passkeyCmd) check() error {
	if c.Seeds < 1 || c.Seeds > 1<<20 {
		return usage("--seeds %d: from 1 to %d", c.Seeds, 1<<20)
	}
	if c.Symbols != nil && (*c.Symbols < 1 || *c.Symbols > 64) {
		return usage("--symbols %d: a key has from 1 to 64 symbols", *c.Symbols)
	}
	for _, d := range c.Depth {
		if !(d >= 0 && d <= 1) {
			return usage("--depth %v: a depth is from 0 to 1", d)
		}
	}
	for _, l := range c.Length {
		if n := c.symbolsOr(1); l < firstMark+2*int64(n)+1 || l >= 1<<31 {
			return usage("--length %d: a stream with a key of %d symbols has from %d to %d tokens", l, n, firstMark+2*n+1, 1<<31-1)
		}
	}
	return nil
}

func (c *passkeyCmd) symbolsOr(n int) int {
	if c.Symbols != nil {
		return *c.Symbols
	}
	return n
}

func (c *passkeyCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	p, err := c.program(a, c.engine)
	if err != nil {
		return err
	}
	m, err := language(p, alphabet, fmt.Sprintf("the task has %d symbols", alphabet))
	if err != nil {
		return err
	}
	if err := c.weights.fits(p); err != nil {
		return err
	}
	loaded, err := c.load(p)
	if err != nil {
		return err
	}
	t := &task{app: a, m: m, w: loaded, threads: c.threads(p.Target())}
	if c.Symbols == nil {
		n, err := t.symbols()
		if err != nil {
			return err
		}
		c.Symbols = &n
		if err := c.check(); err != nil {
			return err
		}
	}
	total := int64(0)
	for _, l := range c.Length {
		total += l * int64(len(c.Depth)*c.Seeds)
	}
	t.bar = newProgress(a.err, total)
	defer t.bar.done()
	r := passkeyReport{Spec: p.Name(), Target: p.Target(), where: p.where(t.threads), Threads: t.threads, Symbols: *c.Symbols}
	for _, l := range c.Length {
		var streams []stream
		for _, d := range c.Depth {
			for seed := range c.Seeds {
				streams = append(streams, newStream(uint64(seed+1), l, d, *c.Symbols))
			}
		}
		begin := time.Now()
		right, state, err := t.run(streams)
		if err != nil {
			return err
		}
		seconds := time.Since(begin).Seconds()
		for i, d := range c.Depth {
			n := 0
			for _, ok := range right[i*c.Seeds : (i+1)*c.Seeds] {
				if ok {
					n++
				}
			}
			r.Results = append(r.Results, passkeyResult{l, d, n, c.Seeds})
		}
		r.Lengths = append(r.Lengths, passkeyLength{l, state, seconds, float64(l) * float64(len(streams)) / seconds})
	}
	t.bar.done()
	r.RSS = peakRSS()
	return a.print(r, func(w io.Writer) { c.table(w, &r) })
}

func (c *passkeyCmd) table(w io.Writer, r *passkeyReport) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "tokens\t")
	for _, d := range c.Depth {
		fmt.Fprintf(t, "depth %s\t", strconv.FormatFloat(d, 'g', -1, 64))
	}
	fmt.Fprintln(t, "state\ttokens/s\t")
	for i, l := range r.Lengths {
		fmt.Fprintf(t, "%d\t", l.Length)
		for _, x := range r.Results[i*len(c.Depth) : (i+1)*len(c.Depth)] {
			fmt.Fprintf(t, "%d/%d\t", x.Right, x.Of)
		}
		fmt.Fprintf(t, "%s\t%.0f\t\n", size(l.StateBytes), l.Speed)
	}
	t.Flush()
	fmt.Fprintf(w, "%s on %s; keys of %d symbols; peak memory %s\n", r.Spec, r.where, r.Symbols, size(r.RSS))
}

// task runs streams, several at a time: one stream of a small model does not
// keep two threads busy.
type task struct {
	app     *app
	m       *languageModel
	w       *runtime.Weights
	threads int
	bar     *progress
}

// run reads streams and says which end with the right answer, and how many
// bytes the largest state had.
func (t *task) run(streams []stream) (right []bool, state int64, err error) {
	right = make([]bool, len(streams))
	workers := min(t.threads, len(streams))
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range workers {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := err != nil || i >= len(streams)
				mu.Unlock()
				if stop {
					return
				}
				var ok bool
				var bytes int64
				failed := guarded(func() (err error) {
					ok, bytes, err = t.one(&streams[i], max(1, t.threads/workers))
					return err
				})
				mu.Lock()
				right[i], state = ok, max(state, bytes)
				if err == nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return right, state, err
}

// feed is how many tokens are read at once.
const feed = 8192

// one reads one stream. Only the last tokens' logits are asked for.
func (t *task) one(x *stream, threads int) (right bool, state int64, err error) {
	s, err := t.m.NewSession(t.w, runtime.Options{Threads: threads})
	if err != nil {
		return false, 0, err
	}
	defer s.Close()
	bulk := x.length - int64(len(x.key))
	tokens := make([]int32, 0, feed)
	for at := int64(0); at < bulk; {
		tokens = tokens[:0]
		for ; at < bulk && len(tokens) < feed; at++ {
			tokens = append(tokens, x.token(at))
		}
		if err := t.m.read(t.app, s, tokens); err != nil {
			return false, 0, err
		}
		if t.bar != nil {
			t.bar.add(len(tokens), "state "+size(s.StateBytes()))
		}
	}
	tokens = tokens[:0]
	for at := bulk; at < x.length; at++ {
		tokens = append(tokens, x.token(at))
	}
	logits, err := t.m.logits(t.app, s, tokens)
	if err != nil {
		return false, 0, err
	}
	if t.bar != nil {
		t.bar.add(len(tokens), "state "+size(s.StateBytes()))
	}
	for i, want := range x.key {
		if best(logits[i*t.m.vocab:][:alphabet]) != want {
			return false, s.StateBytes(), nil
		}
	}
	return true, s.StateBytes(), nil
}

// best is the number of the largest logit, -1 where one is not a number.
func best(logits []float32) int32 {
	at := 0
	for i, v := range logits {
		if v != v {
			return -1
		}
		if v > logits[at] {
			at = i
		}
	}
	return int32(at)
}

// Short streams that tell how long the keys are that a model was trained on.
const (
	trialLength = 512
	trialSeeds  = 8
	trialMost   = 8 // symbols
)

// symbols is the length of the longest keys that the model gets right in short
// streams.
func (t *task) symbols() (int, error) {
	for n := trialMost; n > 1; n-- {
		var streams []stream
		for seed := range trialSeeds {
			streams = append(streams, newStream(uint64(seed+1), trialLength, 0.4, n))
		}
		right, _, err := t.run(streams)
		if err != nil {
			return 0, err
		}
		count := 0
		for _, ok := range right {
			if ok {
				count++
			}
		}
		if 4*count >= 3*trialSeeds {
			return n, nil
		}
	}
	return 1, nil
}
