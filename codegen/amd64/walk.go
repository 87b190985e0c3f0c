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
	spins       = 512 // pauses before a waiting worker gives up its processor
	schedYield  = 24  // the system call's number on Linux
	walkThrough = "memc.steps"
)

// walk emits
//
//	void walk(const NativeStep *steps, int64 count, const int64 *records, int64 record_len,
//	          void *scratch, int64 worker, int64 workers, NativeBarrier *barrier)
//
// and the function it consists of, which runs steps [from, to) with one record
// and calls itself for the bodies of Repeat and If.
func (m *module) walk() {
	params := func(names ...string) []*ir.Param {
		var ps []*ir.Param
		for _, n := range names {
			t := types.Type(i64)
			switch n {
			case "steps", "records", "record", "scratch", "barrier":
				t = bytePtr
			}
			ps = append(ps, ir.NewParam(n, t))
		}
		return ps
	}
	inner := params("steps", "from", "to", "records", "record.len", "record", "scratch", "worker", "workers", "barrier")
	f := m.newFunc(walkThrough, types.Void, inner...)
	f.private()
	f.stepLoop(inner)

	outer := params("steps", "count", "records", "record.len", "scratch", "worker", "workers", "barrier")
	g := m.newFunc(walkName, types.Void, outer...)
	g.call(f.f, outer[0], c64(0), outer[1], outer[2], outer[3], outer[2], outer[4], outer[5], outer[6], outer[7])
	g.ret()
}

func (f *fn) stepLoop(p []*ir.Param) {
	steps, from, to, records, length, record, scratch, worker, workers, barrier := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]
	wait := f.barrier(workers)
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

	launch, other := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredEQ, kind, c64(int64(plan.Launch))), launch, other)
	f.cur = launch
	word := types.NewPointer(i64)
	sig := types.NewFunc(types.Void, types.NewPointer(bytePtr), word, word, bytePtr, i64, i64)
	pointer := func(v value.Value, t types.Type) value.Value {
		c := ir.NewIntToPtr(v, t)
		f.emit(c)
		return c
	}
	rec := ir.NewBitCast(record, word)
	f.emit(rec)
	fnPtr := pointer(field(stepFn), types.NewPointer(sig))
	f.emit(ir.NewCall(fnPtr, pointer(field(stepBufs), types.NewPointer(bytePtr)), pointer(field(stepSlots), word), rec, scratch, worker, workers))
	f.call(wait, barrier, workers)
	launched := f.cur
	launched.Term = ir.NewBr(head)

	// Repeat reads its first record and number of turns in record 0; If is a
	// repetition of no or one turn with the current record.
	f.cur = other
	isRepeat := f.icmp(enum.IPredEQ, kind, c64(int64(plan.Repeat)))
	repeat, cond, run := f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(isRepeat, repeat, cond)
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
	f.emit(base)
	f.emit(n)
	f.count(c64(0), n, 1, func(t value.Value) {
		r := f.at(base, f.mul(f.mul(t, length), c64(8)))
		f.call(f.f, steps, next, after, records, length, r, scratch, worker, workers, barrier)
	})
	ran := f.cur
	ran.Term = ir.NewBr(head)
	i.Incs = append(i.Incs, ir.NewIncoming(next, launched), ir.NewIncoming(after, ran))
	f.cur = done
	f.ret()
}

// barrier emits the function in which workers wait for each other. The last to
// arrive begins the next round; the others watch the round, pausing, and give
// up the processor now and then.
func (m *module) barrier(workers value.Value) *ir.Func {
	bar, n := ir.NewParam("barrier", bytePtr), ir.NewParam("workers", i64)
	f := m.newFunc("memc.wait", types.Void, bar, n)
	f.private()
	several, alone := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredSGT, n, c64(1)), several, alone)
	f.cur = alone
	f.ret()
	f.cur = several
	arrived := f.typed(f.at(bar, c64(barArrived)), i64)
	round := f.typed(f.at(bar, c64(barRound)), i64)
	look := func() value.Value {
		l := ir.NewLoad(i64, round)
		l.Atomic, l.Ordering, l.Align = true, enum.AtomicOrderingAcquire, 8
		f.emit(l)
		return l
	}
	put := func(p, v value.Value, o enum.AtomicOrdering) {
		s := ir.NewStore(v, p)
		s.Atomic, s.Ordering, s.Align = true, o, 8
		f.emit(s)
	}
	now := look()
	rmw := ir.NewAtomicRMW(enum.AtomicOpAdd, arrived, c64(1), enum.AtomicOrderingAcquireRelease)
	f.emit(rmw)
	last, spin := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredEQ, rmw, f.sub(n, c64(1))), last, spin)
	f.cur = last
	put(arrived, c64(0), enum.AtomicOrderingMonotonic)
	put(round, f.add(now, c64(1)), enum.AtomicOrderingRelease)
	f.ret()

	f.cur = spin
	i := ir.NewPhi(ir.NewIncoming(c64(0), several))
	f.emit(i)
	again, free := f.f.NewBlock(""), f.f.NewBlock("")
	spin.Term = ir.NewCondBr(f.icmp(enum.IPredEQ, look(), now), again, free)
	f.cur = free
	f.ret()
	f.cur = again
	f.asm(types.Void, "pause", "~{memory}")
	more := f.add(i, c64(1))
	give, back := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredEQ, f.bin(and, more, c64(spins-1)), c64(0)), give, back)
	f.cur = give
	f.asm(i64, "syscall", "={rax},{rax},~{rcx},~{r11},~{memory}", constant.NewInt(i64, schedYield))
	give.Term = ir.NewBr(back)
	back.Term = ir.NewBr(spin)
	i.Incs = append(i.Incs, ir.NewIncoming(more, back))
	return f.f
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
