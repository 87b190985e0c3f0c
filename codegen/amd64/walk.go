package amd64

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/plan"
)

// The layout of plan.NativeStep and plan.NativeBarrier, in bytes.
const (
	stepBytes   = 64
	stepKind    = 0
	stepFn      = 8
	stepBufs    = 16
	stepSlots   = 24
	stepA       = 32
	stepB       = 40
	stepBody    = 48
	barArrived  = 0
	barRound    = 64
	barMain     = 128 // Claimed; Done is a line behind it
	barSide     = 256
	barPieces   = 384
	barLine     = 64
	spins       = 512 // pauses before a waiting worker gives up its processor
	walkThrough = "memc.steps"
	walkBeside  = "memc.beside"
)

// walk emits
//
//	void walk(const NativeStep *steps, int64 count, const int64 *records, int64 record_len,
//	          void *scratch, int64 worker, int64 workers, NativeBarrier *barrier)
//
// and the two functions it consists of, and work, which calls walks. Each runs steps [from, to) with one record
// and calls itself for the bodies of Repeat and If: one launches with a barrier
// behind each launch that is not open, the other (beside.go) what stands in a Beside.
func (m *module) walk() {
	run := &runner{module: m}
	run.barrier()
	run.take()
	run.finish()
	beside := run.steps(walkBeside, nil)
	through := run.steps(walkThrough, beside)

	outer := parameters("steps", "count", "records", "record.len", "scratch", "worker", "workers", "barrier")
	g := m.newFunc(walkName, types.Void, outer...)
	counts := ir.NewAlloca(types.NewArray(2, i64))
	g.emit(counts)
	at := ir.NewBitCast(counts, bytePtr)
	g.emit(at)
	g.store(c64(0), at, c64(mainCount))
	g.store(c64(0), at, c64(sideCount))
	g.call(through, outer[0], c64(0), outer[1], outer[2], outer[3], outer[2], outer[4], outer[5], outer[6], outer[7],
		at, constant.NewNull(bytePtr), constant.NewNull(bytePtr))
	g.ret()
	m.work(g.f.Sig)
}

// parameters are a function's, by name: pointers and integers.
func parameters(names ...string) []*ir.Param {
	var ps []*ir.Param
	for _, n := range names {
		t := types.Type(i64)
		switch n {
		case "steps", "step", "records", "record", "scratch", "barrier", "counts", "side", "side.record", "line":
			t = bytePtr
		}
		ps = append(ps, ir.NewParam(n, t))
	}
	return ps
}

// runner is the functions that walk is made of.
type runner struct {
	*module
	wait          *ir.Func // barrier
	taking, ready *ir.Func // beside.go
}

// steps emits the function that runs steps [from, to). It runs a Beside by the
// function beside; without one it is that function.
func (r *runner) steps(name string, beside *ir.Func) *ir.Func {
	p := parameters("steps", "from", "to", "records", "record.len", "record", "scratch", "worker", "workers", "barrier", "counts", "side", "side.record")
	steps, from, to, records, length, record, scratch, worker, workers, barrier, counts, side, sideRecord := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12]
	f := r.newFunc(name, types.Void, p...)
	f.private()
	again := func(g *ir.Func, from, to, record, side, sideRecord value.Value) {
		f.call(g, steps, from, to, records, length, record, scratch, worker, workers, barrier, counts, side, sideRecord)
	}
	head, body, done := f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	entry := f.cur
	entry.Term = ir.NewBr(head)
	f.cur = head
	i := ir.NewPhi(ir.NewIncoming(from, entry))
	f.emit(i)
	head.Term = ir.NewCondBr(f.icmp(enum.IPredSLT, i, to), body, done)
	f.cur = body
	step := f.at(steps, f.mul(i, c64(stepBytes)))
	field := func(off int64) value.Value { return f.load(i64, step, c64(off)) }
	slot := func(rec, n value.Value) value.Value { return f.load(i64, rec, f.mul(n, c64(8))) }
	kind := field(stepKind)
	next := f.add(i, c64(1))
	after := f.add(next, field(stepBody))
	is := func(k plan.Kind) value.Value { return f.icmp(enum.IPredEQ, kind, c64(int64(k))) }

	launch, other := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(is(plan.Launch), launch, other)
	f.cur = launch
	if beside != nil {
		place := field(stepB)
		pieces := f.at(f.at(barrier, c64(barPieces)), f.mul(place, c64(8*plan.OpenParts)))
		f.launch(step, record, scratch, worker, workers, f.choose(f.icmp(enum.IPredSLT, place, c64(0)), constant.NewNull(bytePtr), pieces))
		f.when(f.icmp(enum.IPredEQ, field(stepA), c64(0)), func() { f.call(r.wait, barrier, workers) })
	} else {
		f.call(r.ready, step, record, scratch, workers, barrier, counts, side, sideRecord)
	}
	launched := f.cur
	launched.Term = ir.NewBr(head)
	i.Incs = append(i.Incs, ir.NewIncoming(next, launched))
	f.cur = other

	alone := f.f.NewBlock("") // runs the body once, with the current record
	var fewer *ir.Block
	if beside != nil {
		together, apart, rest := f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
		f.cur.Term = ir.NewCondBr(is(plan.Beside), together, rest)
		f.cur = together
		enough := f.f.NewBlock("")
		together.Term = ir.NewCondBr(f.icmp(enum.IPredSGE, workers, field(stepA)), enough, apart)
		f.cur = enough
		f.beside(r, f.at(steps, f.mul(next, c64(stepBytes))), record, scratch, worker, workers, barrier, counts, func(side value.Value) {
			again(beside, f.add(next, c64(1)), after, record, side, record)
		})
		i.Incs = append(i.Incs, ir.NewIncoming(after, f.cur))
		f.cur.Term = ir.NewBr(head)
		apart.Term = ir.NewBr(alone)
		fewer = apart
		f.cur = rest
	}
	// Repeat reads its first record and number of turns in record 0; If is a
	// repetition of no or one turn with the current record.
	repeat, cond, run := f.f.NewBlock(""), f.f.NewBlock(""), alone
	f.cur.Term = ir.NewCondBr(is(plan.Repeat), repeat, cond)
	f.cur = repeat
	first := f.at(records, f.mul(f.mul(slot(records, field(stepA)), length), c64(8)))
	turns := slot(records, field(stepB))
	repeat.Term = ir.NewBr(run)
	f.cur = cond
	once := f.convert(zext, f.icmp(enum.IPredNE, slot(record, field(stepA)), c64(0)), i64)
	cond.Term = ir.NewBr(run)
	f.cur = run
	base := ir.NewPhi(ir.NewIncoming(first, repeat), ir.NewIncoming(record, cond))
	n := ir.NewPhi(ir.NewIncoming(turns, repeat), ir.NewIncoming(once, cond))
	if fewer != nil {
		base.Incs = append(base.Incs, ir.NewIncoming(record, fewer))
		n.Incs = append(n.Incs, ir.NewIncoming(c64(1), fewer))
	}
	f.emit(base)
	f.emit(n)
	f.count(c64(0), n, 1, func(t value.Value) {
		again(f.f, next, after, f.at(base, f.mul(f.mul(t, length), c64(8))), side, sideRecord)
	})
	ran := f.cur
	ran.Term = ir.NewBr(head)
	i.Incs = append(i.Incs, ir.NewIncoming(after, ran))
	f.cur = done
	f.ret()
	return f.f
}

// launch runs the share of a worker, one of so many, of a launch's blocks, and
// what it claims of others' (pieces.go), unless claimed is null.
func (f *fn) launch(step, record, scratch, worker, workers, claimed value.Value) {
	word, bufs := types.NewPointer(i64), types.NewPointer(bytePtr)
	sig := types.NewFunc(types.Void, bufs, word, word, bytePtr, i64, i64, bytePtr)
	pointer := func(off int64, t types.Type) value.Value {
		c := ir.NewIntToPtr(f.load(i64, step, c64(off)), t)
		f.emit(c)
		return c
	}
	rec := ir.NewBitCast(record, word)
	f.emit(rec)
	fn := pointer(stepFn, types.NewPointer(sig))
	f.emit(ir.NewCall(fn, pointer(stepBufs, bufs), pointer(stepSlots, word), rec, scratch, worker, workers, claimed))
}

// barrier emits the function in which workers wait for each other. The last to
// arrive begins the next round; the others watch the round, pausing, and give
// up the processor now and then.
func (r *runner) barrier() {
	bar, n := ir.NewParam("barrier", bytePtr), ir.NewParam("workers", i64)
	f := r.newFunc("memc.wait", types.Void, bar, n)
	f.private()
	several, alone := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredSGT, n, c64(1)), several, alone)
	f.cur = alone
	f.ret()
	f.cur = several
	arrived, round := f.at(bar, c64(barArrived)), f.at(bar, c64(barRound))
	look := func() value.Value { return f.loadAtomic(round) }
	put := func(p, v value.Value, o enum.AtomicOrdering) {
		s := ir.NewStore(v, f.typed(p, i64))
		s.Atomic, s.Ordering, s.Align = true, o, 8
		f.emit(s)
	}
	now := look()
	rmw := f.addAtomic(arrived, c64(1), enum.AtomicOrderingAcquireRelease)
	last, spin := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredEQ, rmw, f.sub(n, c64(1))), last, spin)
	f.cur = last
	put(arrived, c64(0), enum.AtomicOrderingMonotonic)
	for i := range int64(plan.OpenLaunches * plan.OpenParts) {
		put(f.at(bar, c64(barPieces+8*i)), c64(0), enum.AtomicOrderingMonotonic)
	}
	put(round, f.add(now, c64(1)), enum.AtomicOrderingRelease)
	f.ret()

	f.cur = spin
	f.spin(func() value.Value { return f.icmp(enum.IPredNE, look(), now) }, nil)
	f.ret()
	r.wait = f.f
}

// spin waits until there is what it waits for, pausing, and gives up the processor
// now and then. other, where given, is asked for other work before each pause: it
// tells whether it has done some.
func (f *fn) spin(there func() value.Value, other func() value.Value) {
	before, look, free, again := f.cur, f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	before.Term = ir.NewBr(look)
	f.cur = look
	i := ir.NewPhi(ir.NewIncoming(c64(0), before))
	f.emit(i)
	yes := there()
	f.cur.Term = ir.NewCondBr(yes, free, again)
	f.cur = again
	if other != nil {
		pause := f.f.NewBlock("")
		worked := other()
		f.cur.Term = ir.NewCondBr(worked, look, pause)
		i.Incs = append(i.Incs, ir.NewIncoming(c64(0), f.cur))
		f.cur = pause
	}
	f.asm(types.Void, "pause", "~{memory}")
	more := f.add(i, c64(1))
	give, back := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredEQ, f.bin(and, more, c64(spins-1)), c64(0)), give, back)
	f.cur = give
	f.yield()
	give.Term = ir.NewBr(back)
	back.Term = ir.NewBr(look)
	i.Incs = append(i.Incs, ir.NewIncoming(more, back))
	f.cur = free
}

// loadAtomic reads a counter and sees what was stored before it was counted up.
func (f *fn) loadAtomic(at value.Value) value.Value {
	l := ir.NewLoad(i64, f.typed(at, i64))
	l.Atomic, l.Ordering, l.Align = true, enum.AtomicOrderingAcquire, 8
	f.emit(l)
	return l
}

// addAtomic adds to a counter and gives what it was.
func (f *fn) addAtomic(at, n value.Value, order enum.AtomicOrdering) value.Value {
	rmw := ir.NewAtomicRMW(enum.AtomicOpAdd, f.typed(at, i64), n, order)
	f.emit(rmw)
	return rmw
}

func (f *fn) asm(ret types.Type, text, constraints string, args ...value.Value) {
	ts := make([]types.Type, len(args))
	for i, a := range args {
		ts[i] = a.Type()
	}
	a := ir.NewInlineAsm(types.NewPointer(types.NewFunc(ret, ts...)), text, constraints)
	a.SideEffect = true
	f.emit(ir.NewCall(a, args...))
}
