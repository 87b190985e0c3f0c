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
	for i := range m.states {
		from, to := &m.states[i], &f.states[i]
		if err := f.reserve(to, from.rows); err != nil {
			return nil, err
		}
		to.rows = from.rows
		copy(to.memory(), from.memory())
	}
	f.pos = m.pos
	copy(f.chunks, m.chunks)
	copy(f.desc.Lens, m.desc.Lens)
	return f, nil
}

// dims is the state's shape with the rows that it has now.
func (m *machine) dims(s *state) []int {
	d := slices.Clone(m.engine.plan.Buffers[s.buffer].Dims)
	if s.grow != nil {
		d[0] = int(s.rows)
	}
	return d
}

// State copies the states into row-major tensors.
func (m *machine) State() (*State, error) {
	p := m.engine.plan
	st := &State{Pos: m.pos, Ints: map[string]int64{}, Tensors: map[string]Tensor{}}
	for i, name := range p.LengthNames() {
		st.Ints[lengthInt+name] = m.desc.Lens[i]
	}
	for i := range p.Loops {
		st.Ints[chunksInt+p.Loops[i].Name] = m.chunks[i]
	}
	for i := range m.states {
		s := &m.states[i]
		b := &p.Buffers[s.buffer]
		d := m.dims(s)
		e, shape, l := saved(b, d)
		st.Tensors[b.Name] = Tensor{Elem: e, Shape: shape, Data: unpack(l, s.memory())}
	}
	return st, nil
}

// fits refuses a state whose numbers do not go together: the code trusts its
// lengths, and a position far behind the rows that a growing state has would ask
// for as much memory as it likes.
func (m *machine) fits(st *State) error {
	p := m.engine.plan
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
	held := slices.Clone(m.desc.Lens)
	defer copy(m.desc.Lens, held)
	copy(m.desc.Lens, lens)
	if err := m.desc.Describe(st.Pos-1, 1); err != nil {
		return err
	}
	for i := range m.states {
		s := &m.states[i]
		if s.grow == nil {
			continue
		}
		b := &p.Buffers[s.buffer]
		need, err := m.desc.Value(s.grow)
		if err != nil {
			return fmt.Errorf("the state %s: %w", b.Name, err)
		}
		if rows := st.Tensors[b.Name].Shape[0]; need > int64(rows) {
			return fmt.Errorf("the tensor %s has %d rows; a stream at position %d has %d", b.Name, rows, st.Pos, need)
		}
	}
	return nil
}

// SetState checks everything, then copies.
func (m *machine) SetState(st *State) error {
	p := m.engine.plan
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
	if len(st.Tensors) != len(m.states) {
		return fmt.Errorf("the state has %d tensors, the program has %d", len(st.Tensors), len(m.states))
	}
	for i := range m.states {
		s := &m.states[i]
		b := &p.Buffers[s.buffer]
		t, ok := st.Tensors[b.Name]
		if !ok {
			return fmt.Errorf("the state lacks the tensor %s", b.Name)
		}
		if err := t.Check(); err != nil {
			return fmt.Errorf("the tensor %s: %w", b.Name, err)
		}
		e, want, _ := saved(b, m.dims(s))
		if s.grow != nil && len(t.Shape) == len(want) {
			want[0] = max(t.Shape[0], b.Dims[0])
		}
		if t.Elem != e || !slices.Equal(t.Shape, want) {
			return fmt.Errorf("the tensor %s is %s %v, the program's is %s %v", b.Name, t.Elem, t.Shape, e, want)
		}
	}
	if err := m.fits(st); err != nil {
		return err
	}
	for i := range m.states { // room first: what fails leaves the values alone
		s := &m.states[i]
		if s.grow != nil {
			if err := m.reserve(s, int64(st.Tensors[p.Buffers[s.buffer].Name].Shape[0])); err != nil {
				return err
			}
		}
	}
	for i := range m.states {
		s := &m.states[i]
		b := &p.Buffers[s.buffer]
		t := st.Tensors[b.Name]
		if s.grow != nil {
			s.rows = int64(t.Shape[0])
		}
		_, _, l := saved(b, m.dims(s))
		pack(l, s.memory(), t.Data)
	}
	for i, name := range p.LengthNames() {
		m.desc.Lens[i] = st.Ints[lengthInt+name]
	}
	for i := range p.Loops {
		m.chunks[i] = st.Ints[chunksInt+p.Loops[i].Name]
	}
	m.pos = st.Pos
	return nil
}

var _ Machine = (*machine)(nil)
var _ Engine = (*native)(nil)
