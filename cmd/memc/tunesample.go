package main

import (
	"maps"
	"math"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/passes"
)

// The layers of a deep model launch the same kernels, and a round of all of them
// takes seconds. Then a round launches a few of each kernel's launches alone, one
// after another and all at about the same depth of the model, so that neighbours
// still find in the caches what the one before left there. The depth changes from
// round to round. What such a round computes means nothing: results are compared
// in a round of more of them before, see sampler.compared.

// A round may take so much of the budget; where it takes more, launches are left
// out, and phases that hardly time a kernel which others do not.
const (
	mostRound   = 1.0 / 50
	leastOfTime = 0.05
)

const (
	sampleTime   = 0.004 // seconds that a kernel's launches in a phase of a round take, at least
	sampleLong   = 0.05  // a launch that takes longer is not repeated beyond a few rounds
	sampleRounds = 5     // of a contest
	leastShare   = 0.005 // of the time: a kernel with less is left alone
	goldenRatio  = 0.6180339887498949
)

// What a machine does in a second, very roughly: enough to tell a long round from
// a short one before anything runs.
const (
	roughFlops = 2e11
	roughBytes = 2e10
)

// choosePhases keeps of a round that will be long the phases that time nearly
// everything. low has the target's own sizes.
func (t *tuner) choosePhases(low *passes.Program) {
	texts := map[string]string{}
	for i, k := range low.Kernels {
		texts[k.Name] = low.Texts[i]
	}
	var times []phaseTime
	all := 0.0
	for i, g := range t.lowered.Entries {
		for _, w := range t.phases[i] {
			took := phaseTime{}
			for name, c := range memc.KernelCosts(g, low.Plan, 0, w.rows) {
				took[texts[name]] += (float64(c.Flops)/roughFlops + float64(c.Bytes)/roughBytes) * float64(w.calls)
				all += took[texts[name]]
			}
			times = append(times, took)
		}
	}
	if all > mostRound*t.cmd.Budget.Seconds() {
		t.keepPhases(times)
	}
}

// keepPhases keeps the phases that time nearly everything; times are those of all.
func (t *tuner) keepPhases(times []phaseTime) {
	t.chosen = true
	need := neededPhases(times)
	for i := range t.phases {
		t.phases[i] = nil
		if need[2*i] {
			t.phases[i] = append(t.phases[i], way{rows: *t.cmd.Tokens, calls: 1})
		}
		if need[2*i+1] {
			t.phases[i] = append(t.phases[i], way{rows: 1, calls: fewDecodes})
		}
	}
}

// sampler says which launches run in a round; a nil one wants all.
type sampler struct {
	phases   []way
	launches []map[string]int     // of each kernel, by text, in each phase
	each     []map[string]int     // so many of them run in a round
	time     []map[string]float64 // seconds of one
	rounds   int
	compares bool // it is one of sampler.compared
}

// newSampler takes as many launches of each kernel as take long enough to be timed.
func newSampler(phases []way, whole *round) *sampler {
	s := &sampler{phases: phases, launches: whole.launches}
	for p, launches := range whole.launches {
		each, one := map[string]int{}, map[string]float64{}
		for text, n := range launches {
			one[text] = whole.times[p][text] / float64(n)
			each[text] = n
			if all := whole.times[p][text]; all > sampleTime {
				each[text] = min(n, int(sampleTime/one[text])+1)
			}
		}
		s.each, s.time = append(s.each, each), append(s.time, one)
	}
	return s
}

// again is the sampler of another contest.
func (s *sampler) again() *sampler {
	if s == nil {
		return nil
	}
	out := *s
	out.each = nil
	for _, each := range s.each {
		out.each = append(out.each, maps.Clone(each))
	}
	return &out
}

// compared says what runs where results are compared: of each kernel's launches the
// first quarter and the last one. Others leave what they would write as it was. In
// a session that has run nothing yet that is the same for all programs.
func (s *sampler) compared() *sampler {
	if s == nil {
		return nil
	}
	out := *s
	out.compares = true
	return &out
}

// depth is where in a program round i begins, from 0 to 1.
func (s *sampler) depth(i int) float64 {
	_, x := math.Modf(float64(i) * goldenRatio)
	return x
}

// pick is what Session.Sample asks in a phase; nil: all launches. Calls of one row
// read each weight once, from memory: a program with a shift reads those of other
// layers than one without, lest the second of a turn finds them in a cache.
func (s *sampler) pick(phase int, texts map[string]string, depth, shift float64) func(kernel string) bool {
	if s == nil {
		return nil
	}
	if s.phases[phase].rows == 1 {
		_, depth = math.Modf(depth + shift)
	}
	at := map[string]int{}
	return func(kernel string) bool {
		text := texts[kernel]
		i, n, all := at[text], s.each[phase][text], s.launches[phase][text]
		at[text]++
		if s.compares {
			return i < (all+3)/4 || i == all-1
		}
		from := int(depth * float64(all-n+1))
		return from <= i && i < from+n
	}
}

// leave notes a round; long launches are left out of those after a few.
func (s *sampler) leave() {
	if s == nil {
		return
	}
	if s.rounds++; s.rounds != fewRounds {
		return
	}
	for p, each := range s.each {
		for text := range each {
			if s.time[p][text] > sampleLong {
				each[text] = 0
			}
		}
	}
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
		best, gain, rank := -1, 0.0, 0.0
		for i, p := range times {
			sum := 0.0
			for text := range p {
				sum += most[kind{text, i%2 == 1}]
			}
			as := sum
			if need[i^1] { // an entry that runs anyway costs no other state
				as *= 1.1
			}
			if as > rank {
				best, gain, rank = i, sum, as
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
