package amd64

import (
	"slices"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// A sum over a loop's turns begins as 0, or as what a buffer holds: its tile is filled,
// and the first turn's product is added to that. Where a product comes first in any case,
// it writes the tile instead, which is then neither filled nor read.

// sum is a tile whose 0 has not been written.
type sum struct {
	loop  *kernel.For // in which it is summed
	first *kernel.Dot // of each turn
	has   value.Value // whether the tile holds what to add to
}

// summing is the loop that begins a sum in the tile that the list's first statement sets
// to 0, and its first product, nil where there is none: between them stands at most a
// condition under which the tile is loaded, and in each turn the product is added before
// anything else is done with the tile.
func summing(body []kernel.Stmt) (*kernel.For, *kernel.Dot) {
	zero, ok := body[0].(*kernel.Map)
	if !ok || zero.Expr.Op != kernel.Num || zero.Expr.F != 0 || zero.Dst.Elem != kernel.F32 || zero.Dst.Cols == 1 {
		return nil, nil
	}
	mentions := func(s kernel.Stmt) (yes bool) {
		statements([]kernel.Stmt{s}, func(s kernel.Stmt) {
			reads, writes := kernel.Touches(s)
			yes = yes || slices.Contains(append(reads, writes...), zero.Dst)
		})
		return yes
	}
	loaded := false
	for _, s := range body[1:] {
		if !mentions(s) {
			continue
		}
		switch s := s.(type) {
		case *kernel.When:
			if loaded || len(s.Body) > 1 {
				return nil, nil
			}
			if _, loaded = s.Body[0].(*kernel.Load); !loaded {
				return nil, nil
			}
			continue
		case *kernel.For:
			i := slices.IndexFunc(s.Body, mentions)
			if d, ok := s.Body[i].(*kernel.Dot); ok && d.Acc && d.Dst == zero.Dst && d.A != zero.Dst && d.B != zero.Dst && d.In == nil && d.Out == nil {
				return s, d
			}
		}
		return nil, nil
	}
	return nil, nil
}

// beginSum puts off setting a tile to 0.
func (b *block) beginSum(s *kernel.Map, loop *kernel.For, first *kernel.Dot) {
	b.place(s.Dst)
	b.sums[s.Dst] = sum{loop, first, constant.False}
}

// loadSum notes that sums are loaded under a condition.
func (b *block) loadSum(s *kernel.When, cond value.Value) {
	if len(s.Body) == 0 {
		return
	}
	if l, ok := s.Body[0].(*kernel.Load); ok {
		if begun, ok := b.sums[l.Dst]; ok {
			begun.has = cond
			b.sums[l.Dst] = begun
		}
	}
}

// fillSums sets the tiles of sums to 0 over which a loop has no turn.
func (b *block) fillSums(loop *kernel.For, from, to value.Value) {
	if loop.Lo.Interval(b.ranges).Hi < loop.Hi.Interval(b.ranges).Lo {
		return
	}
	for _, s := range loop.Body {
		d, ok := s.(*kernel.Dot)
		if !ok || b.sums[d.Dst].first != d {
			continue
		}
		b.when(b.bin(and, b.icmp(predicate[ints.Le], to, from), b.bin(xor, b.sums[d.Dst].has, constant.True)), func() {
			p := b.place(d.Dst)
			b.eachRow(d.Dst, func(r value.Value) {
				b.eachStrip(b.cols(d.Dst), func(c value.Value) { b.store(vnum(0), b.rowAt(p, r), b.mul(c, c64(p.col))) })
			})
		})
	}
}

// adds says whether a product is added to its result.
func (b *block) adds(d *kernel.Dot) value.Value {
	s := b.sums[d.Dst]
	if s.first != d {
		return constant.NewBool(d.Acc)
	}
	return b.bin(or, s.has, b.icmp(predicate[ints.Lt], b.int(s.loop.Lo), b.vars[s.loop.Var]))
}

// endSums forgets the sums that a loop has made.
func (b *block) endSums(loop *kernel.For) {
	for t, s := range b.sums {
		if s.loop == loop {
			delete(b.sums, t)
		}
	}
}
