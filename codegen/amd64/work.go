package amd64

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/plan"
)

// A worker never leaves compiled code between calls: for whatever schedules the
// caller's program it is one long call, which takes none of its turns.

// The layout of plan.NativeTeam, in bytes.
const (
	teamCalls   = 0
	teamLeft    = 64
	teamAsleep  = 128
	teamWaiting = 192
	teamJob     = 256
	teamSteps   = 264
	teamCount   = 272
	teamRecords = 280
	teamRecord  = 288
	teamScratch = 296
	teamStride  = 304
	teamWorkers = 312
	teamBarrier = 320
	teamTo      = 328
	teamFrom    = 336
	teamShare   = 344
	teamRest    = 352
	teamWalk    = 360
)

// patience is how many ticks of its clock (some 0.2 ms) a worker looks for the next
// call before it sleeps: to wake it takes the system 30 µs and more, and the next
// token often follows soon.
const patience = 1 << 19

// The system calls' numbers on Linux, and futex(2)'s operations among the threads of
// one process.
const (
	schedYield = 24
	futex      = 202
	futexWait  = 0 | 128
	futexWake  = 1 | 128
)

// workName is the name of the function that is a worker's life.
const workName = "work"

// work emits
//
//	void work(NativeTeam *team, int64 worker)
//
// which does the worker's part of one call after another, with the caller's walk.
func (m *module) work(walk *types.FuncType) {
	team, worker := ir.NewParam("team", bytePtr), ir.NewParam("worker", i64)
	f := m.newFunc(workName, types.Void, team, worker)
	field := func(off int64) value.Value { return f.load(i64, team, c64(off)) }
	address := func(off int64) value.Value { return f.load(bytePtr, team, c64(off)) }
	calls := f.at(team, c64(teamCalls))

	wait, sleep, called := f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewBr(wait)
	seen := ir.NewPhi(ir.NewIncoming(c64(0), f.cur))
	f.cur = wait
	f.emit(seen)
	more := func() value.Value { return f.icmp(enum.IPredNE, f.loadAtomic(calls), seen) }
	begin := f.intrinsic("llvm.readcyclecounter", i64)
	f.spin(func() value.Value {
		waited := f.sub(f.intrinsic("llvm.readcyclecounter", i64), begin)
		return f.bin(or, more(), f.icmp(enum.IPredUGT, waited, c64(patience)))
	}, nil)
	f.cur.Term = ir.NewCondBr(more(), called, sleep)

	f.cur = sleep
	asleep := f.at(team, c64(teamAsleep))
	f.addAtomic(asleep, c64(1), enum.AtomicOrderingSequentiallyConsistent)
	f.futex(calls, futexWait, seen) // returns at once where there has been a call since
	f.addAtomic(asleep, c64(-1), enum.AtomicOrderingSequentiallyConsistent)
	seen.Incs = append(seen.Incs, ir.NewIncoming(seen, f.cur))
	f.cur.Term = ir.NewBr(wait)

	f.cur = called
	job := func(j int64) value.Value { return f.icmp(predicate[ints.Eq], field(teamJob), c64(j)) }
	leave, stay := f.f.NewBlock(""), f.f.NewBlock("")
	f.cur.Term = ir.NewCondBr(job(plan.JobEnd), leave, stay)
	f.cur = leave
	f.ret()
	f.cur = stay
	f.when(job(plan.JobWalk), func() {
		f.emit(ir.NewCall(f.typed(address(teamWalk), walk), address(teamSteps), field(teamCount), address(teamRecords), field(teamRecord),
			f.at(address(teamScratch), f.mul(field(teamStride), worker)), worker, field(teamWorkers), address(teamBarrier)))
	})
	f.when(job(plan.JobCopy), func() {
		first, share := f.mul(field(teamShare), worker), field(teamShare)
		last := f.icmp(predicate[ints.Eq], f.add(worker, c64(1)), field(teamWorkers))
		f.copyBytes(f.at(address(teamTo), first), f.at(address(teamFrom), first), f.choose(last, field(teamRest), share))
	})
	left := f.at(team, c64(teamLeft))
	before := f.addAtomic(left, c64(-1), enum.AtomicOrderingSequentiallyConsistent)
	f.when(f.icmp(predicate[ints.Eq], before, c64(1)), func() {
		waiting := f.icmp(enum.IPredNE, f.loadAtomic(f.at(team, c64(teamWaiting))), c64(0))
		f.when(waiting, func() { f.futex(left, futexWake, c64(1)) })
	})
	next := f.add(seen, c64(1))
	seen.Incs = append(seen.Incs, ir.NewIncoming(next, f.cur))
	f.cur.Term = ir.NewBr(wait)
}

// futex waits while the low half of the counter at p is n's, or wakes up to n who do.
func (f *fn) futex(p value.Value, op int64, n value.Value) {
	f.asm(i64, "syscall", "={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}", c64(futex), p, c64(op), n, c64(0))
}

// copyBytes copies n bytes that do not overlap.
func (f *fn) copyBytes(to, from, n value.Value) {
	three := types.NewStruct(bytePtr, bytePtr, i64)
	f.asm(three, "rep movsb", "={rdi},={rsi},={rcx},0,1,2,~{memory}", to, from, n)
}

// yield gives up the processor for others who wait for it.
func (f *fn) yield() {
	f.asm(i64, "syscall", "={rax},{rax},~{rcx},~{r11},~{memory}", constant.NewInt(i64, schedYield))
}
