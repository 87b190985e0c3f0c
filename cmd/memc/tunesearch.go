package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// The search: each set of sizes is given to all kernels at once, and the program
// that this makes runs in turns with the target's own, kernel by kernel. So a
// kernel's time is always held against one taken in the same moment, whatever
// else the machine does. At the end what was best for each kernel runs together
// against the target's own once more: only what is better there too is kept.

// A kernel takes sizes that make it faster by so much, unless they make a phase
// slower by as much.
const leastGain = 0.02

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

// tuner searches the sizes of one program's kernels.
type tuner struct {
	cmd      *tuneCmd
	app      *app
	dir      string
	module   *ir.Module
	options  memc.Options // with the target's own sizes
	lowered  *ir.Module
	target   string
	in       *input
	deadline time.Time
	own      *contestant
	weights  *runtime.Weights     // of own
	phases   [][]way              // what a round runs of each entry
	names    map[string]string    // a kernel's text → its name
	order    []string             // texts, as the plan has them
	found    map[string][]variant // by text, best first
	varies   map[string]bool      // by text: some sizes change it
	seen     map[string]float64   // seconds under the target's own sizes

	tried   int
	sets    []memc.Sizes
	refused []string
}

// variant is what some sizes make of a kernel.
type variant struct {
	sizes memc.Sizes
	time  float64 // as a part of what the target's own sizes take
}

// contestant is a program that is timed.
type contestant struct {
	program *program
	texts   map[string]string // a kernel's name → its text under the target's own sizes
	changed map[string]bool   // texts of kernels that are not as under the target's own sizes
	runs    []*contestRun     // for each entry
}

type contestRun struct {
	bench   *bench
	session *runtime.Session
	start   *runtime.Mark
	phases  []way
}

func (c *contestant) close() {
	if c == nil {
		return
	}
	for _, r := range c.runs {
		r.session.Close()
	}
}

func (t *tuner) close() { t.own.close() }

func (c *tuneCmd) tuner(a *app, dir string) (*tuner, error) {
	begin := time.Now()
	s := source{Spec: c.Spec, Set: c.Set, Config: c.Config, Quantize: c.Quantize, Products: c.Products, Cache: c.Cache, Tuning: "off"}
	if err := checkThreads(c.Threads); err != nil {
		return nil, err
	}
	if c.Target == "" {
		c.Target = memc.HostTargets()[0]
	}
	if !memc.Processor(c.Target) {
		return nil, usage("--target %s: only code for processors is tuned: %s", c.Target, strings.Join(memc.Groups["cpu"], ", "))
	}
	if err := errors.Join(memc.Runnable(c.Target), memc.Buildable(c.Target)); err != nil {
		return nil, err
	}
	in, err := s.open()
	if err != nil {
		return nil, err
	}
	t := &tuner{cmd: c, app: a, dir: dir, target: c.Target, in: in, options: in.options([]string{c.Target}), deadline: begin.Add(c.Budget),
		names: map[string]string{}, found: map[string][]variant{}, varies: map[string]bool{}, seen: map[string]float64{}}
	if t.module, err = in.module(); err != nil {
		return nil, err
	}
	if t.lowered, err = memc.Optimise(t.module, false, nil); err != nil {
		return nil, err
	}
	for range t.lowered.Entries {
		t.phases = append(t.phases, []way{{rows: c.Tokens, calls: 1}, {rows: 1, calls: decodes}})
	}
	if t.own, err = t.contestant(nil); err != nil {
		return nil, err
	}
	if err := t.shorten(); err != nil {
		return nil, err
	}
	t.sets = setsFor(memc.TilingOf(c.Target))
	return t, nil
}

// setsFor are the sets of sizes to try: those of different schedules vary together,
// as each kernel reads only its own.
func setsFor(t passes.Tiling) []memc.Sizes {
	by := func(x int, f float64) int { return max(1, int(float64(x)*f)) }
	var out []memc.Sizes
	for _, f := range [][4]float64{ // Rows, Cols, MapElems, and rows of attention and memories
		{0.5, 1, 0.25, 0.5}, {2, 1, 4, 2}, {1, 0.5, 0.5, 0.25}, {1, 2, 2, 1.5}, {0.5, 2, 0.125, 0.75}, {2, 0.5, 8, 3}, {0.25, 4, 0.0625, 0.125}, {4, 0.25, 16, 4},
	} {
		out = append(out, memc.Sizes{Rows: by(t.Rows, f[0]), Cols: by(t.Cols, f[1]), MapElems: by(t.MapElems, f[2]), AttendQ: by(t.AttendQ, f[3]), RecurRows: by(t.RecurRows, f[3])})
	}
	return out
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
			c.changed[text], t.varies[text] = true, true
		}
	}
	if tuning != nil && !slices.ContainsFunc(t.order, func(text string) bool { return c.changed[text] }) {
		return c, nil // nothing to run
	}
	warned := ""
	o.Warn = func(s string) { warned = s }
	art, err := memc.CompileModule(t.app.ctx, t.module, o)
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
	e := engine{Threads: t.cmd.Threads}
	threads := e.threads()
	for i, g := range t.lowered.Entries {
		if len(t.phases[i]) == 0 {
			continue
		}
		r := &contestRun{bench: &bench{app: t.app, p: c.program, w: w, threads: threads, number: i, graph: g}, phases: t.phases[i]}
		if r.session, r.start, err = r.bench.start(way{}, runtime.Options{Threads: threads, Profile: true}); err != nil {
			c.close()
			return nil, err
		}
		c.runs = append(c.runs, r)
	}
	return c, nil
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

// A round may take so much of the budget; where it takes more, phases are left out
// that hardly time a kernel which others do not.
const (
	mostRound   = 1.0 / 50
	leastOfTime = 0.05
)

// shorten chooses what rounds run, by what they take under the target's own sizes.
func (t *tuner) shorten() error {
	begin := time.Now()
	times, _, err := t.own.round(false)
	if err != nil {
		t.own.close()
		return err
	}
	if took := time.Since(begin); took.Seconds() <= mostRound*t.cmd.Budget.Seconds() {
		return nil
	}
	need := neededPhases(times)
	all := t.own.runs
	t.own.runs = nil
	for i, r := range all {
		t.phases[i] = nil
		if need[2*i] {
			t.phases[i] = append(t.phases[i], way{rows: t.cmd.Tokens, calls: 1})
		}
		if need[2*i+1] {
			t.phases[i] = append(t.phases[i], way{rows: 1, calls: fewDecodes})
		}
		if r.phases = t.phases[i]; len(r.phases) == 0 {
			r.session.Close()
			continue
		}
		t.own.runs = append(t.own.runs, r)
	}
	return nil
}

// neededPhases says which phases, of which each entry has two, one of many rows and
// one of single rows, time all kernels but for a small part of the time.
func neededPhases(times []phaseTime) []bool {
	type kind struct {
		text     string
		decoding bool
	}
	most, total := map[kind]float64{}, 0.0
	for i, p := range times {
		for text, x := range p {
			k := kind{text, i%2 == 1}
			total += max(x-most[k], 0)
			most[k] = max(most[k], x)
		}
	}
	need := make([]bool, len(times))
	for left := total; left > leastOfTime*total; {
		best, gain := -1, 0.0
		for i, p := range times {
			sum := 0.0
			for text := range p {
				sum += most[kind{text, i%2 == 1}]
			}
			if sum > gain {
				best, gain = i, sum
			}
		}
		if best < 0 {
			break
		}
		need[best] = true
		left -= gain
		for text := range times[best] {
			delete(most, kind{text, best%2 == 1})
		}
	}
	return need
}

// phaseTime is the seconds of each kernel, by text, in a phase of a round.
type phaseTime map[string]float64

// seed is of the hashes that stand for results: a large model's are not kept.
var seed = maphash.MakeSeed()

// round runs all phases of all entries once from their start. bits are hashes of
// the outputs and states of all, where they are asked for.
func (c *contestant) round(results bool) (times []phaseTime, bits []uint64, err error) {
	for _, r := range c.runs {
		if err := r.session.Rewind(r.start); err != nil {
			return nil, nil, err
		}
		for _, w := range r.phases {
			in, err := r.bench.inputs(w.rows)
			if err != nil {
				return nil, nil, err
			}
			out := make([]runtime.Tensor, len(c.program.Entries()[r.bench.number].Outputs))
			before := slices.Clone(r.session.Profile())
			for range w.calls {
				if err := r.session.Run(r.bench.app.ctx, r.bench.number, in, out); err != nil {
					return nil, nil, err
				}
			}
			took := phaseTime{}
			for i, k := range r.session.Profile() {
				if text, ok := c.texts[k.Kernel]; ok && k.Calls > before[i].Calls {
					took[text] += (k.Time - before[i].Time).Seconds()
				}
			}
			times = append(times, took)
			if results {
				for _, o := range out {
					bits = append(bits, maphash.Bytes(seed, o.Data))
				}
			}
		}
		if results {
			state, err := stateOf(r.session)
			if err != nil {
				return nil, nil, err
			}
			tensors, names, _, err := safetensors.Decode(state) // whose program it is says the rest
			if err != nil {
				return nil, nil, err
			}
			for _, name := range names {
				bits = append(bits, maphash.Bytes(seed, tensors[name].Data))
			}
		}
	}
	return times, bits, nil
}

func stateOf(s *runtime.Session) ([]byte, error) {
	var state bytes.Buffer
	state.Grow(int(s.StateBytes()) + 1<<16)
	err := s.WriteState(&state)
	return state.Bytes(), err
}

// errOther says that sizes give other results.
var errOther = errors.New("the results are not those of the target's own sizes to the bit: a fault of memc")

// contest runs a program in turns with that of the target's own sizes until the
// time is up, and gives what each changed kernel takes as a part of what it takes
// there: 1 where it is not better in all rounds' middle, or slower in a phase. It
// ends after a few rounds that make no kernel faster, and without a result where
// the budget ends before these, unless it is the last.
func (t *tuner) contest(c *contestant, until time.Time, last bool) (map[string]float64, error) {
	var a, b [][]phaseTime
	least := leastRounds
	ratios := map[string]float64{}
	for i := 0; i <= mostRounds && (i <= least || time.Now().Before(until)); i++ {
		begin := time.Now()
		if least == fewRounds && i > 1 && i <= least && !last && begin.After(t.deadline) {
			return nil, nil // cut off by the budget: nothing is known
		}
		first, second := t.own, c
		if i%2 == 1 {
			first, second = c, t.own
		}
		x, want, err := first.round(i == 0)
		if err != nil {
			return nil, err
		}
		y, got, err := second.round(i == 0)
		if err != nil {
			return nil, err
		}
		if i == 0 { // the first is the slowest
			if !slices.Equal(want, got) {
				return nil, errOther
			}
			continue
		}
		if time.Since(begin) > longRound {
			least = fewRounds
		}
		if i%2 == 1 {
			x, y = y, x
		}
		a, b = append(a, x), append(b, y)
		if i >= fewRounds || least == fewRounds {
			if ratios = t.ratios(c, a, b); !slices.ContainsFunc(slices.Collect(maps.Values(ratios)), func(r float64) bool { return r < 1 }) {
				break
			}
		}
	}
	return ratios, nil
}

// ratios gives what each kernel takes of a program, as a part of what it takes in
// that of the target's own sizes, in the middle of the rounds a and b of these.
func (t *tuner) ratios(c *contestant, a, b [][]phaseTime) map[string]float64 {
	out := map[string]float64{}
	for _, text := range t.order {
		own, ratio := 0.0, 1.0
		weight, log := 0.0, 0.0
		slower := false
		for phase := range a[0] {
			var times, parts []float64
			for i := range a {
				if x, y := a[i][phase][text], b[i][phase][text]; x > 0 && y > 0 {
					times, parts = append(times, x), append(parts, y/x)
				}
			}
			if len(times) == 0 {
				continue
			}
			middle := median(parts)
			own += median(times)
			slower = slower || middle > 1+leastGain
			weight, log = weight+1, log+math.Log(middle)
		}
		t.seen[text] = own
		if weight > 0 && c.changed[text] {
			if ratio = math.Exp(log / weight); slower || ratio > 1-leastGain {
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

// search tries one set of sizes after the other while there is time, then all
// that was best together. What is found is kept after each.
func (t *tuner) search() error {
	left := func() time.Duration { return time.Until(t.deadline) }
	longest := time.Duration(0) // that a contest has taken
	for _, sizes := range t.sets {
		if t.tried > 0 && left() < 2*longest {
			break // the last contest takes as long
		}
		begin := time.Now()
		if err := t.try(sizes, begin.Add(left()/time.Duration(2*len(t.sets)))); err != nil {
			return err
		}
		longest = max(longest, time.Since(begin))
		t.tried++
		if err := t.save(); err != nil {
			return err
		}
	}
	if err := t.confirm(); err != nil {
		return err
	}
	return t.save()
}

// try times a set of sizes and ranks it among those that made a kernel faster.
func (t *tuner) try(sizes memc.Sizes, until time.Time) error {
	c, err := t.contestant(memc.Force(t.target, sizes))
	if err == nil && c.program == nil {
		return nil
	}
	var ratios map[string]float64
	if err == nil {
		defer c.close()
		ratios, err = t.contest(c, until, false)
	}
	if err != nil {
		if t.app.ctx.Err() != nil {
			return t.app.ctx.Err()
		}
		t.refused = append(t.refused, fmt.Sprintf("%s: %v", sizes, err))
		return nil
	}
	for text, ratio := range ratios {
		if ratio < 1 {
			t.found[text] = append(t.found[text], variant{sizesOf(memc.Schedule(t.names[text]), sizes), ratio})
			slices.SortFunc(t.found[text], func(a, b variant) int { return compareTimes(a.time, b.time) })
		}
	}
	return nil
}

func compareTimes(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// sizesOf are the sizes that a schedule reads.
func sizesOf(schedule string, s memc.Sizes) memc.Sizes {
	switch schedule {
	case "contract":
		return memc.Sizes{Rows: s.Rows, Cols: s.Cols}
	case "attend":
		return memc.Sizes{AttendQ: s.AttendQ}
	case "recur":
		return memc.Sizes{RecurRows: s.RecurRows}
	case "hybrid":
		return memc.Sizes{AttendQ: s.AttendQ, RecurRows: s.RecurRows}
	case "map":
		return memc.Sizes{MapElems: s.MapElems, RecurRows: s.RecurRows}
	}
	return s
}

// confirm runs the best of each kernel together and drops what is no better then.
func (t *tuner) confirm() error {
	tuning, _ := memc.NewTuning(t.records())
	c, err := t.contestant(tuning)
	if err == nil && c.program == nil {
		return nil
	}
	var ratios map[string]float64
	if err == nil {
		defer c.close()
		ratios, err = t.contest(c, t.deadline, true)
	}
	if t.app.ctx.Err() != nil {
		return t.app.ctx.Err()
	}
	if err != nil { // not together: none is kept
		t.refused = append(t.refused, fmt.Sprintf("the best of each kernel together: %v", err))
		clear(t.found)
		return nil
	}
	for text, ratio := range ratios {
		if f := t.found[text]; len(f) > 0 && ratio < 1 {
			f[0].time = ratio
		} else {
			delete(t.found, text)
		}
	}
	return nil
}

// records are what is known of each kernel that was timed and has sizes.
func (t *tuner) records() []memc.TunedKernel {
	var out []memc.TunedKernel
	for _, text := range t.order {
		if t.seen[text] == 0 || !t.varies[text] {
			continue
		}
		k := memc.TunedKernel{Kernel: memc.HashKernel(text), Schedule: memc.Schedule(t.names[text]), Machine: memc.Machine(), Target: t.target, Compiler: memc.Version}
		for _, v := range t.found[text] {
			if len(k.Choices) < memc.MostChoices {
				k.Choices = append(k.Choices, memc.TunedSizes{Sizes: v.sizes, Time: v.time})
			}
		}
		out = append(out, k)
	}
	return out
}

func (t *tuner) save() error {
	if t.dir == "" {
		return nil
	}
	for _, k := range t.records() {
		if err := memc.WriteTuned(t.dir, k); err != nil {
			return err
		}
	}
	return nil
}

func (t *tuner) report() *tuneReport {
	r := &tuneReport{Spec: t.in.name(), Target: t.target, Machine: memc.Machine(), Dir: t.dir, Tried: t.tried, Of: len(t.sets), Refused: append([]string{}, t.refused...), Kernels: []tunedReport{}}
	for _, text := range t.order {
		seconds := t.seen[text]
		if seconds == 0 {
			continue
		}
		k := tunedReport{Kernel: t.names[text], Schedule: memc.Schedule(t.names[text]), Default: seconds, Tuned: seconds}
		if f := t.found[text]; len(f) > 0 {
			k.Tuned, k.Changed = seconds*f[0].time, f[0].sizes.String()
		}
		r.Default += k.Default
		r.Tuned += k.Tuned
		r.Kernels = append(r.Kernels, k)
	}
	slices.SortStableFunc(r.Kernels, func(a, b tunedReport) int { return compareTimes(b.Default, a.Default) })
	return r
}
