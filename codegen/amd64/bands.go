package amd64

import (
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Bands of products (kernel.Band). A register tile has neighbouring rows, of which
// each has its part of the band: it goes through what any of them needs, and leaves
// out ks before and behind that, or is left out where its columns are.

// limits are a band's bounds, for rows of which so many have the same.
type limits struct {
	lo, hi value.Value
	per    int64
}

// limitsOf gives a band's bounds as the operands of a product's function.
func (b *block) limitsOf(bands ...*kernel.Band) (bounds []value.Value) {
	for _, band := range bands {
		if band != nil {
			bounds = append(bounds, b.int(band.Lo), b.int(band.Hi))
		}
	}
	return bounds
}

// perOf is how many rows of a band have the same bounds, 0 where there is none.
func perOf(band *kernel.Band) int64 {
	if band == nil {
		return 0
	}
	return int64(band.Per)
}

// reach gives the first and the last column of the band for so many rows from r on.
func (f *fn) reach(l *limits, r value.Value, rows int) (first, last value.Value) {
	top, _ := f.floorDivConst(r, l.per, true, false)
	bottom, _ := f.floorDivConst(f.add(r, c64(int64(rows-1))), l.per, true, false)
	return f.add(l.lo, top), f.add(l.hi, bottom)
}

// ks gives the first k that a register tile's rows from r on need, and how many: at
// least one, so that the tile is written.
func (p *product) ks(r value.Value, s Shape) (from, n value.Value) {
	if p.in == nil {
		return c64(0), p.depth
	}
	first, last := p.reach(p.in, r, s.Rows)
	from = p.smin(p.smax(first, c64(0)), p.sub(p.depth, c64(1)))
	if p.key.pairs || p.key.elem == words {
		from = p.bin(and, from, c64(-2))
	}
	return from, p.smax(p.sub(p.smin(p.add(last, c64(1)), p.depth), from), c64(1))
}

// vectors is the part of the vectors of columns [first, end) in which rows from r on
// have something that is asked for.
func (p *product) vectors(r value.Value, rows int, first, end value.Value) (from, to value.Value) {
	if p.out == nil {
		return first, end
	}
	left, right := p.reach(p.out, r, rows)
	behind := p.add(p.bin(ashr, right, c64(4)), c64(1))
	return p.smax(p.bin(ashr, left, c64(4)), first), p.smin(end, behind)
}

// covered yields the register tiles for the rows from r on and the vectors of columns
// [first, end) that have something that is asked for. Where a band begins or ends within
// a pair of vectors, a tile of one has the other: it takes half the time.
func (p *product) covered(r value.Value, s Shape, first, end value.Value, yield func(s Shape, v value.Value)) {
	from, to := p.vectors(r, s.Rows, first, end)
	tile := func(v value.Value) { yield(s, v) }
	if p.out == nil || s.Vecs == 1 {
		p.count(from, to, int64(s.Vecs), tile)
		return
	}
	if s.Vecs > 2 {
		skip := p.bin(and, p.sub(from, first), c64(-int64(s.Vecs)))
		p.count(p.add(first, skip), to, int64(s.Vecs), tile)
		return
	}
	odd := func(v value.Value) value.Value { return p.bin(and, p.sub(v, first), c64(1)) }
	one := func(v, is value.Value) {
		some := p.bin(and, p.icmp(predicate[ints.Lt], from, to), p.icmp(predicate[ints.Ne], is, c64(0)))
		p.when(some, func() { yield(Shape{s.Rows, 1}, v) })
	}
	one(from, odd(from))
	p.count(p.add(from, odd(from)), p.sub(to, odd(to)), 2, tile)
	one(p.sub(to, c64(1)), odd(to))
}

// asked runs body if a register tile for the rows from r on and the columns from
// vector v on has something that is asked for.
func (p *product) asked(r value.Value, s Shape, v value.Value, body func()) {
	if p.out == nil {
		body()
		return
	}
	from, to := p.vectors(r, s.Rows, v, p.add(v, c64(int64(s.Vecs))))
	p.when(p.icmp(predicate[ints.Lt], from, to), body)
}
