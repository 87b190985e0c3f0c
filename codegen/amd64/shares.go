package amd64

import (
	"slices"

	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// A worker's share of a part is some of its blocks, one behind the other. Where a product
// lays out rows, two workers with blocks of the same rows would both do that, and shares
// would differ by up to a block. There shares are rows, if there are enough of them: each
// worker's blocks begin with the first row of its share.

// sharedRows is the variable that counts the rows of a part whose shares may be rows: it
// lays rows out, and that variable says nothing but how many of them a block has.
func (b *block) sharedRows(p kernel.Part, body []kernel.Stmt) (name string, ok bool) {
	last := len(p.Grid) - 1
	if last < 1 || long(p) {
		return "", false
	}
	first := p.Grid[0]
	if first.Extent.Op != ints.Var || first.Extent.Interval(b.ranges).Hi < 2*int64(first.Step) || b.swath(p.Grid[last], body) != 0 {
		return "", false
	}
	name = first.Extent.Name
	laysOut := false
	has := func(es ...*ints.Expr) bool {
		return slices.ContainsFunc(es, func(e *ints.Expr) bool { return e != nil && e.Has(name) })
	}
	for _, a := range p.Grid[1:] {
		if has(a.Extent) {
			return "", false
		}
	}
	ok = true
	inBlock := ints.Least(ints.C(int64(first.Step)), ints.Minus(first.Extent, ints.V(first.Var)))
	counts := func(e *ints.Expr) bool { return !has(e) || ints.Equal(e, inBlock) }
	statements(p.Body, func(s kernel.Stmt) {
		reads, writes := kernel.Touches(s)
		for _, t := range append(reads, writes...) { // nil is a buffer
			ok = ok && (t == nil || counts(t.ValidRows) && counts(t.ValidCols))
		}
		switch s := s.(type) {
		case *kernel.Load:
			ok = ok && !has(s.Idx...)
		case *kernel.Store:
			ok = ok && !has(s.Idx...)
		case *kernel.Map:
			ok = ok && !has(indices(s.Expr)...)
		case *kernel.Dot:
			laysOut = laysOut || b.machine.inStrips() && !b.machine.squared(s)
			ok = ok && !b.machine.squared(s) && s.In == nil && s.Out == nil
		case *kernel.Reduce, *kernel.Transpose, *kernel.Slice, *kernel.Paste:
		default: // a loop, a condition
			ok = false
		}
	})
	return name, ok && laysOut
}

// byShares runs a worker's share of such a part: rows, in whole register tiles, where
// each worker has enough of them for a block, else blocks.
func (b *block) byShares(p kernel.Part, name string, sizes []value.Value, share, workers value.Value, body []kernel.Stmt) {
	step, height := int64(p.Grid[0].Step), int64(b.machine.Micro[0].Rows)
	n := b.smax(b.vars[name], c64(0))
	var each value.Value = c64(1) // blocks of as many rows
	for _, s := range sizes[1:] {
		each = b.mul(each, s)
	}
	next := b.add(share, c64(1))
	several := b.bin(and, b.icmp(predicate[ints.Lt], c64(1), workers), b.icmp(predicate[ints.Le], b.mul(workers, c64(step)), n))
	at := func(share value.Value) value.Value {
		row := b.bin(udiv, b.mul(n, share), workers)
		return b.sub(row, b.bin(urem, row, c64(height)))
	}
	lo := b.choose(several, at(share), c64(0))
	hi := b.choose(b.bin(and, several, b.icmp(predicate[ints.Lt], next, workers)), at(next), n)
	rows, _ := b.floorDivConst(b.add(b.sub(hi, lo), c64(step-1)), step, true, false)
	count := b.mul(rows, each)
	from := b.choose(several, c64(0), b.firstOf(p.Grid, sizes, count, share, workers))
	to := b.choose(several, count, b.firstOf(p.Grid, sizes, count, next, workers))
	b.again(name, hi, func() {
		b.grid(p.Grid, append([]value.Value{rows}, sizes[1:]...), lo, from, to, body)
	})
}

// firstOf is the first block of a share of a part's blocks. Shares are equal in
// what the blocks cover: of the axis, before the last, whose length a call
// decides, the last block may cover little.
func (f *fn) firstOf(axes []kernel.Axis, sizes []value.Value, count, share, shares value.Value) value.Value {
	part := func(all value.Value) value.Value { return f.bin(udiv, f.mul(all, share), shares) }
	i := slices.IndexFunc(axes, func(a kernel.Axis) bool { r := a.Extent.Interval(f.ranges); return a.Step > 1 && r.Lo != r.Hi })
	if i < 0 || i == len(axes)-1 {
		return part(count)
	}
	var outer, inner value.Value = c64(1), c64(1)
	for j, n := range sizes {
		switch {
		case j < i:
			outer = f.mul(outer, n)
		case j > i:
			inner = f.mul(inner, n)
		}
	}
	step := int64(axes[i].Step)
	length := f.smax(f.int(axes[i].Extent), c64(0))
	turn := f.smax(f.mul(length, inner), c64(1))
	at := part(f.mul(outer, f.mul(length, inner)))
	n, in := f.bin(udiv, at, turn), f.bin(urem, at, turn)
	whole := f.smax(f.mul(c64(step), inner), c64(1))
	row, rest := f.bin(udiv, in, whole), f.bin(urem, in, whole)
	covered := f.smax(f.smin(c64(step), f.sub(length, f.mul(row, c64(step)))), c64(1))
	return f.add(f.mul(f.add(f.mul(n, sizes[i]), row), inner), f.bin(udiv, rest, covered))
}

// again runs body with another value of one of the kernel's integers.
func (f *fn) again(name string, v value.Value, body func()) {
	scopes, old := f.scopes, f.vars[name] // what was computed with the old value is forgotten
	f.scopes, f.vars[name] = nil, v
	f.push()
	body()
	f.scopes, f.vars[name] = scopes, old
}
