package ptx

import (
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/kernel"
)

// A product of few rows by codes would be a chain of instructions in one warp for
// each 8 columns. But sums of groups do not depend on each other: warps share a
// step's groups, and hand their sums to the warp that has the columns, which adds them
// in order, times the scales. That is what one warp alone would do, to the bit.

// sharedTerms are the terms of a step: those of four warps.
const sharedTerms = 256

// sharers is how many warps share the groups of 8 columns.
const sharers = 4

// sharable reports whether a product's sizes let warps share its groups of codes.
func sharable(s *kernel.Dot) bool {
	_, _, k := sizes(s)
	return !s.TransA && k%sharedTerms == 0 && grouped(s) == 16
}

// shared reports whether warps share the groups of a product's codes.
func shared(s *kernel.Dot, at map[*kernel.Tile]place, sp spread) bool {
	return codesIn(s, at) == 1 && sharable(s) && sp == spread{1, 2 * sharers} && s.Dst.Rows <= fewRows && s.Dst.Cols == sharedCol
}

// handBytes is the room through which warps hand on the sums of a step.
func handBytes(e kernel.Elem) int { return sharedTerms / e.Group() * 2 * 32 * 16 }

// sharedStep adds the terms of a step: warp w has those groups of the columns of
// piece w mod 2 of which the rest by the sharers is w div 2.
func (p *printer) sharedStep(w *warpTile, a, b *side) {
	c, group := &p.c, b.elem.Group()
	block := int(elem.FragmentRows * b.elem.BlockBytes())
	piece, share := c.r("and.b32", p.warp(), imm(1)), c.r("shr.u32", p.warp(), imm(1))
	mine := *a
	n := group * a.elem.Size()
	if !a.along {
		n *= a.ld
	}
	if a.global {
		mine.base = c.q("mad.wide.u32", share, imm(int64(n)), a.base)
	} else {
		mine.base = c.r("mad.lo.s32", share, imm(int64(n)), a.base)
	}
	panel := c.r("mad.lo.s32", piece, imm(int64(b.ld)), b.base)
	lane := c.r("mad.lo.s32", p.lane(), imm(int64(group/4*codeBits(b.elem)/8)), panel)
	lane = c.r("mad.lo.s32", share, imm(int64(block)), lane)
	hand := c.r("mad.lo.s32", p.tid, imm(16), p.near)
	turns := sharedTerms / group / sharers
	for t := range turns {
		words := [][]operand{p.codeWords(b.elem, sharedAt(lane, b.off+t*sharers*block+elem.FragmentRows*elem.ScaleBytes))}
		part := p.groupSums(w, &mine, b, words, 0, t*sharers*group)
		c.op("st.shared.v4.f32", sharedAt(hand, p.plan.at+t*2*sharers*32*16), several(part.sums...))
	}
	c.op("bar.sync", imm(0))
	others := c.mark("others")
	c.onlyIf(c.p("setp.ge.s32", p.warp(), imm(2)), "bra", others)
	c.depth++
	pair := c.r("mad.lo.s32", p.inQuad(), imm(4), panel)
	for g := range sharers * turns {
		sums := make([]operand, 4)
		for i := range sums {
			sums[i] = c.reg(f32)
		}
		c.op("ld.shared.v4.f32", several(sums...), sharedAt(hand, p.plan.at+2*g*32*16))
		two := c.r("ld.shared.u32", sharedAt(pair, b.off+g*block))
		by := []operand{c.fromBF16(two), c.f("mov.b32", c.r("and.b32", two, imm(-65536)))}
		for i, sum := range w.sums {
			c.op("fma.rn.f32", sum, sums[i], by[i%2], sum)
		}
	}
	c.depth--
	c.here(others)
}
