package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/runtime"
)

// The search: each set of sizes is given to all kernels at once, and the program
// that this makes runs in turns with the target's own, kernel by kernel. So a
// kernel's time is always held against one taken in the same moment, whatever
// else the machine does. What earlier searches have found comes first. At the end
// what was best for each kernel runs together against the target's own once more:
// only what is better there too is kept. Before any of that the program of the
// target's own sizes is compared with the interpreter; all others must have its bits.

// A kernel takes sizes that make it faster by so much, unless they make a phase
// slower by as much.
const leastGain = 0.02

// tuner searches the sizes of one program's kernels.
type tuner struct {
	cmd      *tuneCmd
	app      *app
	dir      string             // of records; empty: nothing is kept
	known    []memc.TunedKernel // what was there
	module   *ir.Module
	options  memc.Options // with the target's own sizes
	lowered  *ir.Module
	target   string
	in       *input
	deadline time.Time
	own      *contestant
	weights  *runtime.Weights     // of own
	phases   [][]way              // what a round runs of each entry
	chosen   bool                 // these are not all
	names    map[string]string    // a kernel's text → its name
	order    []string             // texts, as the plan has them
	found    map[string][]variant // by text, best first
	judged   map[string]bool      // by text: sizes that change it were timed
	seen     map[string]float64   // seconds under the target's own sizes
	total    float64              // of all
	whole    *round               // of own, all launches
	bits     []uint64             // of own, where results are compared
	sampler  *sampler             // what contests launch; nil: everything
	checks   []entryCheck

	tried   int
	sets    []memc.Sizes
	refused []string
}

// entryCheck says how far an entry point's results are from the interpreter's.
type entryCheck struct {
	Entry string `json:"entry"`
	*checked
}

// variant is what some sizes make of a kernel.
type variant struct {
	sizes memc.Sizes
	time  float64 // as a part of what the target's own sizes take
}

func (t *tuner) close() { t.own.close() }

func (c *tuneCmd) tuner(a *app, dir string, known []memc.TunedKernel) (*tuner, error) {
	begin := time.Now()
	s := c.source()
	if err := errors.Join(memc.Runnable(c.Target), memc.Buildable(c.Target)); err != nil {
		return nil, err
	}
	in, err := s.open()
	if err != nil {
		return nil, err
	}
	t := &tuner{cmd: c, app: a, dir: dir, known: known, target: c.Target, in: in, options: in.options([]string{c.Target}), deadline: begin.Add(*c.Budget),
		names: map[string]string{}, found: map[string][]variant{}, judged: map[string]bool{}, seen: map[string]float64{}}
	if t.module, err = in.module(); err != nil {
		return nil, err
	}
	if t.lowered, err = memc.Optimise(t.module, false, nil); err != nil {
		return nil, err
	}
	for range t.lowered.Entries {
		t.phases = append(t.phases, []way{{rows: *c.Tokens, calls: 1}, {rows: 1, calls: decodes}})
	}
	t.sets = memc.SizesToTry(c.Target)
	if t.own, err = t.contestant(nil); err == nil {
		err = errors.Join(t.first(), t.check())
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tuner) threads() int { e := engine{Threads: t.cmd.Threads}; return e.threads(t.target) }

// first runs everything under the target's own sizes: results to compare with, and
// times that say whether rounds run everything.
func (t *tuner) first() (err error) {
	for range 2 { // the first is the slowest
		begin := time.Now()
		if t.whole, err = t.own.round(nil, 0, true); err != nil {
			return err
		}
		switch long := time.Since(begin).Seconds() > mostRound*t.cmd.Budget.Seconds(); {
		case long && t.chosen:
			t.sampler = newSampler(slices.Concat(t.phases...), t.whole)
		case long:
			t.keepPhases(t.whole.times)
			t.own.close()
			if t.own, err = t.contestant(nil); err != nil {
				return err
			}
			if t.whole, err = t.own.round(nil, 0, true); err != nil {
				return err
			}
			t.sampler = newSampler(slices.Concat(t.phases...), t.whole)
		default:
			continue
		}
		break
	}
	if t.bits = t.whole.bits; t.sampler != nil {
		fresh := &contestant{program: t.own.program, texts: t.own.texts}
		if err := fresh.begin(t, t.own.runs[0].bench.w); err != nil {
			return err
		}
		compared, err := fresh.round(t.sampler.compared(), 0, true)
		fresh.close()
		if err != nil {
			return err
		}
		t.bits = compared.bits
	}
	for _, times := range t.whole.times {
		for text, seconds := range times {
			t.seen[text] += seconds
			t.total += seconds
		}
	}
	return nil
}

// check compares the entry points that are timed with the interpreter. The budget
// is for the search: it does not count.
func (t *tuner) check() error {
	begin := time.Now()
	for _, r := range t.own.runs {
		r.bench.graph = t.lowered.Entries[r.bench.number]
		c, err := r.bench.compare(weights{Seed: new(uint64)}, nil)
		if err != nil {
			return err
		}
		if c.Rows == 0 {
			return fmt.Errorf("nothing is kept that was not compared with the interpreter, and %s: tune the spec with fewer layers (--set); what is found for their kernels serves this one too", c.Why)
		}
		t.checks = append(t.checks, entryCheck{t.lowered.Entries[r.bench.number].Name, c})
	}
	debug.FreeOSMemory() // the interpreter's
	t.deadline = t.deadline.Add(time.Since(begin))
	return nil
}

// search tries what is recorded, then one set of sizes after the other while there
// is time, then all that was best together. What is found is kept after each.
func (t *tuner) search() error {
	left := func() time.Duration { return time.Until(t.deadline) }
	begin := time.Now()
	known, err := t.earlier()
	if err != nil {
		return err
	}
	longest := time.Since(begin) // that a contest has taken
	for i, sizes := range t.sets {
		if (known || i > 0) && left() < 2*longest {
			break // the last contest takes as long
		}
		begin := time.Now()
		until := begin.Add(left() / time.Duration(2*(len(t.sets)-i)))
		c, err := t.contestant(memc.Force(t.target, sizes))
		ratios, err := t.judge(c, err, until, false, sizes.String())
		if err != nil {
			return err
		}
		for text, ratio := range ratios {
			if ratio < 1 {
				t.find(text, variant{sizesOf(memc.Schedule(t.names[text]), sizes), ratio})
			}
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

// judge holds a contestant against the target's own sizes. Where it does not
// compile, or has other results, it is refused and there are no ratios; an error
// is one of the search.
func (t *tuner) judge(c *contestant, err error, until time.Time, last bool, what string) (map[string]float64, error) {
	if err == nil && c.program == nil {
		return nil, nil
	}
	var ratios map[string]float64
	if err == nil {
		defer c.close()
		ratios, err = t.contest(c, until, last)
	}
	if t.app.ctx.Err() != nil {
		return nil, t.app.ctx.Err()
	}
	if err != nil {
		t.refused = append(t.refused, fmt.Sprintf("%s: %v", what, err))
		return nil, nil
	}
	for text := range ratios {
		t.judged[text] = t.judged[text] || c.changed[text]
	}
	return ratios, nil
}

// find ranks sizes that made a kernel faster; of equal ones the first stays.
func (t *tuner) find(text string, v variant) {
	f := t.found[text]
	if !slices.ContainsFunc(f, func(w variant) bool { return w.sizes == v.sizes }) {
		f = append(f, v)
	}
	slices.SortStableFunc(f, func(a, b variant) int { return cmp.Compare(a.time, b.time) })
	t.found[text] = f
}

// earlier times the best of what is recorded of this program's kernels. Where it is
// better still, the record's other choices stand too, else none of them does.
func (t *tuner) earlier() (known bool, err error) {
	tuning, _ := memc.NewTuning(t.known)
	for _, text := range t.order {
		known = known || len(tuning.Choices(t.target, text)) > 0
	}
	if !known {
		return false, nil
	}
	c, err := t.contestant(tuning)
	ratios, err := t.judge(c, err, time.Now(), true, "the records of earlier searches")
	for text, ratio := range ratios {
		if ratio == 1 {
			continue
		}
		for i, choice := range tuning.Choices(t.target, text) {
			if i == 0 {
				choice.Time = ratio
			}
			t.find(text, variant{choice.Sizes, choice.Time})
		}
	}
	return true, err
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
	ratios, err := t.judge(c, err, t.deadline, true, "the best of each kernel together")
	if err != nil {
		return err
	}
	for text := range t.found { // without ratios none is kept
		if ratio, ok := ratios[text]; ok && ratio < 1 {
			t.found[text][0].time = ratio
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
		if t.seen[text] == 0 || !t.judged[text] {
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
			t.dir = ""
			return t.cmd.unkept(t.app, err)
		}
	}
	return nil
}

func (t *tuner) report() *tuneReport {
	r := &tuneReport{Spec: t.in.name(), Target: t.target, Machine: memc.Machine(), Dir: t.dir, Tried: t.tried, Of: len(t.sets), Check: append([]entryCheck{}, t.checks...), Refused: append([]string{}, t.refused...), Kernels: []tunedReport{}}
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
	slices.SortStableFunc(r.Kernels, func(a, b tunedReport) int { return cmp.Compare(b.Default, a.Default) })
	return r
}
