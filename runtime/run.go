package runtime

import (
	"context"
	"math/bits"
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
	m.team = m.lender.borrow(m.engine)
	defer func() {
		m.lender.giveBack(m.team)
		m.team = nil
	}()
	c := &m.team.call
	c.Walk, c.Records, c.Record, c.Barrier = m.engine.walk, m.records.Addr(0), int64(m.plan.Record), m.barrier.Addr(0)
	c.Scratch, c.Stride = m.scratch.Addr(page), m.stride()
	return m.run(ctx, m, number, in, out)
}

// page is where workers' scratch begins, each on pages of its own.
const page = 4096

// stride is the way from one worker's scratch to the next one's.
func (m *machine) stride() int64 {
	return (m.engine.scratch + plan.HostBytes + page - 1) &^ (page - 1)
}

// begin makes what the first call needs: workers' scratch and a barrier.
func (m *machine) begin() error {
	if m.lender != nil {
		return nil
	}
	workers := m.options.threads()
	scratch, err := memory.New(page + m.stride()*int64(workers))
	if err != nil {
		return err
	}
	barrier, err := memory.New(int64(unsafe.Sizeof(plan.NativeBarrier{})))
	if err != nil {
		return err
	}
	scratch.Huge()
	m.scratch, m.barrier = scratch, barrier
	for i := range int64(workers) {
		memory.View[int64](scratch, page+i*m.stride()-plan.HostBytes, 1)[0] = host().Ahead
	}
	m.lender = join(workers)
	m.left = goruntime.AddCleanup(m, (*lender).leave, m.lender)
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
		took := &e.took[bits.Len64(uint64(m.desc.Records[1]))]
		*took = m.team.run(*took)
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
