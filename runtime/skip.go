package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
)

// Points of a stream, for programs that time what happens there.

// Mark is a point of a stream that Session.Rewind leads back to.
type Mark struct {
	machine Machine
	point   *point
	state   *State // of machines that are no walker
}

// walker is a machine that can be moved along its stream without a copy of all
// its state.
type walker interface {
	mark() (*point, error)
	rewind(*point) error
	skip(ctx context.Context, pos, more int64, seed uint64) error
}

// Mark remembers where the stream is. It copies what later rows change; the rows
// that the stream keeps for ever stay where they are, so that the mark holds for
// this session alone.
func (s *Session) Mark() (*Mark, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.busy.Unlock()
	k, err := &Mark{machine: s.machine}, error(nil)
	if w, ok := s.machine.(walker); ok {
		k.point, err = w.mark()
	} else {
		k.state, err = s.machine.State()
	}
	return k, err
}

// Rewind leads back to where the session was marked: what it is fed then gives
// the same bits again.
func (s *Session) Rewind(k *Mark) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	if k.machine != s.machine {
		return errors.New("the mark is another session's")
	}
	if w, ok := s.machine.(walker); ok {
		return w.rewind(k.point)
	}
	return s.machine.SetState(k.state)
}

// Skip brings a stream that has read nothing to a position without reading the
// rows before it. All lengths and counters are those of a stream that has read
// them. The rows that it keeps for ever are drawn from the seed, normal with
// deviation 1, the first million elements again and again; what else it holds is
// what streams begin with. So it is for timing, which does not depend on values.
// There is room for so many rows more without growing. An error says how much
// memory is needed where that is not there.
func (s *Session) Skip(ctx context.Context, pos, more int64, seed uint64) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	w, ok := s.machine.(walker)
	switch {
	case !ok:
		return fmt.Errorf("a stream on %s reads every row: it cannot begin at position %d", s.program.target, pos)
	case s.machine.Pos() != 0:
		return fmt.Errorf("the stream is at position %d; only one that has read nothing can skip rows", s.machine.Pos())
	case pos < 1 || more < 0 || pos > math.MaxInt64/4 || more > math.MaxInt64/4:
		return fmt.Errorf("a stream cannot skip %d rows and have room for %d", pos, more)
	}
	return w.skip(ctx, pos, more, seed)
}

// point is where a course is: everything but the rows of growing states, which
// later rows leave alone.
type point struct {
	pos                int64
	chunks, lens, rows []int64  // rows: of each growing state
	fixed              [][]byte // the memory of each other one
}

// mark copies the point; read gives memory of state i that is the caller's.
func (c *course) mark(read func(i int) ([]byte, error)) (*point, error) {
	k := &point{pos: c.pos, chunks: slices.Clone(c.chunks), lens: slices.Clone(c.desc.Lens), rows: make([]int64, len(c.states)), fixed: make([][]byte, len(c.states))}
	for i := range c.states {
		if s := &c.states[i]; s.grow != nil {
			k.rows[i] = s.rows
			continue
		}
		var err error
		if k.fixed[i], err = read(i); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// rewind goes back to a point.
func (c *course) rewind(m hand, k *point) error {
	for i := range c.states {
		if s := &c.states[i]; s.grow != nil {
			s.rows = k.rows[i]
		} else if err := m.put(i, 0, k.fixed[i]); err != nil {
			return err
		}
	}
	c.pos = k.pos
	copy(c.chunks, k.chunks)
	copy(c.desc.Lens, k.lens)
	return nil
}

// skip goes to a position: see Session.Skip.
func (c *course) skip(ctx context.Context, m hand, pos, more int64, seed uint64) (err error) {
	lens, chunks := slices.Clone(c.desc.Lens), slices.Clone(c.chunks)
	defer func() {
		if err != nil {
			copy(c.desc.Lens, lens)
			copy(c.chunks, chunks)
		}
	}()
	if err := c.stride(ctx, pos); err != nil {
		return err
	}
	rows, err := c.needed()
	if err != nil {
		return err
	}
	room := rows
	if more > 0 {
		if err := c.desc.Describe(pos+more-1, 1); err != nil {
			return err
		}
		if room, err = c.needed(); err != nil {
			return err
		}
	}
	total := int64(0)
	for i := range c.states {
		if s := &c.states[i]; room[i] > s.room {
			_, bytes, err := c.wider(s, room[i])
			if err != nil {
				return err
			}
			total += bytes
		}
	}
	if err := m.spare(total, fmt.Sprintf("what the stream keeps of the %d rows before", pos)); err != nil {
		return err
	}
	for i := range c.states {
		s := &c.states[i]
		if s.grow == nil {
			continue
		}
		if room[i] > s.room {
			if err := m.reserve(i, room[i]); err != nil {
				return err
			}
		}
		if err := c.draw(m, i, rows[i], seed); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for i := range c.states {
		if s := &c.states[i]; s.grow != nil {
			s.rows = rows[i]
		}
	}
	c.pos = pos
	return nil
}

// stride counts what a stream carries from its start to a position.
func (c *course) stride(ctx context.Context, pos int64) error {
	for at := int64(0); at < pos; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(pos-at, int64(c.plan.Slab))
		if err := c.desc.Describe(at, n); err != nil {
			return err
		}
		for i := range c.chunks {
			for t := range c.desc.Turns[i] {
				if c.desc.Done[c.desc.First[i]+t] {
					c.chunks[i]++
				}
			}
		}
		copy(c.desc.Lens, c.desc.Next)
		at += n
	}
	return nil
}

// needed is how many rows the described slab needs of each growing state.
func (c *course) needed() ([]int64, error) {
	rows := make([]int64, len(c.states))
	for i := range c.states {
		if c.states[i].grow == nil {
			continue
		}
		var err error
		if rows[i], err = c.need(&c.states[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// few is how many elements of a state are drawn, or a few more: they are
// repeated, as memory is filled faster than numbers are drawn.
const few = 1 << 20

// draw fills the first rows of growing state i, where they are floating or codes.
func (c *course) draw(m hand, i int, rows int64, seed uint64) error {
	b := &c.plan.Buffers[c.states[i].buffer]
	if !b.Elem.Float() && !b.Elem.Quantised() {
		return nil
	}
	each := int64(1) // elements of a row
	for _, d := range b.Dims[1:] {
		each *= int64(max(d, 1))
	}
	unit := int64(max(b.Panel, 1)) // rows whose memory lies together in any case
	dims := slices.Clone(b.Dims)
	dims[0] = int(min(rows, (few/each/unit+1)*unit))
	size, err := plan.Bytes(b.Elem, dims, b.Panel)
	if err != nil {
		return err
	}
	j := job{read: drawReader(seed, b.Name, plan.Init{Kind: "normal", Scale: 1}), layout: layoutOf(b.Elem, dims, b.Panel), to: make([]byte, size), elem: b.Elem}
	j.codes = &coder{tensor: b.Name, elem: b.Elem, ks: j.layout.cols, read: j.read}
	var piece scratch
	for ; j.group < j.layout.groups(); j.group++ {
		if err := j.do(&piece); err != nil {
			return err
		}
	}
	all, err := rowsBytes(b, rows)
	if err != nil {
		return err
	}
	for at := int64(0); at < all; at += size {
		if err := m.put(i, at, j.to[:min(size, all-at)]); err != nil {
			return err
		}
	}
	return nil
}
