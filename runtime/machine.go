package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	goruntime "runtime"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// machine is a stream on compiled code. All that the code touches lies in
// regions outside Go's heap, at addresses that change only where a state grows.
type machine struct {
	engine  *native
	weights *Weights
	options Options

	desc    *plan.Describer
	records *memory.Region // Describer.Records
	arena   *memory.Region
	fixed   *memory.Region // states that do not grow
	states  []state
	addr    []uintptr // of each buffer

	pos    int64
	chunks []int64 // completed, of each loop
	probes []Probe
	times  []KernelTime // nil: not asked for

	entries []entry
	team    *team
	scratch *memory.Region
	barrier *memory.Region
	stop    goruntime.Cleanup
}

// state is one state buffer.
type state struct {
	buffer int
	layout layout // of the rows at the start
	region *memory.Region
	off    int64 // in region
	bytes  int64 // capacity
	rows   int64 // growing: how many rows of Dims[0] are the state's
	room   int64 // growing: how many have room
	grow   plan.Code
}

// memory is the state's bytes, capacity and all.
func (s *state) memory() []byte { return s.region.Bytes()[s.off:][:s.bytes] }

// maxThreads is more workers than any machine has processors.
const maxThreads = 4096

// NewMachine allocates the arena and the states and fills those.
func (e *native) NewMachine(w *Weights, o Options) (Machine, error) {
	if o.Threads > maxThreads {
		return nil, fmt.Errorf("%d threads: more than %d", o.Threads, maxThreads)
	}
	m, err := e.machine(w, o)
	if err != nil {
		return nil, err
	}
	for i := range m.states {
		m.states[i].start(e.plan, w)
	}
	return m, nil
}

// machine makes one whose states are zero.
func (e *native) machine(w *Weights, o Options) (*machine, error) {
	p := e.plan
	m := &machine{engine: e, weights: w, options: o, chunks: make([]int64, len(p.Loops)), addr: make([]uintptr, len(p.Buffers)), entries: make([]entry, len(p.Entries))}
	var err error
	if m.desc, err = p.Describer(); err != nil {
		return nil, err
	}
	if m.records, err = memory.New(int64(cap(m.desc.Records)) * 8); err != nil {
		return nil, err
	}
	m.desc.Records = memory.View[int64](m.records, 0, cap(m.desc.Records))[:0]
	if m.arena, err = memory.New(p.Arena); err != nil {
		return nil, err
	}
	m.arena.Huge()
	if err := m.allocateStates(); err != nil {
		return nil, err
	}
	m.fixed.Huge()
	for i := range p.Buffers {
		switch b := &p.Buffers[i]; b.Class {
		case plan.Weight, plan.Table:
			m.addr[i] = w.packed.region.Addr(w.packed.place[i])
		case plan.State:
		default:
			m.addr[i] = m.arena.Addr(b.Offset)
		}
	}
	maxProbes := 0
	for i := range p.Buffers {
		if p.Buffers[i].Class == plan.Probe {
			maxProbes += p.Buffers[i].Dims[0]
		}
	}
	if o.Profile {
		m.times = make([]KernelTime, len(p.Kernels))
		for i, k := range p.Kernels {
			m.times[i].Kernel = k
		}
	}
	m.probes = make([]Probe, 0, min(maxProbes, 1<<16))
	return m, nil
}

// allocateStates maps the states: those of fixed size together.
func (m *machine) allocateStates() error {
	p := m.engine.plan
	total := int64(0)
	for i := range p.Buffers {
		b := &p.Buffers[i]
		if b.Class != plan.State {
			continue
		}
		s := state{buffer: i, layout: layoutOf(b.Elem, b.Dims, b.Panel), bytes: b.Bytes, off: total}
		if b.Grow == nil {
			total = memory.Up(total + b.Bytes + memory.Slack)
		} else {
			s.off = 0
			s.rows = int64(b.Dims[0])
			s.room = s.rows
			var err error
			if s.grow, err = m.desc.Compile(b.Grow); err != nil {
				return err
			}
			if s.region, err = memory.New(b.Bytes); err != nil {
				return err
			}
		}
		m.states = append(m.states, s)
	}
	var err error
	if m.fixed, err = memory.New(total); err != nil {
		return err
	}
	for i := range m.states {
		s := &m.states[i]
		if s.grow == nil {
			s.region = m.fixed
		}
		m.addr[s.buffer] = s.region.Addr(s.off)
	}
	return nil
}

// start gives the state its first value.
func (s *state) start(p *plan.Plan, w *Weights) {
	b := &p.Buffers[s.buffer]
	if b.From < 0 {
		fill(s.memory(), b.Elem, b.Fill)
		return
	}
	src := &p.Buffers[b.From]
	data := w.packed.buffer(p, b.From)
	from := layoutOf(src.Elem, src.Dims, src.Panel)
	if src.Elem == b.Elem && src.Panel == b.Panel && (b.Panel == 0 || from == s.layout) {
		copy(s.memory(), data)
		return
	}
	rows := unpack(from, data)
	if src.Elem != b.Elem {
		t := Tensor{Elem: elemOf(src.Elem), Shape: src.Dims, Data: rows}
		if f, err := Float32(t); err == nil && b.Elem.Float() {
			rows = make([]byte, len(f)*b.Elem.Size())
			narrow(rows, f, b.Elem)
		}
	}
	pack(s.layout, s.memory(), rows)
}

// unpack gives a buffer's elements in row-major order.
func unpack(l layout, buffer []byte) []byte {
	rows := make([]byte, l.count*l.rows*l.cols*l.size)
	for g := range l.groups() {
		at, n, _ := l.piece(g)
		l.get(rows[at*l.size:][:n*l.cols*l.size], buffer, g)
	}
	return rows
}

// pack is unpack's inverse.
func pack(l layout, buffer, rows []byte) {
	for g := range l.groups() {
		at, n, _ := l.piece(g)
		l.put(buffer, rows[at*l.size:][:n*l.cols*l.size], g)
	}
}

// fill sets every element to v, rounded.
func fill(b []byte, e plan.Elem, v float64) {
	if v == 0 && !math.Signbit(v) {
		clear(b)
		return
	}
	one := make([]byte, 8)
	switch {
	case e == plan.F32:
		narrow(one, []float32{float32(v)}, e)
	case e.Float():
		narrow(one, []float32{toOdd(v)}, e)
	case e == plan.Bool:
		one[0] = 1
	default:
		binary.LittleEndian.PutUint64(one, uint64(int64(v)))
	}
	size := e.Size()
	for i := 0; i+size <= len(b); i += size {
		copy(b[i:], one[:size])
	}
}

// growStates makes room for what the described call needs.
func (m *machine) growStates() error {
	for i := range m.states {
		s := &m.states[i]
		if s.grow == nil {
			continue
		}
		need, err := m.desc.Value(s.grow)
		if err != nil {
			return fmt.Errorf("the state %s: %w", m.engine.plan.Buffers[s.buffer].Name, err)
		}
		if need > s.rows {
			if err := m.reserve(s, need); err != nil {
				return err
			}
			s.rows = need
		}
	}
	return nil
}

// reserve gives a growing state room for so many rows: at least twice what it
// had, so that a long stream copies each row a bounded number of times.
func (m *machine) reserve(s *state, rows int64) error {
	if rows <= s.room {
		return nil
	}
	b := &m.engine.plan.Buffers[s.buffer]
	room := max(rows, 2*s.room)
	bytes, err := rowsBytes(b, room)
	var r *memory.Region
	if err == nil {
		r, err = memory.New(bytes)
	}
	if err != nil {
		return fmt.Errorf("the state %s cannot grow to %d rows: %w", b.Name, rows, err)
	}
	old := copy(r.Bytes(), s.memory())
	s.region.Free()
	s.region, s.bytes, s.room = r, bytes, room
	if b.From < 0 {
		fill(s.memory()[old:], b.Elem, b.Fill)
	}
	m.addr[s.buffer] = r.Addr(0)
	for i := range m.entries {
		m.entries[i].patch(s.buffer, m.addr[s.buffer])
	}
	return nil
}

// rowsBytes is the size of a buffer with so many rows in Dims[0].
func rowsBytes(b *plan.Buffer, rows int64) (int64, error) {
	if int64(int(rows)) != rows {
		return 0, fmt.Errorf("%d rows are too many", rows)
	}
	dims := make([]int, len(b.Dims))
	copy(dims, b.Dims)
	dims[0] = int(rows)
	return plan.Bytes(b.Elem, dims, b.Panel)
}

// Pos is the number of rows read.
func (m *machine) Pos() int64 { return m.pos }

// StateBytes is the capacity of all states.
func (m *machine) StateBytes() int64 {
	n := int64(0)
	for i := range m.states {
		n += m.states[i].bytes
	}
	return n
}

// Probes are the last call's.
func (m *machine) Probes() []Probe { return m.probes }

// Close ends the workers and frees the memory.
func (m *machine) Close() {
	if m.team != nil {
		m.stop.Stop()
		m.team.stop()
	}
	for _, s := range m.states {
		s.region.Free()
	}
	for _, r := range []*memory.Region{m.records, m.arena, m.fixed} {
		r.Free()
	}
}
