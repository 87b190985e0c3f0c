package runtime

import (
	"context"
	goruntime "runtime"
	"unsafe"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// Run feeds the inputs, a slab at a time.
func (m *machine) Run(ctx context.Context, number int, in, out []Tensor) error {
	if _, err := m.build(number); err != nil {
		return err
	}
	if err := m.begin(); err != nil {
		return err
	}
	return m.run(ctx, m, number, in, out)
}

// begin makes what the first call needs: workers, their scratch, a barrier.
func (m *machine) begin() error {
	if m.team != nil {
		return nil
	}
	const page = 4096 // workers' scratch begins on pages of their own
	stride := (m.engine.scratch + plan.HostBytes + page - 1) &^ (page - 1)
	threads := m.options.threads()
	scratch, err := memory.New(page + stride*int64(threads))
	if err != nil {
		return err
	}
	barrier, err := memory.New(int64(unsafe.Sizeof(plan.NativeBarrier{})))
	if err != nil {
		return err
	}
	scratch.Huge()
	m.scratch, m.barrier = scratch, barrier
	for i := range int64(threads) {
		memory.View[int64](scratch, page+i*stride-plan.HostBytes, 1)[0] = host().Ahead
	}
	t := newTeam(m.engine.code, m.engine.walk, m.engine.work, threads)
	t.call.Records, t.call.Record, t.call.Barrier = m.records.Addr(0), int64(m.plan.Record), barrier.Addr(0)
	t.call.Scratch, t.call.Stride = scratch.Addr(page), stride
	m.team = t
	m.stop = goruntime.AddCleanup(m, (*team).stop, t)
	return nil
}

// slab runs the described rows.
func (m *machine) slab(number int, in, out []Tensor) error {
	pe, k, e := &m.plan.Entries[number], &m.calls[number], &m.entries[number]
	whole := apart(in, out)
	for i := range in {
		piece, err := m.pieceIn(pe, k, i, in)
		if err != nil {
			return err
		}
		buffer := pe.Inputs[i].Buffer
		if whole && e.ports.readOnly[i] && inPlace(piece) {
			e.bind(&e.ports.in[i], buffer, memory.Address(piece))
			continue
		}
		e.bind(&e.ports.in[i], buffer, m.addr[buffer])
		m.team.move(m.view(buffer), piece)
	}
	var copied [maxPorts][]byte // what the arena's outputs go to
	for i := range out {
		piece, err := m.pieceOut(pe, k, i, out)
		if err != nil {
			return err
		}
		buffer := pe.Outputs[i].Buffer
		if whole && e.ports.written[i] && inPlace(piece) {
			e.bind(&e.ports.out[i], buffer, memory.Address(piece))
			continue
		}
		e.bind(&e.ports.out[i], buffer, m.addr[buffer])
		copied[i] = piece
	}
	clear(memory.View[int64](m.barrier, 0, int(m.barrier.Len()/8)))
	if m.times != nil {
		m.timed(e, pe.Steps, 0, 0)
	} else {
		c := &m.team.call
		c.Steps, c.Count = e.region.Addr(0), e.count
		m.team.run()
	}
	goruntime.KeepAlive(m)
	goruntime.KeepAlive(in)
	for i := range out {
		m.team.move(copied[i], m.view(pe.Outputs[i].Buffer))
	}
	return nil
}

// view is the arena memory of a buffer.
func (m *machine) view(i int) []byte {
	b := &m.plan.Buffers[i]
	return m.arena.Bytes()[b.Offset:][:b.Bytes]
}
