package runtime

import (
	"slices"
	"time"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/cuda"
)

// How a slab's steps reach the GPU. The steps of an entry point are fixed, but
// for how often a loop turns and which conditions hold; what launches these come
// to, and which record each reads, is the slab's shape. All else (rows,
// positions, lengths, grid sizes) kernels read from the records: they run on a
// fixed number of CTAs, which share out whatever blocks there are. So a graph
// fits every slab of its shape, and a stream meets few: one row at a time gives
// a shape for a row within a chunk, one for a row that completes a block of it,
// one for a row that ends it. A shape that comes for the second time is captured
// and launched as one graph from then on; the graphs used last are kept.
//
// The other way, one graph with every launch that there may ever be, whose CTAs
// look whether they are wanted, would cost a launch's time for each that is not:
// writes are many launches and happen once in a chunk.

// gpuEntry is an entry point's steps, flat: a loop or condition is followed by
// its body.
type gpuEntry struct{ steps []gpuStep }

type gpuStep struct {
	kind   plan.Kind
	kernel *gpuKernel
	note   string
	bufs   []int // of the plan
	word   int   // where the array of their addresses begins; the slots follow
	loop   int
	cond   int64
	body   int // steps
}

// launching is one launch of a slab.
type launching struct {
	step   int32
	record int32
}

// build flattens the entries' steps and writes the launches' slots.
func (m *gpuMachine) build() {
	m.entries = make([]gpuEntry, len(m.plan.Entries))
	for i := range m.entries {
		m.flatten(&m.entries[i], m.plan.Entries[i].Steps)
	}
}

func (m *gpuMachine) flatten(e *gpuEntry, steps []plan.Step) {
	for i := range steps {
		s := &steps[i]
		at := len(e.steps)
		e.steps = append(e.steps, gpuStep{kind: s.Kind, note: s.Note, loop: s.Loop, cond: int64(s.Cond)})
		if s.Kind == plan.Launch {
			l := &e.steps[at]
			l.kernel, l.bufs, l.word = m.engine.kernels[s.Kernel], s.Bufs, len(m.host)
			m.host = append(m.host, make([]int64, len(s.Bufs))...)
			for _, slot := range s.Slots {
				m.host = append(m.host, int64(slot))
			}
		}
		m.flatten(e, s.Steps)
		e.steps[at].body = len(e.steps) - at - 1
	}
}

// unroll lists the launches of the described slab.
func (m *gpuMachine) unroll(e *gpuEntry, from, to int, record int64) {
	for i := from; i < to; {
		s := &e.steps[i]
		switch s.kind {
		case plan.Launch:
			m.turns = append(m.turns, launching{int32(i), int32(record)})
		case plan.Repeat:
			for t := range m.desc.Turns[s.loop] {
				m.unroll(e, i+1, i+1+s.body, m.desc.First[s.loop]+t)
			}
		case plan.If:
			if m.desc.Records[record*int64(m.plan.Record)+s.cond] != 0 {
				m.unroll(e, i+1, i+1+s.body, record)
			}
		case plan.Beside:
			m.unroll(e, i+1, i+1+s.body, record)
		}
		i += 1 + s.body
	}
}

// launches gives the described slab's launches to the stream.
func (m *gpuMachine) launches(number int) error {
	e := &m.entries[number]
	m.turns = m.turns[:0]
	m.unroll(e, 0, len(e.steps), 0)
	switch {
	case m.times != nil:
		return m.timed(e)
	case m.options.Stepwise:
		for _, l := range m.turns {
			s := &e.steps[l.step]
			err := m.launch(s, l.record)
			if err == nil {
				err = m.stream.Wait("run the kernel " + s.kernel.Name + noted(s))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	g, capture := m.graphs.find(number, m.turns)
	if capture {
		var err error
		if g, err = m.stream.Capture(func() error { return m.each(e) }); err != nil {
			return err
		}
		m.graphs.keep(number, m.turns, g)
	}
	if g != nil {
		return m.stream.LaunchGraph(g)
	}
	return m.each(e)
}

// noted is where a step comes from, for an error.
func noted(s *gpuStep) string {
	if s.note == "" {
		return ""
	}
	return " (" + s.note + ")"
}

// each launches the slab's kernels one after another.
func (m *gpuMachine) each(e *gpuEntry) error {
	for _, l := range m.turns {
		if err := m.launch(&e.steps[l.step], l.record); err != nil {
			return err
		}
	}
	return nil
}

func (m *gpuMachine) launch(s *gpuStep, record int32) error {
	bufs := uint64(m.words.Addr) + 8*uint64(s.word)
	m.args = [4]uint64{
		bufs, bufs + 8*uint64(len(s.bufs)),
		uint64(m.records.Addr) + 8*uint64(record)*uint64(m.plan.Record),
		uint64(m.scratch.Addr),
	}
	return m.stream.Launch(s.kernel.Function, s.kernel.ctas, 1, &m.args)
}

// timed launches the slab's kernels with a clock around each.
func (m *gpuMachine) timed(e *gpuEntry) error {
	for _, l := range m.turns {
		s := &e.steps[l.step]
		if err := m.stream.Record(m.before); err != nil {
			return err
		}
		if err := m.launch(s, l.record); err != nil {
			return err
		}
		if err := m.stream.Record(m.after); err != nil {
			return err
		}
		if err := m.stream.Wait("run the kernel " + s.kernel.Name + noted(s)); err != nil {
			return err
		}
		seconds, err := m.after.Since(m.before)
		if err != nil {
			return err
		}
		t := &m.times[s.kernel.number]
		t.Time += time.Duration(seconds * 1e9)
		t.Calls++
	}
	return nil
}

// graphs keeps a stream's graphs by the shape of the slabs that they run.
type graphs struct {
	kept  []recorded
	seen  [mostGraphs]uint64 // shapes that came once, in turn
	next  int
	clock int64
}

// mostGraphs is how many graphs a stream keeps.
const mostGraphs = 32

type recorded struct {
	hash  uint64
	entry int
	turns []launching
	graph *cuda.Graph
	used  int64
}

// find gives the graph of a shape; where there is none, capture says that the
// shape has come before, so that one is worth its making.
func (g *graphs) find(entry int, turns []launching) (x *cuda.Graph, capture bool) {
	h := hashOf(entry, turns)
	g.clock++
	for i := range g.kept {
		s := &g.kept[i]
		if s.hash == h && s.entry == entry && slices.Equal(s.turns, turns) {
			s.used = g.clock
			return s.graph, false
		}
	}
	if slices.Contains(g.seen[:], h) {
		return nil, true
	}
	g.seen[g.next] = h
	g.next = (g.next + 1) % mostGraphs
	return nil, false
}

// keep adds a graph, for the one that was not used for longest where there are
// too many. No graph is running.
func (g *graphs) keep(entry int, turns []launching, x *cuda.Graph) {
	s := recorded{hashOf(entry, turns), entry, slices.Clone(turns), x, g.clock}
	if len(g.kept) < mostGraphs {
		g.kept = append(g.kept, s)
		return
	}
	oldest := 0
	for i := range g.kept {
		if g.kept[i].used < g.kept[oldest].used {
			oldest = i
		}
	}
	g.kept[oldest].graph.Free()
	g.kept[oldest] = s
}

func (g *graphs) free() {
	for i := range g.kept {
		g.kept[i].graph.Free()
	}
	g.kept = nil
}

// hashOf is FNV-1a over the shape; never 0.
func hashOf(entry int, turns []launching) uint64 {
	h := uint64(14695981039346656037) ^ uint64(entry)
	for _, t := range turns {
		h = (h ^ (uint64(uint32(t.step))<<32 | uint64(uint32(t.record)))) * 1099511628211
	}
	return h | 1
}
