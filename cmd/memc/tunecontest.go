package main

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// rounds is how often two programs run in turns, at least and at most; a round of
// both that is long has many launches of a kernel, and fewer do. decodes is how
// many tokens are fed one by one in a round.
const (
	leastRounds = 7
	fewRounds   = 3
	longRound   = time.Second
	mostRounds  = 31
	decodes     = 8
	fewDecodes  = 2
)

// contestant is a program that is timed.
type contestant struct {
	program *program
	texts   map[string]string // a kernel's name → its text under the target's own sizes
	changed map[string]bool   // texts of kernels that are not as under the target's own sizes
	runs    []*contestRun     // for each entry
	shift   float64           // see sampler.pick
}

type contestRun struct {
	bench   *bench
	session *runtime.Session
	start   *runtime.Mark
	phases  []way
	in, out [][]runtime.Tensor // of each phase
}

func (c *contestant) close() {
	if c == nil {
		return
	}
	for _, r := range c.runs {
		r.session.Close()
	}
}

// contestant compiles the program with a tuning and begins its streams.
func (t *tuner) contestant(tuning *memc.Tuning) (*contestant, error) {
	o := t.options
	o.Tuning = tuning
	low, err := memc.Lower(t.lowered, t.target, o)
	if err != nil {
		return nil, err
	}
	c := &contestant{texts: map[string]string{}, changed: map[string]bool{}}
	if tuning != nil {
		c.shift = 0.5
	}
	for i, k := range low.Kernels {
		text := low.Texts[i]
		c.texts[k.Name] = text
		if tuning == nil {
			if t.names[text] == "" {
				t.order = append(t.order, text)
			}
			t.names[text] = k.Name
			continue
		}
		unnamed := *k
		unnamed.Name = ""
		made := memc.Schedule(k.Name) + "\n" + unnamed.String()
		if made != text {
			c.changed[text] = true
		}
	}
	if tuning != nil && !slices.ContainsFunc(t.order, func(text string) bool { return c.changed[text] }) {
		return c, nil // nothing to run
	}
	if tuning == nil && !t.chosen {
		t.choosePhases(low)
	}
	warned := ""
	o.Warn = func(s string) { warned = s }
	art, err := memc.CompileOptimised(t.app.ctx, t.module, t.lowered, o)
	if err == nil && warned != "" {
		err = errors.New(warned)
	}
	if err != nil {
		return nil, err
	}
	p, err := runtime.New(art, t.target)
	if err != nil {
		return nil, err
	}
	c.program = &program{p, t.in, 0}
	w, err := t.weightsOf(p)
	if err != nil {
		return nil, err
	}
	return c, c.begin(t, w)
}

// begin begins a stream of each entry that is timed.
func (c *contestant) begin(t *tuner, w *runtime.Weights) (err error) {
	threads := t.threads()
	for i, g := range t.lowered.Entries {
		if len(t.phases[i]) == 0 {
			continue
		}
		r := &contestRun{bench: &bench{app: t.app, p: c.program, w: w, threads: threads, number: i, graph: g}, phases: t.phases[i]}
		if r.session, r.start, err = r.bench.start(way{}, runtime.Options{Threads: threads, Profile: true}); err != nil {
			c.close()
			c.runs = nil
			return err
		}
		c.runs = append(c.runs, r)
		for _, w := range r.phases {
			in, err := r.bench.inputs(w.rows)
			if err != nil {
				c.close()
				c.runs = nil
				return err
			}
			r.in, r.out = append(r.in, in), append(r.out, make([]runtime.Tensor, len(c.program.Entries()[i].Outputs)))
		}
	}
	return nil
}

// weightsOf gives a program the weights of the target's own sizes, which lie as it
// wants them; drawing a large model's takes longer than timing it.
func (t *tuner) weightsOf(p *runtime.Program) (*runtime.Weights, error) {
	if t.weights != nil {
		return p.AdoptWeights(t.weights)
	}
	w, err := p.DrawWeights(0)
	t.weights = w
	return w, err
}

// phaseTime is the seconds of each kernel, by text, in a phase of a round.
type phaseTime map[string]float64

// round is what a program did in all phases of all entries.
type round struct {
	times    []phaseTime
	launches []map[string]int // of each kernel, by text, in each phase
	bits     []uint64         // hashes of the outputs and states of all, where they are asked for
}

// seed is of the hashes that stand for results: a large model's are not kept.
var seed = maphash.MakeSeed()

// round runs all phases once from their start; of the launches those that the
// sampler picks at a depth, without one all of them.
func (c *contestant) round(s *sampler, depth float64, results bool) (*round, error) {
	x := &round{}
	for _, r := range c.runs {
		if err := r.session.Rewind(r.start); err != nil {
			return nil, err
		}
		for i, w := range r.phases {
			in, out := r.in[i], r.out[i]
			if err := r.session.Sample(s.pick(len(x.times), c.texts, depth, c.shift)); err != nil {
				return nil, err
			}
			before := slices.Clone(r.session.Profile())
			for range w.calls {
				if err := r.session.Run(r.bench.app.ctx, r.bench.number, in, out); err != nil {
					return nil, err
				}
			}
			took, launches := phaseTime{}, map[string]int{}
			for i, k := range r.session.Profile() {
				if text, ok := c.texts[k.Kernel]; ok && k.Calls > before[i].Calls {
					took[text] += (k.Time - before[i].Time).Seconds()
					launches[text] += int(k.Calls - before[i].Calls)
				}
			}
			x.times, x.launches = append(x.times, took), append(x.launches, launches)
			if results {
				for _, o := range out {
					x.bits = append(x.bits, maphash.Bytes(seed, o.Data))
				}
			}
		}
		if results {
			h := &dataHash{}
			h.SetSeed(seed)
			if err := r.session.WriteState(h); err != nil {
				return nil, err
			}
			x.bits = append(x.bits, h.Sum64())
		}
	}
	return x, nil
}

// dataHash hashes the tensors of a safetensors file that is written to it. The
// header before them, which says whose program it is, does not count: its length is
// in the first 8 bytes.
type dataHash struct {
	maphash.Hash
	head []byte // the first bytes, until they have the length
	skip uint64 // bytes of the header to come
}

func (h *dataHash) Write(b []byte) (int, error) {
	const size = 8
	n := len(b)
	if more := min(size-len(h.head), n); more > 0 {
		h.head = append(h.head, b[:more]...)
		if b = b[more:]; len(h.head) < size {
			return n, nil
		}
		h.skip = binary.LittleEndian.Uint64(h.head)
	}
	over := min(h.skip, uint64(len(b)))
	h.skip -= over
	_, err := h.Hash.Write(b[over:])
	return n, err
}

// errOther says that sizes give other results.
var errOther = errors.New("the results are not those of the target's own sizes to the bit: a fault of memc")

// contest runs a program in turns with that of the target's own sizes until the
// time is up, and gives what each changed kernel takes as a part of what it takes
// there: 1 where it is not better in all rounds' middle, or slower in a phase. It
// ends after a few rounds that make no kernel faster, and without a result where
// the budget ends before these, unless it is the last. A kernel that is called
// faster has the bits of the target's own.
func (t *tuner) contest(c *contestant, until time.Time, last bool) (map[string]float64, error) {
	s := t.sampler.again()
	compared, err := c.round(t.sampler.compared(), 0, true)
	if err == nil && !slices.Equal(compared.bits, t.bits) {
		err = errOther
	}
	if err != nil {
		return nil, err
	}
	var a, b []*round
	least := leastRounds
	if s != nil {
		least = sampleRounds
	}
	ratios := map[string]float64{}
	for i := 0; i < mostRounds && (i < least || s == nil && time.Now().Before(until)); i++ {
		begin := time.Now()
		if s != nil && !last && begin.After(t.deadline) {
			return nil, nil // cut off by the budget: nothing is known
		}
		x, y, err := t.turn(c, s, i)
		if err != nil {
			return nil, err
		}
		if time.Since(begin) > longRound {
			least = min(least, fewRounds)
		}
		a, b = append(a, x), append(b, y)
		s.leave()
		if len(a) >= fewRounds {
			if ratios = t.ratios(c, a, b); !slices.ContainsFunc(slices.Collect(maps.Values(ratios)), func(r float64) bool { return r < 1 }) {
				return ratios, nil
			}
		}
	}
	return ratios, nil
}

// turn runs a round of the target's own sizes and one of a contestant; who begins
// changes from turn to turn.
func (t *tuner) turn(c *contestant, s *sampler, i int) (own, other *round, err error) {
	depth := s.depth(i)
	if i%2 == 0 {
		if own, err = t.own.round(s, depth, false); err == nil {
			other, err = c.round(s, depth, false)
		}
		return own, other, err
	}
	if other, err = c.round(s, depth, false); err == nil {
		own, err = t.own.round(s, depth, false)
	}
	return own, other, err
}

// ratios gives what each kernel takes of a program, as a part of what it takes in
// that of the target's own sizes, in the middle of the rounds a and b of these.
func (t *tuner) ratios(c *contestant, a, b []*round) map[string]float64 {
	out := map[string]float64{}
	for _, text := range t.order {
		own, ratio := 0.0, 1.0
		weight, log := 0.0, 0.0
		slower := false
		for phase := range a[0].times {
			var times, parts []float64
			for i := range a {
				x, y := a[i].times[phase][text], b[i].times[phase][text]
				if x > 0 && y > 0 && a[i].launches[phase][text] == b[i].launches[phase][text] {
					times, parts = append(times, x), append(parts, y/x)
				}
			}
			if len(times) == 0 {
				continue
			}
			middle := median(parts)
			own += median(times) * float64(t.whole.launches[phase][text]) / float64(a[0].launches[phase][text])
			slower = slower || middle > 1+leastGain
			weight, log = weight+1, log+math.Log(middle)
		}
		if own > 0 {
			t.seen[text] = own
		}
		if weight > 0 && c.changed[text] {
			if ratio = math.Exp(log / weight); slower || ratio > 1-leastGain || t.sampler != nil && t.seen[text] < leastShare*t.total {
				ratio = 1
			}
		}
		out[text] = ratio
	}
	return out
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
