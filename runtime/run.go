package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"unsafe"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// Run feeds the inputs, a slab at a time.
func (m *machine) Run(ctx context.Context, number int, in, out []Tensor) error {
	e, err := m.build(number)
	if err != nil {
		return err
	}
	pe := &m.engine.plan.Entries[number]
	n, err := m.checkInputs(pe, e, in)
	if err != nil {
		return err
	}
	if err := m.begin(); err != nil {
		return err
	}
	if err := m.rehearse(pe, e, n, in, out); err != nil {
		return err
	}
	m.probes = m.probes[:0]
	done := progress{described: n <= int64(m.engine.plan.Slab)}
	for done.rows < n {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", done.rows, n, err)
		}
		if err := m.slab(pe, e, min(n-done.rows, int64(m.engine.plan.Slab)), in, out, &done); err != nil {
			return err
		}
	}
	return nil
}

// maxPorts bounds the inputs and outputs of an entry that a call keeps count of
// without allocating.
const maxPorts = 64

// progress is how far a call has come: rows of the base clock, and of each port.
type progress struct {
	rows      int64
	in, out   [maxPorts]int64
	described bool // the one slab of the call, by the rehearsal
}

// checkInputs compares the inputs with the ports and finds how many rows of the
// base clock they bring: those of the inputs that have n rows, else 1.
func (m *machine) checkInputs(pe *plan.Entry, e *entry, in []Tensor) (n int64, err error) {
	if len(pe.Inputs) > maxPorts || len(pe.Outputs) > maxPorts {
		return 0, fmt.Errorf("%s has more than %d inputs or outputs", pe.Name, maxPorts)
	}
	n = -1
	for i := range in {
		o, t := &pe.Inputs[i], &in[i]
		if t.Elem != elemOf(o.Elem) {
			return 0, fmt.Errorf("the input %s of %s holds %s, it takes %s", o.Name, pe.Name, t.Elem, elemOf(o.Elem))
		}
		first := 0
		if e.inputs[i].code != nil || o.Clock {
			first = 1
		}
		if len(t.Shape) != len(o.Dims) || !slices.Equal(t.Shape[first:], o.Dims[first:]) {
			return 0, fmt.Errorf("the input %s of %s has the shape %v, it takes %s", o.Name, pe.Name, t.Shape, portsOf(pe.Inputs[i : i+1])[0].Dims)
		}
		if e.inputs[i].own && o.Clock {
			rows := int64(t.Shape[0])
			if n >= 0 && rows != n {
				return 0, fmt.Errorf("the input %s of %s has %d rows, another one has %d", o.Name, pe.Name, rows, n)
			}
			n = rows
		}
		if o.Below > 0 {
			if err := below(t, o.Below); err != nil {
				return 0, fmt.Errorf("the input %s of %s: %w", o.Name, pe.Name, err)
			}
		}
	}
	switch {
	case n < 0:
		return 1, nil
	case n == 0:
		return 0, fmt.Errorf("%s is given no rows", pe.Name)
	case m.pos > math.MaxInt64/2-n:
		return 0, fmt.Errorf("the stream is at position %d and cannot take %d rows more", m.pos, n)
	}
	return n, nil
}

// below checks that every integer lies in [0, limit).
func below(t *Tensor, limit int64) error {
	le := binary.LittleEndian
	if t.Elem == I32 {
		for i := range len(t.Data) / 4 {
			if v := int32(le.Uint32(t.Data[4*i:])); v < 0 || int64(v) >= limit {
				return fmt.Errorf("the value %d at position %d is not from 0 to %d", v, i, limit-1)
			}
		}
		return nil
	}
	for i := range len(t.Data) / 8 {
		if v := int64(le.Uint64(t.Data[8*i:])); v < 0 || v >= limit {
			return fmt.Errorf("the value %d at position %d is not from 0 to %d", v, i, limit-1)
		}
	}
	return nil
}

// begin makes what the first call needs: workers, their scratch, a barrier.
func (m *machine) begin() error {
	if m.team != nil {
		return nil
	}
	const page = 4096                                 // workers' scratch begins on pages of their own
	stride := (m.engine.scratch + page) &^ (page - 1) // room behind it, too
	threads := m.options.threads()
	scratch, err := memory.New(stride * int64(threads))
	if err != nil {
		return err
	}
	barrier, err := memory.New(int64(unsafe.Sizeof(plan.NativeBarrier{})))
	if err != nil {
		return err
	}
	m.scratch, m.barrier = scratch, barrier
	t := newTeam(m.engine.walk, threads)
	t.call = walkCall{records: m.records.Addr(0), record: int64(m.engine.plan.Record), scratch: scratch.Addr(0), stride: uintptr(stride), barrier: barrier.Addr(0)}
	m.team = t
	m.stop = goruntime.AddCleanup(m, (*team).stop, t)
	return nil
}

// rehearse describes the whole call before anything runs: the integers that a
// stream carries do not depend on data. It checks that the inputs' rows are
// those that the slabs will read, and gives the outputs their shapes. A single
// slab stays described.
func (m *machine) rehearse(pe *plan.Entry, e *entry, n int64, in, out []Tensor) error {
	var total progress
	slab := int64(m.engine.plan.Slab)
	if n > slab {
		held := slices.Clone(m.desc.Lens)
		defer copy(m.desc.Lens, held)
	}
	for at := int64(0); at < n; at += slab {
		if err := m.desc.Describe(m.pos+at, min(n-at, slab)); err != nil {
			return fmt.Errorf("%s: %w", pe.Name, err)
		}
		for i := range pe.Inputs {
			rows, err := m.rows(&pe.Inputs[i], e.inputs[i])
			if err != nil {
				return err
			}
			if o := &pe.Inputs[i]; o.Clock {
				rows += total.in[i]
			} else if at > 0 && rows != total.in[i] {
				return fmt.Errorf("the input %s of %s has %d rows at first and %d later in the call: feed at most %d rows at a time", o.Name, pe.Name, total.in[i], rows, slab)
			}
			total.in[i] = rows
		}
		for i := range pe.Outputs {
			rows, err := m.rows(&pe.Outputs[i], e.outputs[i])
			if err != nil {
				return err
			}
			if pe.Outputs[i].Clock {
				rows += total.out[i]
			}
			total.out[i] = rows
		}
		if n > slab {
			copy(m.desc.Lens, m.desc.Next)
		}
	}
	for i := range in {
		if o := &pe.Inputs[i]; len(o.Dims) > 0 && int64(in[i].Shape[0]) != total.in[i] {
			return fmt.Errorf("the input %s of %s has %d rows, it takes %d here", o.Name, pe.Name, in[i].Shape[0], total.in[i])
		}
	}
	for i := range out {
		if err := shape(&out[i], &pe.Outputs[i], total.out[i]); err != nil {
			return err
		}
	}
	return nil
}

// rows is how many rows of a port the described slab has.
func (m *machine) rows(o *plan.Port, c rowCode) (int64, error) {
	if len(o.Dims) == 0 {
		return 0, nil
	}
	most := int64(o.Dims[0])
	if c.code == nil {
		return most, nil
	}
	rows, err := m.desc.Value(c.code)
	if err != nil {
		return 0, fmt.Errorf("rows of %s: %w", o.Name, err)
	}
	if rows < 0 || rows > most {
		return 0, fmt.Errorf("%s would have %d rows in a slab, there is room for %d", o.Name, rows, most)
	}
	return rows, nil
}

// shape gives an output its type, shape and bytes, in the memory it has where
// that suffices.
func shape(t *Tensor, o *plan.Port, rows int64) error {
	t.Elem = elemOf(o.Elem)
	if cap(t.Shape) < len(o.Dims) || t.Shape == nil {
		t.Shape = make([]int, len(o.Dims))
	}
	t.Shape = t.Shape[:len(o.Dims)]
	copy(t.Shape, o.Dims)
	size := int64(o.Elem.Size())
	if len(o.Dims) > 0 {
		t.Shape[0] = int(rows)
		size = rows * rowSize(o)
	}
	if size > math.MaxInt/2 {
		return errors.New("an output is too large")
	}
	if int64(cap(t.Data)) < size || t.Data == nil {
		t.Data = make([]byte, size)
	}
	t.Data = t.Data[:size]
	return nil
}

// rowSize is the bytes of one row of Dims[0].
func rowSize(o *plan.Port) int64 {
	n := int64(o.Elem.Size())
	for _, d := range o.Dims[1:] {
		n *= int64(d)
	}
	return n
}

// slab runs the next n rows.
func (m *machine) slab(pe *plan.Entry, e *entry, n int64, in, out []Tensor, done *progress) error {
	d := m.desc
	if !done.described {
		if err := d.Describe(m.pos, n); err != nil {
			return fmt.Errorf("%s: %w", pe.Name, err)
		}
	}
	if err := m.growStates(); err != nil {
		return err
	}
	for i := range in {
		o := &pe.Inputs[i]
		to := m.view(o.Buffer)
		if len(o.Dims) == 0 {
			copy(to, in[i].Data)
			continue
		}
		rows, err := m.rows(o, e.inputs[i])
		if err != nil {
			return err
		}
		size := rowSize(o)
		copy(to, in[i].Data[done.in[i]*size:(done.in[i]+rows)*size])
		if o.Clock {
			done.in[i] += rows
		}
	}
	clear(memory.View[int64](m.barrier, 0, int(m.barrier.Len()/8)))
	if m.times != nil {
		m.timed(e, pe.Steps, 0, 0)
	} else {
		c := &m.team.call
		c.steps, c.count = e.region.Addr(0), e.count
		m.team.run()
	}
	goruntime.KeepAlive(m)
	for i := range out {
		o := &pe.Outputs[i]
		from := m.view(o.Buffer)
		if len(o.Dims) == 0 {
			copy(out[i].Data, from)
			continue
		}
		rows, err := m.rows(o, e.outputs[i])
		if err != nil {
			return err
		}
		size := rowSize(o)
		if !o.Clock {
			copy(out[i].Data, from[:rows*size])
			continue
		}
		copy(out[i].Data[done.out[i]*size:], from[:rows*size])
		done.out[i] += rows
	}
	m.collect(e)
	copy(d.Lens, d.Next)
	m.pos += n
	done.rows += n
	return nil
}

// view is the arena memory of a buffer.
func (m *machine) view(i int) []byte {
	b := &m.engine.plan.Buffers[i]
	return m.arena.Bytes()[b.Offset:][:b.Bytes]
}

// collect reads the entry's probes of the chunks that the slab completed.
func (m *machine) collect(e *entry) {
	p, d := m.engine.plan, m.desc
	for i := range p.Loops {
		for t := range d.Turns[i] {
			if !d.Done[d.First[i]+t] {
				continue
			}
			for _, shown := range e.probes {
				if shown.loop == i {
					bits := binary.LittleEndian.Uint32(m.view(shown.buffer)[4*t:])
					m.probes = append(m.probes, Probe{shown.name, m.chunks[i], math.Float32frombits(bits)})
				}
			}
			m.chunks[i]++
		}
	}
}
