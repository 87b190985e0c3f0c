package runtime

import (
	"context"
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/cuda"
	"github.com/memc-lang/memc/runtime/memory"
)

// gpuBatch runs machines of one GPU at once: each launch has a row of CTAs for
// each of them. A row's table entry says where the machine's buffers are and
// which record it reads, 0 where the launch is not for it: machines may differ in
// the turns of their loops and in what they complete.
type gpuBatch struct {
	engine   *gpu
	machines []*gpuMachine
	stream   *cuda.Stream
	mail     *mail // its first bytes are all machines' records
	records  *cuda.Memory
	scratch  *cuda.Memory
	table    *cuda.Memory
	rows     []int64 // of the call under way, for each machine
	slabs    []int64 // of the slab under way; 0: the machine has no part in it

	turns  []launching // of the slab under way; all records 0
	recs   []int64     // of each of the turns, each machine's record or -1
	levels [][]int64   // records in loops and conditions, by depth
	at     []int64     // where each machine's records begin, in bytes
	host   []int64     // the table
	was    batchTable  // what host was written for
	graphs graphs
	args   [4]uint64
}

// batchTable is what the table depends on.
type batchTable struct {
	entry  int
	turns  []launching
	recs   []int64
	at     []int64
	places int
}

// mostBatch is the most rows of CTAs in a grid (CUDA C++ Programming Guide,
// "Technical Specifications per Compute Capability").
const mostBatch = 65535

// gather joins machines.
func (e *gpu) gather(machines []Machine) (together, error) {
	if len(machines) > mostBatch {
		return nil, fmt.Errorf("a batch of %d sessions: at most %d", len(machines), mostBatch)
	}
	if err := e.device.Enter(); err != nil {
		return nil, err
	}
	defer e.device.Leave()
	n := len(machines)
	b := &gpuBatch{engine: e, machines: make([]*gpuMachine, n), rows: make([]int64, n), slabs: make([]int64, n), at: make([]int64, n)}
	for i, m := range machines {
		b.machines[i] = m.(*gpuMachine)
	}
	first := b.machines[0]
	records, scratch := int64(n)*int64(cap(first.desc.Records))*8, int64(0)
	for _, k := range e.kernels {
		scratch = max(scratch, int64(b.ctas(k))*int64(n)*k.scratch)
	}
	if err := e.device.Room(records+scratch, "a batch"); err != nil {
		return nil, lacking(err)
	}
	var err error
	if b.records, err = e.device.Alloc(records, "a batch's records"); err != nil {
		return nil, lacking(err)
	}
	if b.scratch, err = e.device.Alloc(scratch, "a batch's scratch"); err != nil {
		return nil, lacking(err)
	}
	if b.stream, err = e.device.NewStream(); err != nil {
		return nil, err
	}
	b.mail, err = newMail(e.device, b.stream, records, min(mostMail, int64(n)*first.traffic()+1<<20))
	return b, err
}

// ctas is how many CTAs of a kernel a machine has: all machines' together are as
// many as run at once, so that they go through the same weights at the same time.
func (b *gpuBatch) ctas(k *gpuKernel) int { return (k.ctas + len(b.machines) - 1) / len(b.machines) }

// run feeds every machine, a slab at a time.
func (b *gpuBatch) run(ctx context.Context, entry int, in, out [][]Tensor) error {
	if err := b.engine.device.Enter(); err != nil {
		return err
	}
	defer b.engine.device.Leave()
	for i, m := range b.machines {
		var err error
		if b.rows[i], err = m.start(entry, in[i], out[i]); err != nil {
			return fmt.Errorf("session %d of the batch: %w", i, err)
		}
	}
	for {
		left := false
		for i, m := range b.machines {
			b.slabs[i] = 0
			if m.done.rows == b.rows[i] {
				continue
			}
			left = true
			var err error
			if b.slabs[i], err = m.describe(m, entry, b.rows[i]); err != nil {
				return fmt.Errorf("session %d of the batch: %w", i, err)
			}
		}
		if !left {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("in a batch: %w", err)
		}
		if err := b.slab(entry, in, out); err != nil {
			b.mail.drop()
			b.was.places = 0 // the table may not have arrived
			return err
		}
		for i, m := range b.machines {
			if b.slabs[i] > 0 {
				m.finish(m, entry, b.slabs[i])
			}
		}
	}
}

// slab runs the described rows of the machines that have any.
func (b *gpuBatch) slab(entry int, in, out [][]Tensor) error {
	pe := &b.engine.plan.Entries[entry]
	total := int64(0)
	for i, m := range b.machines {
		b.at[i] = total
		if b.slabs[i] > 0 {
			total += int64(copy(b.mail.pinned.Bytes()[total:], memory.Raw(m.desc.Records)))
		}
	}
	if err := b.stream.CopyIn(b.records.Addr, b.mail.pinned, 0, total); err != nil {
		return err
	}
	if err := b.tabulate(entry); err != nil {
		return err
	}
	for i, m := range b.machines {
		if b.slabs[i] == 0 {
			continue
		}
		for p := range in[i] {
			piece, err := m.pieceIn(pe, &m.calls[entry], p, in[i])
			if err == nil {
				err = b.mail.send(m.addr[pe.Inputs[p].Buffer], piece)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := b.launches(entry); err != nil {
		return err
	}
	for i, m := range b.machines {
		if b.slabs[i] == 0 {
			continue
		}
		for p := range out[i] {
			piece, err := m.pieceOut(pe, &m.calls[entry], p, out[i])
			if err == nil {
				err = b.mail.fetch(piece, m.addr[pe.Outputs[p].Buffer])
			}
			if err != nil {
				return err
			}
		}
		if err := m.fetchProbes(&m.calls[entry], b.mail); err != nil {
			return err
		}
	}
	if err := b.mail.settle("run its kernels"); err != nil {
		return fmt.Errorf("%s: %w", pe.Name, err)
	}
	return nil
}

// unroll lists the launches of the slab: all that any machine needs, in the
// order of the steps. records has each machine's record, -1 where the steps are
// not for it.
func (b *gpuBatch) unroll(e *gpuEntry, from, to, depth int, records []int64) {
	for len(b.levels) <= depth {
		b.levels = append(b.levels, make([]int64, len(b.machines)))
	}
	inner := b.levels[depth]
	for i := from; i < to; {
		s := &e.steps[i]
		switch s.kind {
		case plan.Launch:
			b.turns = append(b.turns, launching{step: int32(i)})
			b.recs = append(b.recs, records...)
		case plan.Repeat:
			for t := int64(0); ; t++ {
				if !b.those(inner, records, func(m *gpuMachine, _ int64) (int64, bool) {
					return m.desc.First[s.loop] + t, t < m.desc.Turns[s.loop]
				}) {
					break
				}
				b.unroll(e, i+1, i+1+s.body, depth+1, inner)
			}
		case plan.If:
			if b.those(inner, records, func(m *gpuMachine, r int64) (int64, bool) {
				return r, m.desc.Records[r*int64(m.plan.Record)+s.cond] != 0
			}) {
				b.unroll(e, i+1, i+1+s.body, depth+1, inner)
			}
		case plan.Beside:
			b.unroll(e, i+1, i+1+s.body, depth, records)
		}
		i += 1 + s.body
	}
}

// those fills to with the records of the machines that take part, and reports
// whether any does.
func (b *gpuBatch) those(to, records []int64, which func(m *gpuMachine, record int64) (int64, bool)) bool {
	some := false
	for y, m := range b.machines {
		to[y] = -1
		if records[y] < 0 {
			continue
		}
		if r, ok := which(m, records[y]); ok {
			to[y], some = r, true
		}
	}
	return some
}

// tabulate writes the launches' rows and copies them to the GPU, unless they are
// those of the slab before.
func (b *gpuBatch) tabulate(entry int) error {
	e := &b.machines[0].entries[entry]
	b.turns, b.recs = b.turns[:0], b.recs[:0]
	if len(b.levels) == 0 {
		b.levels = append(b.levels, make([]int64, len(b.machines)))
	}
	places := 0
	for y, m := range b.machines {
		places += m.places
		b.levels[0][y] = 0
		if b.slabs[y] == 0 {
			b.levels[0][y] = -1
		}
	}
	b.unroll(e, 0, len(e.steps), 1, b.levels[0])
	if w := &b.was; b.table != nil && w.entry == entry && w.places == places && slices.Equal(w.at, b.at) && slices.Equal(w.turns, b.turns) && slices.Equal(w.recs, b.recs) {
		return nil
	}
	b.host = b.host[:0]
	for l, t := range b.turns {
		for y, m := range b.machines {
			for _, buf := range e.steps[t.step].bufs {
				b.host = append(b.host, int64(m.addr[buf]))
			}
			record := int64(0)
			if r := b.recs[l*len(b.machines)+y]; r >= 0 {
				record = int64(b.records.Addr) + b.at[y] + 8*r*int64(m.plan.Record)
			}
			b.host = append(b.host, record)
		}
	}
	if bytes := int64(8 * len(b.host)); b.table == nil || b.table.Len < bytes {
		b.graphs.free() // they have the old table's address
		b.graphs = graphs{}
		b.table.Free()
		var err error
		if b.table, err = b.engine.device.Alloc(2*bytes, "a batch's table of buffers"); err != nil {
			b.table = nil
			return lacking(err)
		}
	}
	w := &b.was
	w.entry, w.places = entry, places
	w.at, w.turns, w.recs = append(w.at[:0], b.at...), append(w.turns[:0], b.turns...), append(w.recs[:0], b.recs...)
	return b.mail.send(b.table.Addr, memory.Raw(b.host))
}

// launches gives the slab's launches to the stream, as a graph where the same
// steps have come before.
func (b *gpuBatch) launches(entry int) error {
	first := b.machines[0]
	e := &first.entries[entry]
	if first.moved { // the slots are there
		if err := b.mail.send(first.words.Addr, memory.Raw(first.host)); err != nil {
			return err
		}
		first.moved = false
	}
	if first.options.Stepwise {
		return b.each(e, true)
	}
	g, capture := b.graphs.find(entry, b.turns)
	if capture {
		var err error
		if g, err = b.stream.Capture(func() error { return b.each(e, false) }); err != nil {
			return err
		}
		b.graphs.keep(entry, b.turns, g)
	}
	if g != nil {
		return b.stream.LaunchGraph(g)
	}
	return b.each(e, false)
}

// each launches the slab's kernels one after another, and waits for each where
// that is asked for.
func (b *gpuBatch) each(e *gpuEntry, wait bool) error {
	row := uint64(b.table.Addr)
	for _, t := range b.turns {
		s := &e.steps[t.step]
		slots := uint64(b.machines[0].words.Addr) + 8*uint64(s.word+len(s.bufs))
		b.args = [4]uint64{row, slots, 0, uint64(b.scratch.Addr)}
		row += 8 * uint64(len(b.machines)) * uint64(len(s.bufs)+1)
		if err := b.stream.Launch(s.kernel.Function, b.ctas(s.kernel), len(b.machines), &b.args); err != nil {
			return err
		}
		if wait {
			if err := b.stream.Wait("run the kernel " + s.kernel.Name + noted(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *gpuBatch) close() {
	if b.engine.device.Enter() != nil {
		return
	}
	defer b.engine.device.Leave()
	b.graphs.free()
	b.stream.Free()
	b.mail.free()
	for _, m := range []*cuda.Memory{b.records, b.scratch, b.table} {
		m.Free()
	}
}
