package runtime

import (
	"errors"
	"slices"
	"time"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// KernelTime is what a kernel took in all calls of a session.
type KernelTime struct {
	Kernel string
	Calls  int64 // launches
	Time   time.Duration
}

// Profile gives each kernel's time since the session began, in the order of
// the code's kernels; nil unless Options.Profile was set and the target's
// engine can tell.
func (s *Session) Profile() []KernelTime {
	if m, ok := s.machine.(interface{ Profile() []KernelTime }); ok {
		return m.Profile()
	}
	return nil
}

// Sample has a profiled session launch only what pick wants, which is asked before
// each launch, in the plan's order; nil wants all. What calls give and leave in
// the state means nothing then, until Rewind leads back to where all was launched;
// how long a launch takes does not depend on that. It is an error where nothing is
// profiled, or not by compiled code for processors.
func (s *Session) Sample(pick func(kernel string) bool) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	m, ok := s.machine.(*machine)
	if !ok || m.times == nil {
		return errors.New("launches are chosen where they are timed one by one: in a profiled session on a processor")
	}
	m.pick = pick
	return nil
}

// Profile is the machine's part of Session.Profile.
func (m *machine) Profile() []KernelTime { return m.times }

// timed runs steps as the generated walker does, one launch at a time.
func (m *machine) timed(e *entry, steps []plan.Step, at, record int64) {
	width := int64(m.plan.Record)
	for i := range steps {
		s := &steps[i]
		switch s.Kind {
		case plan.Launch:
			if m.pick != nil && !m.pick(s.Kernel) {
				break
			}
			c := &m.team.call
			c.Steps, c.Count, c.Records = e.region.Addr(at*stepBytes), 1, m.records.Addr(record*width*8)
			t := &m.times[slices.Index(m.plan.Kernels, s.Kernel)]
			begin := time.Now()
			m.team.run(t.Time / time.Duration(max(t.Calls, 1)))
			t.Time += time.Since(begin)
			t.Calls++
		case plan.Repeat:
			for turn := range m.desc.Turns[s.Loop] {
				m.timed(e, s.Steps, at+1, m.desc.First[s.Loop]+turn)
			}
		case plan.If:
			if memory.View[int64](m.records, record*width*8, int(width))[s.Cond] != 0 {
				m.timed(e, s.Steps, at+1, record)
			}
		case plan.Beside: // one after another, so that each has its own time
			m.timed(e, s.Steps, at+1, record)
		}
		inside, _ := measure(s.Steps)
		at += 1 + inside
	}
}
