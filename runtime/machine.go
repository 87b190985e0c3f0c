package runtime

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// machine is a stream on compiled code. All that the code touches lies in
// regions outside Go's heap, at addresses that change only where a state grows.
type machine struct {
	engine  *native
	weights *Weights
	options Options

	*course
	records *memory.Region // Describer.Records
	arena   *memory.Region
	fixed   *memory.Region // states that do not grow
	held    []held         // of each state
	addr    []uintptr      // of each buffer

	times []KernelTime             // nil: not asked for
	pick  func(kernel string) bool // of what is timed; nil: all

	entries []entry
	lender  *lender // nil before the first call
	left    goruntime.Cleanup
	scratch *memory.Region
	barrier *memory.Region
	team    *team // during a call
}

// held is where a state's memory is.
type held struct {
	region *memory.Region
	off    int64
}

// memory is a state's bytes, capacity and all.
func (m *machine) memory(i int) []byte {
	return m.held[i].region.Bytes()[m.held[i].off:][:m.states[i].bytes]
}

// maxThreads is more workers than any machine has processors.
const maxThreads = 4096

// NewMachine allocates the arena and the states and fills those.
func (e *native) NewMachine(w *Weights, o Options) (Machine, error) {
	if o.Threads < 0 || o.Threads > maxThreads {
		return nil, fmt.Errorf("%d threads: from 1 to %d can be asked for", o.Threads, maxThreads)
	}
	m, err := e.machine(w, o)
	if err != nil {
		return nil, err
	}
	for i := range m.states {
		m.states[i].start(e.plan, w.packed, m.memory(i))
	}
	return m, nil
}

// machine makes one whose states are zero.
func (e *native) machine(w *Weights, o Options) (*machine, error) {
	p := e.plan
	c, err := newCourse(p)
	if err != nil {
		return nil, err
	}
	m := &machine{engine: e, weights: w, options: o, course: c, addr: make([]uintptr, len(p.Buffers)), entries: make([]entry, len(p.Entries))}
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
	if o.Profile {
		m.times = make([]KernelTime, len(p.Kernels))
		for i, k := range p.Kernels {
			m.times[i].Kernel = k
		}
	}
	return m, nil
}

// allocateStates maps the states: those of fixed size together.
func (m *machine) allocateStates() error {
	total := int64(0)
	m.held = make([]held, len(m.states))
	var err error
	for i := range m.states {
		s := &m.states[i]
		if s.grow != nil {
			if m.held[i].region, err = memory.New(s.bytes); err != nil {
				return err
			}
			continue
		}
		m.held[i].off = total
		total = memory.Up(total + s.bytes + memory.Slack)
	}
	if m.fixed, err = memory.New(total); err != nil {
		return err
	}
	for i := range m.states {
		if m.states[i].grow == nil {
			m.held[i].region = m.fixed
		}
		m.addr[m.states[i].buffer] = m.held[i].region.Addr(m.held[i].off)
	}
	return nil
}

// start gives the state its first value, in memory as long as its capacity.
func (s *state) start(p *plan.Plan, w *packed, to []byte) {
	b := &p.Buffers[s.buffer]
	if b.From < 0 {
		fill(to, b.Elem, b.Fill)
		return
	}
	src := &p.Buffers[b.From]
	data := w.buffer(p, b.From)
	from := weightLayout(src)
	if src.Elem == b.Elem && src.Panel == b.Panel && (b.Panel == 0 || from == s.layout) {
		copy(to, data)
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
	pack(s.layout, to, rows)
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

// reserve gives a growing state room for so many rows.
func (m *machine) reserve(i int, rows int64) error {
	s := &m.states[i]
	b := &m.plan.Buffers[s.buffer]
	room, bytes, err := m.wider(s, rows)
	if err != nil {
		return err
	}
	r, err := memory.New(bytes)
	if err != nil {
		return fmt.Errorf("the state %s cannot grow to %d rows: %w", b.Name, rows, err)
	}
	r.Huge()
	old := copy(r.Bytes(), m.memory(i))
	m.held[i].region.Free()
	m.held[i].region, s.bytes, s.room = r, bytes, room
	if b.From < 0 && (b.Fill != 0 || math.Signbit(b.Fill) || memory.Poison) { // zeros take no memory until they are used
		fill(m.memory(i)[old:], b.Elem, b.Fill)
	}
	m.addr[s.buffer] = r.Addr(0)
	for e := range m.entries {
		m.entries[e].patch(s.buffer, m.addr[s.buffer])
	}
	return nil
}

func (m *machine) put(i int, at int64, bytes []byte) error {
	copy(m.memory(i)[at:], bytes)
	return nil
}

// spare goes by what the system says: it gives out more than there is, and ends
// programs that use it. An eighth is left to others.
func (m *machine) spare(bytes int64, what string) error {
	if free := memory.Available(); free >= 0 && bytes > free-free/8 {
		return &Unsupported{fmt.Sprintf("%s needs %.1f GB of memory, and %.1f GB are free", what, float64(bytes)/1e9, float64(free)/1e9)}
	}
	return nil
}

func (m *machine) mark() (*point, error) {
	return m.course.mark(func(i int) ([]byte, error) { return slices.Clone(m.memory(i)), nil })
}

func (m *machine) rewind(k *point) error { return m.course.rewind(m, k) }

func (m *machine) skip(ctx context.Context, pos, more int64, seed uint64) error {
	return m.course.skip(ctx, m, pos, more, seed)
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

// Close lets go of the workers and frees the memory.
func (m *machine) Close() {
	if m.lender != nil {
		m.left.Stop()
		m.lender.leave()
	}
	for _, h := range m.held {
		h.region.Free()
	}
	for _, r := range []*memory.Region{m.records, m.arena, m.fixed} {
		r.Free()
	}
}
