package runtime

import (
	"fmt"
	"maps"
	"slices"
)

// The names of a State's integers: carried lengths, and the chunks that each
// loop has completed.
const (
	lengthInt = "len."
	chunksInt = "chunks."
)

// Fork copies the states, row for row.
func (m *machine) Fork() (Machine, error) {
	f, err := m.engine.machine(m.weights, m.options)
	if err != nil {
		return nil, err
	}
	if err := f.follow(f, m.course); err != nil {
		return nil, err
	}
	for i := range m.states {
		copy(f.memory(i), m.memory(i))
	}
	return f, nil
}

// State copies the states into row-major tensors.
func (m *machine) State() (*State, error) {
	return m.save(func(i int) ([]byte, error) { return m.memory(i), nil })
}

// SetState checks everything, then copies.
func (m *machine) SetState(st *State) error {
	return m.restore(m, st, func(i int, l layout, rows []byte) error {
		pack(l, m.memory(i), rows)
		return nil
	})
}

// follow takes over where another course of the plan is, with room in m for the
// rows of its states.
func (c *course) follow(m hand, from *course) error {
	for i := range c.states {
		to, rows := &c.states[i], from.states[i].rows
		if rows > to.room {
			if err := m.reserve(i, rows); err != nil {
				return err
			}
		}
		to.rows = rows
	}
	c.pos = from.pos
	copy(c.chunks, from.chunks)
	copy(c.desc.Lens, from.desc.Lens)
	return nil
}

// dims is the state's shape with the rows that it has now.
func (c *course) dims(s *state) []int {
	d := slices.Clone(c.plan.Buffers[s.buffer].Dims)
	if s.grow != nil {
		d[0] = int(s.rows)
	}
	return d
}

// save gives the stream's state; read gives the memory of state i.
func (c *course) save(read func(i int) ([]byte, error)) (*State, error) {
	p := c.plan
	st := &State{Pos: c.pos, Ints: map[string]int64{}, Tensors: map[string]Tensor{}}
	for i, name := range p.LengthNames() {
		st.Ints[lengthInt+name] = c.desc.Lens[i]
	}
	for i := range p.Loops {
		st.Ints[chunksInt+p.Loops[i].Name] = c.chunks[i]
	}
	for i := range c.states {
		s := &c.states[i]
		b := &p.Buffers[s.buffer]
		e, shape, l := saved(b, c.dims(s))
		data, err := read(i)
		if err != nil {
			return nil, err
		}
		st.Tensors[b.Name] = Tensor{Elem: e, Shape: shape, Data: unpack(l, data)}
	}
	return st, nil
}

// fits refuses a state whose numbers do not go together: the code trusts its
// lengths, and a position far behind the rows that a growing state has would ask
// for as much memory as it likes.
func (c *course) fits(st *State) error {
	p := c.plan
	lens := make([]int64, p.Lengths())
	for i, r := range p.LengthRanges() {
		name := p.LengthNames()[i]
		lens[i] = st.Ints[lengthInt+name]
		if lens[i] < r.Lo || lens[i] > r.Hi {
			return fmt.Errorf("the state's %s%s is %d; it is from %d to %d", lengthInt, name, lens[i], r.Lo, r.Hi)
		}
	}
	for i := range p.Loops {
		name := chunksInt + p.Loops[i].Name
		if n := st.Ints[name]; n < 0 || n > st.Pos { // a chunk has a row at least
			return fmt.Errorf("the state's %s is %d, and %d rows have been read", name, n, st.Pos)
		}
	}
	if st.Pos == 0 {
		return nil
	}
	held := slices.Clone(c.desc.Lens)
	defer copy(c.desc.Lens, held)
	copy(c.desc.Lens, lens)
	if err := c.desc.Describe(st.Pos-1, 1); err != nil {
		return err
	}
	for i := range c.states {
		s := &c.states[i]
		if s.grow == nil {
			continue
		}
		b := &p.Buffers[s.buffer]
		need, err := c.desc.Value(s.grow)
		if err != nil {
			return fmt.Errorf("the state %s: %w", b.Name, err)
		}
		if rows := st.Tensors[b.Name].Shape[0]; need > int64(rows) {
			return fmt.Errorf("the tensor %s has %d rows; a stream at position %d has %d", b.Name, rows, st.Pos, need)
		}
	}
	return nil
}

// fitting refuses a state that has not the program's integers and tensors.
func (c *course) fitting(st *State) error {
	p := c.plan
	wanted := map[string]bool{}
	for _, name := range p.LengthNames() {
		wanted[lengthInt+name] = true
	}
	for i := range p.Loops {
		wanted[chunksInt+p.Loops[i].Name] = true
	}
	if !maps.EqualFunc(wanted, st.Ints, func(bool, int64) bool { return true }) {
		return fmt.Errorf("the state has the integers %q, the program has %q", slices.Sorted(maps.Keys(st.Ints)), slices.Sorted(maps.Keys(wanted)))
	}
	if len(st.Tensors) != len(c.states) {
		return fmt.Errorf("the state has %d tensors, the program has %d", len(st.Tensors), len(c.states))
	}
	for i := range c.states {
		s := &c.states[i]
		b := &p.Buffers[s.buffer]
		t, ok := st.Tensors[b.Name]
		if !ok {
			return fmt.Errorf("the state lacks the tensor %s", b.Name)
		}
		if err := t.Check(); err != nil {
			return fmt.Errorf("the tensor %s: %w", b.Name, err)
		}
		e, want, _ := saved(b, c.dims(s))
		if s.grow != nil && len(t.Shape) == len(want) {
			want[0] = max(t.Shape[0], b.Dims[0])
		}
		if t.Elem != e || !slices.Equal(t.Shape, want) {
			return fmt.Errorf("the tensor %s is %s %v, the program's is %s %v", b.Name, t.Elem, t.Shape, e, want)
		}
	}
	return nil
}

// restore checks everything, then takes the state over; write stores row-major
// elements in a layout as state i, which m has made room for.
func (c *course) restore(m hand, st *State, write func(i int, l layout, rows []byte) error) error {
	p := c.plan
	if err := c.fitting(st); err != nil {
		return err
	}
	if err := c.fits(st); err != nil {
		return err
	}
	for i := range c.states { // room first: what fails leaves the values alone
		s := &c.states[i]
		if s.grow != nil {
			if rows := int64(st.Tensors[p.Buffers[s.buffer].Name].Shape[0]); rows > s.room {
				if err := m.reserve(i, rows); err != nil {
					return err
				}
			}
		}
	}
	for i := range c.states {
		s := &c.states[i]
		b := &p.Buffers[s.buffer]
		t := st.Tensors[b.Name]
		if s.grow != nil {
			s.rows = int64(t.Shape[0])
		}
		_, _, l := saved(b, c.dims(s))
		if err := write(i, l, t.Data); err != nil {
			return err
		}
	}
	for i, name := range p.LengthNames() {
		c.desc.Lens[i] = st.Ints[lengthInt+name]
	}
	for i := range p.Loops {
		c.chunks[i] = st.Ints[chunksInt+p.Loops[i].Name]
	}
	c.pos = st.Pos
	return nil
}

var _ Machine = (*machine)(nil)
var _ Engine = (*native)(nil)
