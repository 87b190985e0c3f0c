package ptx

import (
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/kernel"
)

// A product of few rows by codes would be a chain of instructions in one warp for
// each 8 columns. But sums of groups do not depend on each other: warps share a
// step's groups, and hand their sums to the warp that has the columns, which adds them
// in order, times the scales. That is what one warp alone would do, to the bit.

// sharedTerms are the terms of a step.
const sharedTerms = 512

// sharers is how many warps share the groups: all of a block. Each has both pieces of
// the columns, so that two chains hide each other's latency.
const sharers = 8

// sharable reports whether a product's sizes let warps share its groups of codes.
func sharable(s *kernel.Dot) bool {
	_, _, k := sizes(s)
	return !s.TransA && k%sharedTerms == 0 && grouped(s) == 16
}

// shared reports whether warps share the groups of a product's codes.
func shared(s *kernel.Dot, at map[*kernel.Tile]place, sp spread) bool {
	return codesIn(s, at) == 1 && sharable(s) && sp == spread{1, sharers} && s.Dst.Rows <= fewRows && s.Dst.Cols <= sharedCol
}

// handBytes is the room through which warps hand on the sums of a step.
func handBytes(e kernel.Elem) int { return sharedTerms / e.Group() * 2 * 32 * 16 }

// sharedStep adds the terms of a step: warp w has each group whose rest by the sharers
// is w, and warps 0 and 1 have the columns.
func (p *printer) sharedStep(w *warpTile, a, b *side) {
	c, group := &p.c, b.elem.Group()
	block := int(elem.FragmentRows * b.elem.BlockBytes())
	mine, both := *a, *w
	both.pieces = sharedCol / 8
	n := group * a.elem.Size()
	if !a.along {
		n *= a.ld
	}
	if a.global {
		mine.base = c.q("mad.wide.u32", p.warp(), imm(int64(n)), a.base)
	} else {
		mine.base = c.r("mad.lo.s32", p.warp(), imm(int64(n)), a.base)
	}
	lane := c.r("mad.lo.s32", p.lane(), imm(int64(group/4*codeBits(b.elem)/8)), b.base)
	lane = c.r("mad.lo.s32", p.warp(), imm(int64(block)), lane)
	const sums = 32 * 16 // bytes of a piece's
	from := c.r("mad.lo.s32", p.lane(), imm(16), p.near)
	hand := c.r("mad.lo.s32", p.warp(), imm(int64(sums*both.pieces)), from)
	turns := sharedTerms / group / sharers
	for t := range turns {
		words := make([][]operand, both.pieces)
		for j := range words {
			words[j] = p.codeWords(b.elem, sharedAt(lane, b.off+j*b.ld+t*sharers*block+elem.FragmentRows*elem.ScaleBytes))
		}
		part := p.groupSums(&both, &mine, b, words, 0, t*sharers*group)
		for j := range words {
			c.op("st.shared.v4.f32", sharedAt(hand, p.plan.at+(t*sharers*both.pieces+j)*sums), part.quadOf(0, j))
		}
	}
	c.op("bar.sync", imm(0))
	others := c.mark("others")
	c.onlyIf(c.p("setp.ge.s32", p.warp(), imm(int64(both.pieces))), "bra", others)
	c.depth++
	pair := c.r("mad.lo.s32", p.inQuad(), imm(4), c.r("mad.lo.s32", p.warp(), imm(int64(b.ld)), b.base))
	take := c.r("mad.lo.s32", p.warp(), imm(sums), from)
	for g := range sharers * turns {
		part := make([]operand, 4)
		for i := range part {
			part[i] = c.reg(f32)
		}
		c.op("ld.shared.v4.f32", several(part...), sharedAt(take, p.plan.at+g*both.pieces*sums))
		two := c.r("ld.shared.u32", sharedAt(pair, b.off+g*block))
		by := []operand{c.fromBF16(two), c.f("mov.b32", c.r("and.b32", two, imm(-65536)))}
		for i, sum := range w.sums {
			c.op("fma.rn.f32", sum, part[i], by[i%2], sum)
		}
	}
	c.depth--
	c.here(others)
}
