package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/cuda"
	"github.com/memc-lang/memc/runtime/memory"
)

// gpuMachine is a stream on a GPU. What kernels touch lies there; the host
// describes each slab in page-locked memory, from where the records are copied.
type gpuMachine struct {
	engine  *gpu
	weights *Weights
	options Options

	*course
	stream  *cuda.Stream
	mail    *mail // its first bytes are Describer.Records
	arena   *cuda.Memory
	fixed   *cuda.Memory // states that do not grow
	grown   []*cuda.Memory
	records *cuda.Memory
	scratch *cuda.Memory
	words   *cuda.Memory // the launches' arrays of addresses and of slots
	host    []int64      // the same here
	moved   bool         // host has changed since it was copied
	places  int          // how often place has run
	addr    []cuda.Addr  // of each buffer
	shown   [][]byte     // the last slab's probes, by buffer

	entries []gpuEntry
	turns   []launching // of the slab under way
	graphs  graphs
	args    [4]uint64 // of a launch
	times   []KernelTime
	before  *cuda.Event
	after   *cuda.Event
}

// NewMachine makes a stream whose states are at their start.
func (e *gpu) NewMachine(w *Weights, o Options) (Machine, error) {
	if err := e.device.Enter(); err != nil {
		return nil, err
	}
	defer e.device.Leave()
	m, err := e.machine(w, o)
	if err != nil {
		return nil, lacking(err)
	}
	start := w.packed.gpu.start.Addr
	if err := m.stream.Copy(m.fixed.Addr, start, e.fixed); err != nil {
		return nil, err
	}
	for i, g := range m.grown {
		if g != nil {
			if err := m.stream.Copy(g.Addr, start+cuda.Addr(e.image[i]), m.states[i].bytes); err != nil {
				return nil, err
			}
		}
	}
	return m, m.mail.settle("set the states to their start")
}

// machine makes one whose states hold anything.
func (e *gpu) machine(w *Weights, o Options) (*gpuMachine, error) {
	p := e.plan
	c, err := newCourse(p)
	if err != nil {
		return nil, err
	}
	m := &gpuMachine{engine: e, weights: w, options: o, course: c, grown: make([]*cuda.Memory, len(c.states)), addr: make([]cuda.Addr, len(p.Buffers)), shown: make([][]byte, len(p.Buffers))}
	records := int64(cap(m.desc.Records)) * 8
	m.build()
	words := int64(len(m.host)) * 8
	if err := e.device.Room(p.Arena+memory.Slack+e.whole+records+e.scratch+words, "a stream of the program"); err != nil {
		return nil, err
	}
	for _, a := range []struct {
		to    **cuda.Memory
		bytes int64
		what  string
	}{
		{&m.arena, p.Arena + memory.Slack, "a stream's arena"},
		{&m.fixed, e.fixed, "a stream's states"},
		{&m.records, records, "a stream's records"},
		{&m.scratch, e.scratch, "the kernels' scratch"},
		{&m.words, words, "the launches' arguments"},
	} {
		if *a.to, err = e.device.Alloc(a.bytes, a.what); err != nil {
			return nil, err
		}
	}
	for i := range m.states {
		s := &m.states[i]
		if s.grow != nil {
			if m.grown[i], err = e.device.Alloc(s.bytes+memory.Slack, "the state "+p.Buffers[s.buffer].Name); err != nil {
				return nil, err
			}
		}
	}
	if m.stream, err = e.device.NewStream(); err != nil {
		return nil, err
	}
	if m.mail, err = newMail(e.device, m.stream, records, min(mostMail, m.traffic()+words)); err != nil {
		return nil, err
	}
	m.desc.Records = m.mail.pinned.Values(0, cap(m.desc.Records))[:0]
	m.place()
	if o.Profile {
		m.times = make([]KernelTime, len(p.Kernels))
		for i, k := range p.Kernels {
			m.times[i].Kernel = k
		}
	}
	if m.before, err = e.device.NewEvent(); err != nil {
		return nil, err
	}
	m.after, err = e.device.NewEvent()
	return m, err
}

// traffic is the most bytes that a slab brings and takes.
func (m *gpuMachine) traffic() int64 {
	most := int64(0)
	for i := range m.plan.Entries {
		pe, n := &m.plan.Entries[i], int64(0)
		for _, ports := range [][]plan.Port{pe.Inputs, pe.Outputs} {
			for _, o := range ports {
				n += m.plan.Buffers[o.Buffer].Bytes + 16
			}
		}
		most = max(most, n)
	}
	return most + 1<<12
}

// place writes where each buffer is into the launches' arrays.
func (m *gpuMachine) place() {
	k := 0
	for i := range m.plan.Buffers {
		switch b := &m.plan.Buffers[i]; b.Class {
		case plan.Weight, plan.Table:
			m.addr[i] = m.weights.packed.gpu.weights.Addr + cuda.Addr(m.weights.packed.place[i])
		case plan.State:
			if m.grown[k] != nil {
				m.addr[i] = m.grown[k].Addr
			} else {
				m.addr[i] = m.fixed.Addr + cuda.Addr(m.engine.image[k])
			}
			k++
		default:
			m.addr[i] = m.arena.Addr + cuda.Addr(b.Offset)
		}
	}
	for e := range m.entries {
		for _, l := range m.entries[e].steps {
			for j, b := range l.bufs {
				m.host[l.word+j] = int64(m.addr[b])
			}
		}
	}
	m.moved = true
	m.places++
}

// Run feeds the inputs, a slab at a time.
func (m *gpuMachine) Run(ctx context.Context, number int, in, out []Tensor) error {
	if err := m.engine.device.Enter(); err != nil {
		return err
	}
	defer m.engine.device.Leave()
	return m.run(ctx, m, number, in, out)
}

// slab runs the described rows.
func (m *gpuMachine) slab(number int, in, out []Tensor) error {
	err := m.give(number, in, out)
	if err != nil {
		m.mail.drop()
	}
	return err
}

// give gives all of a slab to one stream, in order, and waits once.
func (m *gpuMachine) give(number int, in, out []Tensor) error {
	pe, k := &m.plan.Entries[number], &m.calls[number]
	if m.moved {
		if err := m.mail.send(m.words.Addr, memory.Raw(m.host)); err != nil {
			return err
		}
		m.moved = false
	}
	if err := m.stream.CopyIn(m.records.Addr, m.mail.pinned, 0, int64(8*len(m.desc.Records))); err != nil {
		return err
	}
	for i := range in {
		piece, err := m.pieceIn(pe, k, i, in)
		if err == nil {
			err = m.mail.send(m.addr[pe.Inputs[i].Buffer], piece)
		}
		if err != nil {
			return err
		}
	}
	if err := m.launches(number); err != nil {
		return err
	}
	for i := range out {
		piece, err := m.pieceOut(pe, k, i, out)
		if err == nil {
			err = m.mail.fetch(piece, m.addr[pe.Outputs[i].Buffer])
		}
		if err != nil {
			return err
		}
	}
	if err := m.fetchProbes(k, m.mail); err != nil {
		return err
	}
	if err := m.mail.settle("run its kernels"); err != nil {
		if m.options.Stepwise {
			return fmt.Errorf("%s: %w", pe.Name, err)
		}
		return fmt.Errorf("%s: %w (with Options.Stepwise, or --stepwise, the error names the kernel)", pe.Name, err)
	}
	goruntime.KeepAlive(m)
	return nil
}

// fetchProbes fetches the probes of loops of which a turn completes a chunk.
func (m *gpuMachine) fetchProbes(k *calling, by *mail) error {
	for _, p := range k.probes {
		any := false
		for t := range m.desc.Turns[p.loop] {
			any = any || m.desc.Done[m.desc.First[p.loop]+t]
		}
		if !any {
			continue
		}
		if m.shown[p.buffer] == nil {
			m.shown[p.buffer] = make([]byte, m.plan.Buffers[p.buffer].Bytes)
		}
		if err := by.fetch(m.shown[p.buffer], m.addr[p.buffer]); err != nil {
			return err
		}
	}
	return nil
}

func (m *gpuMachine) view(buffer int) []byte { return m.shown[buffer] }

// reserve gives a growing state room for so many rows.
func (m *gpuMachine) reserve(i int, rows int64) error {
	s := &m.states[i]
	b := &m.plan.Buffers[s.buffer]
	room, bytes, err := m.wider(s, rows)
	if err != nil {
		return err
	}
	to, err := m.engine.device.Alloc(bytes+memory.Slack, fmt.Sprintf("the state %s with %d rows", b.Name, room))
	if err != nil {
		return lacking(err)
	}
	if err := m.stream.Copy(to.Addr, m.grown[i].Addr, s.bytes); err != nil {
		return err
	}
	if b.From < 0 {
		rest := make([]byte, bytes-s.bytes)
		fill(rest, b.Elem, b.Fill)
		if err := m.mail.send(to.Addr+cuda.Addr(s.bytes), rest); err != nil {
			return err
		}
	}
	if err := m.mail.settle("move the state " + b.Name); err != nil {
		return err
	}
	m.grown[i].Free()
	m.grown[i], s.bytes, s.room = to, bytes, room
	m.place()
	return nil
}

// Fork copies the states within the GPU.
func (m *gpuMachine) Fork() (Machine, error) {
	if err := m.engine.device.Enter(); err != nil {
		return nil, err
	}
	defer m.engine.device.Leave()
	f, err := m.engine.machine(m.weights, m.options)
	if err != nil {
		return nil, lacking(err)
	}
	if err := f.follow(f, m.course); err != nil {
		return nil, err
	}
	if err := f.stream.Copy(f.fixed.Addr, m.fixed.Addr, m.engine.fixed); err != nil {
		return nil, err
	}
	for i, g := range m.grown {
		if g != nil {
			if err := f.stream.Copy(f.grown[i].Addr, g.Addr, min(m.states[i].bytes, f.states[i].bytes)); err != nil {
				return nil, err
			}
		}
	}
	return f, f.mail.settle("copy the states")
}

// State copies the states into row-major tensors.
func (m *gpuMachine) State() (*State, error) {
	if err := m.engine.device.Enter(); err != nil {
		return nil, err
	}
	defer m.engine.device.Leave()
	return m.save(m.fetchState)
}

// fetchState gives a copy of a state's memory.
func (m *gpuMachine) fetchState(i int) ([]byte, error) {
	s := &m.states[i]
	data := make([]byte, s.bytes)
	if err := m.mail.fetch(data, m.addr[s.buffer]); err != nil {
		return nil, err
	}
	return data, m.mail.settle("give its state")
}

func (m *gpuMachine) put(i int, at int64, bytes []byte) error {
	return m.mail.send(m.addr[m.states[i].buffer]+cuda.Addr(at), bytes)
}

func (m *gpuMachine) spare(bytes int64, what string) error {
	return lacking(m.engine.device.Room(bytes, what))
}

func (m *gpuMachine) mark() (*point, error) {
	if err := m.engine.device.Enter(); err != nil {
		return nil, err
	}
	defer m.engine.device.Leave()
	return m.course.mark(m.fetchState)
}

func (m *gpuMachine) rewind(k *point) error {
	if err := m.engine.device.Enter(); err != nil {
		return err
	}
	defer m.engine.device.Leave()
	if err := m.course.rewind(m, k); err != nil {
		return err
	}
	return m.mail.settle("go back to a mark")
}

func (m *gpuMachine) skip(ctx context.Context, pos, more int64, seed uint64) error {
	if err := m.engine.device.Enter(); err != nil {
		return err
	}
	defer m.engine.device.Leave()
	if err := m.course.skip(ctx, m, pos, more, seed); err != nil {
		return err
	}
	return m.mail.settle("fill the states")
}

// SetState checks everything, then copies.
func (m *gpuMachine) SetState(st *State) error {
	if err := m.engine.device.Enter(); err != nil {
		return err
	}
	defer m.engine.device.Leave()
	if err := m.restore(m, st, func(i int, l layout, rows []byte) error {
		s := &m.states[i]
		data := make([]byte, s.bytes)
		pack(l, data, rows)
		n := s.bytes
		if s.grow != nil {
			var err error
			if n, err = rowsBytes(&m.plan.Buffers[s.buffer], s.rows); err != nil {
				return err
			}
		}
		return m.mail.send(m.addr[s.buffer], data[:n])
	}); err != nil {
		return err
	}
	return m.mail.settle("take the state")
}

// Profile is the machine's part of Session.Profile.
func (m *gpuMachine) Profile() []KernelTime { return m.times }

// Close frees the memory.
func (m *gpuMachine) Close() {
	if m.engine.device.Enter() != nil {
		return // the context is lost, and with it what it held
	}
	defer m.engine.device.Leave()
	m.graphs.free()
	for _, e := range []*cuda.Event{m.before, m.after} {
		e.Free()
	}
	m.stream.Free()
	m.mail.free()
	for _, r := range append(m.grown, m.arena, m.fixed, m.records, m.scratch, m.words) {
		r.Free()
	}
}

var _ Machine = (*gpuMachine)(nil)
var _ Engine = (*gpu)(nil)
