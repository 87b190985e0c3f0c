package amd64

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// Workers are not equally fast: their cores have clocks and neighbours of their own.
// Of a launch with many long blocks each therefore keeps the greater part of its
// share, and what is left goes, piece by piece, to who is free first.

// A worker that has fewer blocks than this keeps them all.
const manyBlocks = 8

// long says that a part's blocks take long, even for a single row: they have loops
// over products. A block of one product is shorter, and apart from its neighbours along
// the row it has to lay out its rows by itself.
func long(p kernel.Part) (yes bool) {
	statements(p.Body, func(s kernel.Stmt) {
		if s, ok := s.(*kernel.For); ok {
			statements(s.Body, func(s kernel.Stmt) {
				_, dot := s.(*kernel.Dot)
				yes = yes || dot
			})
		}
	})
	return yes
}

// shareOut runs a worker's share of a part's blocks. claimed is where workers
// count the pieces that they have claimed, one counter a part of a launch; null
// where nobody may claim.
func (f *fn) shareOut(p kernel.Part, part int, sizes []value.Value, count, share, workers, claimed value.Value, run func(from, to value.Value)) {
	if !long(p) || part >= plan.OpenParts {
		run(f.firstOf(p.Grid, sizes, count, share, workers), f.firstOf(p.Grid, sizes, count, f.add(share, c64(1)), workers))
		return
	}
	each := f.bin(udiv, count, workers)
	open := f.bin(and, f.bin(xor, f.none(claimed), constant.True), f.icmp(predicate[ints.Le], c64(manyBlocks), each))
	open = f.bin(and, open, f.icmp(predicate[ints.Lt], c64(1), workers))
	each = f.choose(open, each, c64(1)) // pieces of a worker's share
	rest := f.bin(udiv, each, c64(4))   // those that whoever is free may claim
	kept := f.sub(each, rest)
	all, left := f.mul(workers, each), f.mul(workers, rest)
	first := f.mul(share, each)
	last := f.add(first, kept)

	mine, again, claim, got, out := f.cur, f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock(""), ir.NewBlock("")
	mine.Term = ir.NewBr(again)
	f.cur = again
	begin, end := ir.NewPhi(ir.NewIncoming(first, mine)), ir.NewPhi(ir.NewIncoming(last, mine))
	f.emit(begin)
	f.emit(end)
	run(f.firstOf(p.Grid, sizes, count, begin, all), f.firstOf(p.Grid, sizes, count, end, all))
	f.cur.Term = ir.NewCondBr(open, claim, out)
	f.cur = claim
	n := f.addAtomic(f.at(claimed, c64(int64(part)*8)), c64(1), enum.AtomicOrderingMonotonic)
	claim.Term = ir.NewCondBr(f.icmp(predicate[ints.Lt], n, left), got, out)
	f.cur = got
	// Workers that are free at about the same time go on with shares side by side.
	piece := f.add(f.mul(f.bin(urem, n, workers), each), f.add(kept, f.bin(udiv, n, workers)))
	begin.Incs = append(begin.Incs, ir.NewIncoming(piece, f.cur))
	end.Incs = append(end.Incs, ir.NewIncoming(f.add(piece, c64(1)), f.cur))
	f.cur.Term = ir.NewBr(again)
	out.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, out)
	f.cur = out
}
