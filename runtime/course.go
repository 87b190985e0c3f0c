package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// course is where a stream is in its plan, and what its calls are made of,
// whatever the kernels run on. A machine has one, and is its hand.
type course struct {
	plan   *plan.Plan
	desc   *plan.Describer
	pos    int64
	chunks []int64 // completed, of each loop
	probes []Probe
	states []state
	calls  []calling // of each entry point
	done   progress  // of the call under way
}

// hand is what a machine does for its course: it holds the memory and runs the
// kernels.
type hand interface {
	// slab runs the described rows of an entry point: inputs from where the
	// course's progress says, outputs to where it says.
	slab(entry int, in, out []Tensor) error
	// view is the memory of a probe's buffer after a slab.
	view(buffer int) []byte
	// reserve gives growing state i room for so many rows.
	reserve(i int, rows int64) error
	// put writes bytes into the memory of state i, as they lie there.
	put(i int, at int64, bytes []byte) error
	// spare says what is lacking where so much memory is not free.
	spare(bytes int64, what string) error
}

// state is one state buffer; where its memory is, the machine knows.
type state struct {
	buffer int
	layout layout // of the rows at the start
	bytes  int64  // capacity
	rows   int64  // growing: how many rows of Dims[0] are the state's
	room   int64  // growing: how many have room
	grow   plan.Code
}

// calling is what a call of one entry point needs to know.
type calling struct {
	ready   bool
	inputs  []rowCode
	outputs []rowCode
	probes  []shown
}

// rowCode computes a port's valid rows.
type rowCode struct {
	code plan.Code // nil: all rows
	own  bool      // the rows are n
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

// newCourse stands at the start of a stream; its states have no memory yet.
func newCourse(p *plan.Plan) (*course, error) {
	c := &course{plan: p, chunks: make([]int64, len(p.Loops)), calls: make([]calling, len(p.Entries))}
	var err error
	if c.desc, err = p.Describer(); err != nil {
		return nil, err
	}
	maxProbes := 0
	for i := range p.Buffers {
		b := &p.Buffers[i]
		switch b.Class {
		case plan.Probe:
			maxProbes += b.Dims[0]
		case plan.State:
			s := state{buffer: i, layout: layoutOf(b.Elem, b.Dims, b.Panel), bytes: b.Bytes}
			if b.Grow != nil {
				s.rows = int64(b.Dims[0])
				s.room = s.rows
				if s.grow, err = c.desc.Compile(b.Grow); err != nil {
					return nil, err
				}
			}
			c.states = append(c.states, s)
		}
	}
	c.probes = make([]Probe, 0, min(maxProbes, 1<<16))
	return c, nil
}

// calling prepares an entry point once.
func (c *course) calling(entry int) (*calling, error) {
	k, pe := &c.calls[entry], &c.plan.Entries[entry]
	if k.ready {
		return k, nil
	}
	var err error
	if k.inputs, err = c.rowCodes(pe.Inputs); err != nil {
		return nil, err
	}
	if k.outputs, err = c.rowCodes(pe.Outputs); err != nil {
		return nil, err
	}
	k.probes = shownBy(c.plan, pe)
	k.ready = true
	return k, nil
}

func (c *course) rowCodes(ports []plan.Port) ([]rowCode, error) {
	codes := make([]rowCode, len(ports))
	for i, o := range ports {
		if o.Rows == nil {
			continue
		}
		c, err := c.desc.Compile(o.Rows)
		if err != nil {
			return nil, err
		}
		codes[i] = rowCode{c, o.Rows.String() == "n"}
	}
	return codes, nil
}

// run feeds the inputs to an entry point, a slab at a time.
func (c *course) run(ctx context.Context, m hand, entry int, in, out []Tensor) error {
	n, err := c.start(entry, in, out)
	if err != nil {
		return err
	}
	for c.done.rows < n {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", c.done.rows, n, err)
		}
		rows, err := c.describe(m, entry, n)
		if err != nil {
			return err
		}
		if err := m.slab(entry, in, out); err != nil {
			return err
		}
		c.finish(m, entry, rows)
	}
	return nil
}

// start checks a call and gives the number of its rows. Nothing of the stream
// has changed until its first slab.
func (c *course) start(entry int, in, out []Tensor) (rows int64, err error) {
	k, err := c.calling(entry)
	if err != nil {
		return 0, err
	}
	pe := &c.plan.Entries[entry]
	n, err := c.checkInputs(pe, k, in)
	if err != nil {
		return 0, err
	}
	if err := c.rehearse(pe, k, n, in, out); err != nil {
		return 0, err
	}
	c.probes = c.probes[:0]
	c.done = progress{described: n <= int64(c.plan.Slab)}
	return n, nil
}

// describe describes the next slab of a call of n rows, and makes room for it.
func (c *course) describe(m hand, entry int, n int64) (rows int64, err error) {
	rows = min(n-c.done.rows, int64(c.plan.Slab))
	if !c.done.described {
		if err := c.desc.Describe(c.pos, rows); err != nil {
			return 0, fmt.Errorf("%s: %w", c.plan.Entries[entry].Name, err)
		}
	}
	return rows, c.growStates(m)
}

// finish goes on behind a slab that has run.
func (c *course) finish(m hand, entry int, rows int64) {
	c.collect(&c.calls[entry], m)
	copy(c.desc.Lens, c.desc.Next)
	c.pos += rows
	c.done.rows += rows
}

// pieceIn is the part of input i that the described slab reads, and moves the
// call's progress behind it.
func (c *course) pieceIn(pe *plan.Entry, k *calling, i int, in []Tensor) ([]byte, error) {
	o := &pe.Inputs[i]
	if len(o.Dims) == 0 {
		return in[i].Data, nil
	}
	rows, err := c.rows(o, k.inputs[i])
	if err != nil {
		return nil, err
	}
	size, at := rowSize(o), c.done.in[i]
	if o.Clock {
		c.done.in[i] += rows
	}
	return in[i].Data[at*size : (at+rows)*size], nil
}

// pieceOut is the part of output i that the described slab fills, and moves the
// call's progress behind it.
func (c *course) pieceOut(pe *plan.Entry, k *calling, i int, out []Tensor) ([]byte, error) {
	o := &pe.Outputs[i]
	if len(o.Dims) == 0 {
		return out[i].Data, nil
	}
	rows, err := c.rows(o, k.outputs[i])
	if err != nil {
		return nil, err
	}
	size := rowSize(o)
	if !o.Clock {
		return out[i].Data[:rows*size], nil
	}
	at := c.done.out[i]
	c.done.out[i] += rows
	return out[i].Data[at*size : (at+rows)*size], nil
}

// checkInputs compares the inputs with the ports and finds how many rows of the
// base clock they bring: those of the inputs that have n rows, else 1.
func (c *course) checkInputs(pe *plan.Entry, k *calling, in []Tensor) (n int64, err error) {
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
		if k.inputs[i].code != nil || o.Clock {
			first = 1
		}
		if len(t.Shape) != len(o.Dims) || !slices.Equal(t.Shape[first:], o.Dims[first:]) {
			return 0, fmt.Errorf("the input %s of %s has the shape %v, it takes %s", o.Name, pe.Name, t.Shape, portsOf(pe.Inputs[i : i+1])[0].Dims)
		}
		if k.inputs[i].own && o.Clock {
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
	case c.pos > math.MaxInt64/4-n:
		return 0, fmt.Errorf("the stream is at position %d and cannot take %d rows more", c.pos, n)
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

// rehearse describes the whole call before anything runs: the integers that a
// stream carries do not depend on data. It checks that the inputs' rows are
// those that the slabs will read, and gives the outputs their shapes. A single
// slab stays described.
func (c *course) rehearse(pe *plan.Entry, k *calling, n int64, in, out []Tensor) error {
	var total progress
	slab := int64(c.plan.Slab)
	if n > slab {
		held := slices.Clone(c.desc.Lens)
		defer copy(c.desc.Lens, held)
	}
	for at := int64(0); at < n; at += slab {
		if err := c.desc.Describe(c.pos+at, min(n-at, slab)); err != nil {
			return fmt.Errorf("%s: %w", pe.Name, err)
		}
		for i := range pe.Inputs {
			rows, err := c.rows(&pe.Inputs[i], k.inputs[i])
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
			rows, err := c.rows(&pe.Outputs[i], k.outputs[i])
			if err != nil {
				return err
			}
			if pe.Outputs[i].Clock {
				rows += total.out[i]
			}
			total.out[i] = rows
		}
		if n > slab {
			copy(c.desc.Lens, c.desc.Next)
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
func (c *course) rows(o *plan.Port, code rowCode) (int64, error) {
	if len(o.Dims) == 0 {
		return 0, nil
	}
	most := int64(o.Dims[0])
	if code.code == nil {
		return most, nil
	}
	rows, err := c.desc.Value(code.code)
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
		t.Data = make([]byte, size, size+memory.Slack) // so that a kernel may write it in place
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

// need is how many rows a growing state has for the described slab: it never
// becomes shorter.
func (c *course) need(s *state) (int64, error) {
	need, err := c.desc.Value(s.grow)
	if err != nil {
		return 0, fmt.Errorf("the state %s: %w", c.plan.Buffers[s.buffer].Name, err)
	}
	return max(need, s.rows), nil
}

// growStates makes room for what the described call needs.
func (c *course) growStates(m hand) error {
	for i := range c.states {
		s := &c.states[i]
		if s.grow == nil {
			continue
		}
		need, err := c.need(s)
		if err != nil {
			return err
		}
		if need > s.room {
			if err := m.reserve(i, need); err != nil {
				return err
			}
		}
		s.rows = need
	}
	return nil
}

// wider is how many rows of capacity a growing state gets that needs so many,
// and their bytes: at least twice what it had, so that a long stream copies each
// row a bounded number of times.
func (c *course) wider(s *state, rows int64) (room, bytes int64, err error) {
	b := &c.plan.Buffers[s.buffer]
	room = max(rows, 2*s.room)
	if bytes, err = rowsBytes(b, room); err != nil {
		return 0, 0, fmt.Errorf("the state %s cannot grow to %d rows: %w", b.Name, rows, err)
	}
	return room, bytes, nil
}

// collect reads the entry's probes of the chunks that the slab completed.
func (c *course) collect(k *calling, m hand) {
	p, d := c.plan, c.desc
	for i := range p.Loops {
		for t := range d.Turns[i] {
			if !d.Done[d.First[i]+t] {
				continue
			}
			for _, shown := range k.probes {
				if shown.loop == i {
					bits := binary.LittleEndian.Uint32(m.view(shown.buffer)[4*t:])
					c.probes = append(c.probes, Probe{shown.name, c.chunks[i], math.Float32frombits(bits)})
				}
			}
			c.chunks[i]++
		}
	}
}

// Pos is the number of rows read.
func (c *course) Pos() int64 { return c.pos }

// StateBytes is the capacity of all states.
func (c *course) StateBytes() int64 {
	n := int64(0)
	for i := range c.states {
		n += c.states[i].bytes
	}
	return n
}

// Probes are the last call's.
func (c *course) Probes() []Probe { return c.probes }
