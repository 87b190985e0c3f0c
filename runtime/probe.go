package runtime

import (
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/plan"
)

// shown is a probe that an entry point writes. A plan names it after the entry,
// callers know it by the rest.
type shown struct {
	name         string
	buffer, loop int
}

// shownBy lists the probes that the entry's steps write, in the order of their
// buffers.
func shownBy(p *plan.Plan, e *plan.Entry) []shown {
	var out []shown
	for k := range p.Buffers {
		b := &p.Buffers[k]
		if b.Class == plan.Probe && reaches(e.Steps, k) {
			loop := slices.IndexFunc(p.Loops, func(l plan.Loop) bool { return l.Name == b.Loop })
			out = append(out, shown{strings.TrimPrefix(b.Name, e.Name+"."), k, loop})
		}
	}
	return out
}

// reaches reports whether a launch among the steps is given the buffer.
func reaches(steps []plan.Step, buffer int) bool {
	return slices.ContainsFunc(steps, func(s plan.Step) bool { return slices.Contains(s.Bufs, buffer) || reaches(s.Steps, buffer) })
}
