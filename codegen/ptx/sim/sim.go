// Package sim runs PTX text on no GPU, for tests: it computes what a GPU would
// and reports what a GPU would not say.
//
// A program's text is read once (Parse) and its entries compiled. A launch
// (Run) runs its CTAs one after another, and a CTA's warps in turn from barrier
// to barrier, 32 lanes in lockstep with masks where branches divide them. What
// it knows is the part of the PTX ISA that kernels of this kind need: integer
// and f32 arithmetic, f16 and bf16 conversions and pairs, predicates, branches,
// barriers, shuffles and votes, vector loads and stores, shared and global
// memory, tables, ldmatrix, stmatrix, mma and cp.async. Anything else is an
// error of Parse that names the line.
//
// A fault ends the launch with an error that names the CTA, the thread and the
// line:
//
//   - a register without a value is read;
//   - an access lies outside an allocation or the CTA's shared memory, or is not
//     aligned for its size, a vector's for the vector's;
//   - shared memory that nothing has written in this CTA is read, or memory of
//     Memory.Fresh that nothing has written;
//   - threads race: see shadow.go for what is ordered;
//   - two CTAs of a launch write one byte, or one reads what another one writes;
//   - the destination of a cp.async is touched before its thread has waited for
//     it, or by another thread with no barrier behind that wait;
//   - lanes that must come together do not, or barriers can never open;
//   - a launch takes more steps than it may.
//
// Launch.Count counts what accesses of memory cost (traffic.go).
//
// Arithmetic is correctly rounded where the ISA says so; see float.go for
// approximations and matrix.go for sums in mma, which hardware may compute with
// other last bits.
package sim

import (
	"fmt"
	"math"
)

// Launch says how an entry is run.
type Launch struct {
	CTAs    int      // the grid, in x
	Rows    int      // the grid, in y; 0: 1
	Threads int      // of a CTA, in x
	Shared  int      // bytes of dynamic shared memory
	Args    []uint64 // of each parameter; a narrower one takes the lower bits
	Memory  *Memory
	Steps   int      // the most instructions of all warps together; 0: 1<<28
	Count   Traffics // where given, what accesses cost is added to it
}

// cta is a running CTA.
type cta struct {
	*Launch
	entry  *entry
	number int
	shared []byte
	seen   shadow
	warps  []*warp
	bars   [16]barrier
	steps  int
	start  uint32 // the epoch in which it began
	launch uint32 // and in which the launch did
}

// Run runs an entry. Its error is one in the launch (no such entry, too few
// arguments) or a fault; memory then holds what was stored before it.
func (p *Program) Run(name string, l Launch) error {
	e := p.entries[name]
	if e == nil {
		return fmt.Errorf("sim: no entry is called %s", name)
	}
	switch {
	case len(l.Args) != len(e.params):
		return fmt.Errorf("sim: %s takes %d arguments, not %d", name, len(e.params), len(l.Args))
	case l.Threads < 1 || l.Threads > 1024:
		return fmt.Errorf("sim: %s: a CTA has 1 to 1024 threads, not %d", name, l.Threads)
	case e.threads > 0 && (l.Threads > e.threads || e.exact && l.Threads < e.threads):
		return fmt.Errorf("sim: %s is launched with %d threads and declares %d", name, l.Threads, e.threads)
	case l.CTAs < 1 || l.CTAs > math.MaxInt32:
		return fmt.Errorf("sim: %s is launched with %d CTAs", name, l.CTAs)
	case l.Rows < 0 || l.Rows > math.MaxUint16:
		return fmt.Errorf("sim: %s is launched with %d rows of CTAs", name, l.Rows)
	case l.Shared < 0 || l.Shared > maxShared:
		return fmt.Errorf("sim: %s is launched with %d bytes of shared memory", name, l.Shared)
	case l.Memory == nil:
		return fmt.Errorf("sim: %s is launched without memory", name)
	}
	if l.Steps == 0 {
		l.Steps = 1 << 28
	}
	if l.Memory.epoch > math.MaxUint32/2 {
		for _, s := range l.Memory.segments {
			s.seen = shadow{}
		}
		l.Memory.epoch = 0
	}
	c := &cta{Launch: &l, entry: e, steps: l.Steps, launch: l.Memory.epoch + 1}
	c.shared = make([]byte, e.dynamic()+l.Shared)
	c.seen.shared = true
	for i := range (l.Threads + lanes - 1) / lanes {
		c.warps = append(c.warps, newWarp(c, i))
	}
	for c.number = range l.CTAs * max(l.Rows, 1) { // row by row
		if err := c.run(); err != nil {
			return fmt.Errorf("sim: %s, CTA %d, %w", name, c.number, err)
		}
	}
	return nil
}

// dynamic is where dynamic shared memory begins.
func (e *entry) dynamic() int { return (e.static + 127) &^ 127 }

// newWarp makes a warp with its constants in place.
func newWarp(c *cta, number int) *warp {
	f := &c.entry.file
	w := &warp{cta: c, code: c.entry.code, number: number}
	w.r32, w.r64, w.preds = make([][lanes]uint32, f.n32), make([][lanes]uint64, f.n64), make([]uint32, f.preds)
	w.set = make([]uint32, len(f.names))
	w.clock.known = make([]uint32, len(c.warps)+1)
	n := min(c.Threads-number*lanes, lanes)
	w.exist = allLanes >> (lanes - n)
	for _, k := range f.consts {
		v := k.value
		if t := k.table; t != nil {
			v += c.address(t)
		}
		w.hold(k.register, v)
	}
	for _, k := range f.params {
		w.hold(k.register, c.Args[k.value])
	}
	return w
}

// address is where a variable of the text lies: in shared memory an offset.
func (c *cta) address(t *table) uint64 {
	switch {
	case t.extern:
		return uint64(c.entry.dynamic())
	case t.shared:
		return uint64(t.offset)
	}
	return c.Memory.table(t)
}

// hold puts one value into all lanes of a register.
func (w *warp) hold(r register, v uint64) {
	switch r.class {
	case predicate:
		w.preds[r.index] = -uint32(v & 1)
	case bits64:
		for l := range w.r64[r.index] {
			w.r64[r.index][l] = v
		}
	default:
		for l := range w.r32[r.index] {
			w.r32[r.index][l] = uint32(v)
		}
	}
}

// begin puts a warp at the entry's first instruction.
func (w *warp) begin() {
	c, f := w.cta, &w.cta.entry.file
	clear(w.set)
	for _, list := range [][]constant{f.consts, f.params} {
		for _, k := range list {
			w.set[k.id] = allLanes
		}
	}
	for _, s := range f.specials {
		w.set[s.id] = allLanes
		for l := range lanes {
			w.r32[s.index][l] = specialNames[s.name](w, l)
		}
	}
	w.live, w.waits, w.err = w.exist, -1, nil
	w.splits = append(w.splits[:0], split{mask: w.exist})
	w.clock.now, w.clock.base, w.clock.lane = c.start, c.start, nil
	w.clock.known = w.clock.known[:0]
	for range c.warps {
		w.clock.known = append(w.clock.known, c.start)
	}
	w.eye = view{clock: &w.clock, warp: w.number, start: c.start, launch: c.launch}
	for l := range w.copies {
		w.copies[l].group, w.copies[l].pending = 0, w.copies[l].pending[:0]
	}
}

// run runs one CTA to its end.
func (c *cta) run() error {
	c.start = c.Memory.epoch + 1
	for i := range c.bars {
		c.bars[i].arrived, c.bars[i].waiting = 0, c.bars[i].waiting[:0]
	}
	for _, w := range c.warps {
		w.begin()
	}
	for {
		left, ran := 0, false
		for _, w := range c.warps {
			if len(w.splits) > 0 && w.waits < 0 {
				ran = true
				w.run()
				if w.err != nil {
					in := &c.entry.code[w.at]
					return fmt.Errorf("thread %d, line %d, %s: %w", w.number*lanes+w.lane, in.line, in.text, w.err)
				}
				if w.clock.now > math.MaxUint32-1<<20 {
					return fmt.Errorf("warp %d: it meets at too many barriers", w.number)
				}
				c.Memory.epoch = max(c.Memory.epoch, w.clock.now)
			}
			left += len(w.splits)
		}
		if left == 0 {
			return nil
		}
		if !ran {
			return c.stuck()
		}
	}
}

// stuck explains why no warp can go on.
func (c *cta) stuck() error {
	ended := 0
	for _, w := range c.warps {
		if len(w.splits) == 0 {
			ended++
		}
	}
	for _, w := range c.warps {
		if len(w.splits) > 0 {
			b, in := &c.bars[w.waits], &c.entry.code[w.at]
			return fmt.Errorf("thread %d, line %d, %s: it waits at barrier %d for %d warps of which %d come; %d warps have ended",
				w.number*lanes, in.line, in.text, w.waits, b.expects, b.arrived, ended)
		}
	}
	return nil
}
