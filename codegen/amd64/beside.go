package amd64

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Inside a plan.Beside there is no barrier. A launch is cut into pieces, each the
// share of one of so many workers; whoever is free claims the next one, and a
// launch is over when all its pieces are done, whoever is busy elsewhere. Who has
// to wait for that claims a piece of the side, the Beside's first step, instead.
// Which worker runs a block changes no result.
//
// Pieces are numbered through a whole walk, those of the side by themselves: a
// counter of NativeBarrier says how many are claimed, another how many are done.
// All workers take the same steps, so each knows by its own count (counts)
// which numbers are a launch's.

// Offsets in counts: the pieces of all launches so far, and of all sides.
const mainCount, sideCount = 0, 8

// Pieces of a launch for each worker. The side's are smaller, as others may come
// to wait for them.
const mainPieces, sidePieces = 2, 16

// take emits the function that claims one of the pieces that end before end, and
// runs it: it gives 1, or 0 where none is left. line has the two counters.
func (r *runner) take() {
	p := parameters("step", "record", "scratch", "end", "pieces", "line")
	step, record, scratch, end, pieces, line := p[0], p[1], p[2], p[3], p[4], p[5]
	f := r.newFunc("memc.take", i64, p...)
	f.private()
	look, try, got, none := f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewBr(look)
	f.cur = look
	at := f.loadAtomic(line)
	look.Term = ir.NewCondBr(f.icmp(enum.IPredSLT, at, end), try, none)
	f.cur = try
	swap := ir.NewCmpXchg(f.typed(line, i64), at, f.add(at, c64(1)), enum.AtomicOrderingAcquireRelease, enum.AtomicOrderingAcquire)
	f.emit(swap)
	ok := ir.NewExtractValue(swap, 1)
	f.emit(ok)
	try.Term = ir.NewCondBr(ok, got, look)
	f.cur = got
	// The last piece first: of fewer blocks than pieces, it has one.
	f.launch(step, record, scratch, f.sub(f.sub(end, c64(1)), at), pieces, constant.NewNull(bytePtr))
	f.addAtomic(f.at(line, c64(barLine)), c64(1), enum.AtomicOrderingAcquireRelease)
	f.cur.Term = ir.NewRet(c64(1))
	none.Term = ir.NewRet(c64(0))
	r.taking = f.f
}

// finish emits the function that runs a launch inside a Beside: all pieces that
// are left, and the side's while others finish theirs.
func (r *runner) finish() {
	p := parameters("step", "record", "scratch", "workers", "barrier", "counts", "side", "side.record")
	step, record, scratch, workers, barrier, counts, side, sideRecord := p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
	f := r.newFunc("memc.launch", types.Void, p...)
	f.private()
	pieces := f.mul(workers, c64(mainPieces))
	end := f.advanceCount(counts, mainCount, pieces)
	line := f.at(barrier, c64(barMain))
	f.takeAll(r, step, record, scratch, end, pieces, line)
	done := f.at(line, c64(barLine))
	f.spin(func() value.Value { return f.icmp(enum.IPredSGE, f.loadAtomic(done), end) }, func() value.Value {
		n := f.takeOne(r, side, sideRecord, scratch, f.load(i64, counts, c64(sideCount)), f.mul(workers, c64(sidePieces)), f.at(barrier, c64(barSide)))
		return f.icmp(enum.IPredNE, n, c64(0))
	})
	f.ret()
	r.ready = f.f
}

// beside runs a Beside whose first step is side. The last worker begins with a
// piece of it: where the side is the longest of all, it must not come last.
func (f *fn) beside(r *runner, side, record, scratch, worker, workers, barrier, counts value.Value, others func(side value.Value)) {
	pieces := f.mul(workers, c64(sidePieces))
	end := f.advanceCount(counts, sideCount, pieces)
	line := f.at(barrier, c64(barSide))
	f.when(f.icmp(enum.IPredEQ, f.add(worker, c64(1)), workers), func() { f.takeOne(r, side, record, scratch, end, pieces, line) })
	others(side)
	f.takeAll(r, side, record, scratch, end, pieces, line)
	done := f.at(line, c64(barLine))
	f.spin(func() value.Value { return f.icmp(enum.IPredSGE, f.loadAtomic(done), end) }, nil)
}

// advanceCount adds to one of counts, and gives the sum.
func (f *fn) advanceCount(counts value.Value, off int64, by value.Value) value.Value {
	end := f.add(f.load(i64, counts, c64(off)), by)
	f.store(end, counts, c64(off))
	return end
}

func (f *fn) takeOne(r *runner, step, record, scratch, end, pieces, line value.Value) value.Value {
	c := ir.NewCall(r.taking, step, record, scratch, end, pieces, line)
	f.emit(c)
	return c
}

// takeAll takes pieces until none is left to claim.
func (f *fn) takeAll(r *runner, step, record, scratch, end, pieces, line value.Value) {
	again, out := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewBr(again)
	f.cur = again
	n := f.takeOne(r, step, record, scratch, end, pieces, line)
	again.Term = ir.NewCondBr(f.icmp(enum.IPredNE, n, c64(0)), again, out)
	f.cur = out
}
