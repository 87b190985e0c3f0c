package ptx

import (
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// loadQuantised loads elements of a quantised buffer one by one: the code, a
// byte or a digit of a word, times the scale (see ir/elem).
func (p *printer) loadQuantised(s *kernel.Load) {
	code, scale, shift := s.Buf.Codes(s.Idx)
	// A digit of four bits is half of a byte of its word.
	at := ints.Plus(code, ints.Quo(shift, ints.C(8)))
	up := ints.Rem(shift, ints.C(8))
	p.reach(s.Dst)
	for _, e := range []*ints.Expr{at, scale, up} {
		p.hoist(e)
	}
	p.fill(s.Dst, func(r, c operand) {
		p.place(r, c)
		p.pick(s, r)
		byteAt := func(e *ints.Expr) operand { return globalAt(p.c.q("add.s64", p.int(e), p.bufs[s.Buf]), 0) }
		v := p.c.r("ld.global.u8", byteAt(at))
		if s.Buf.Elem == kernel.Q8 {
			v = p.c.r("shr.s32", p.c.r("shl.b32", v, imm(24)), imm(24))
		} else {
			by := p.int(up)
			if by.kind != whole {
				by = p.c.r("cvt.u32.u64", by)
			}
			v = p.c.r("add.s32", p.c.r("and.b32", p.c.r("shr.u32", v, by), imm(15)), imm(-8))
		}
		f := p.c.f("mul.rn.f32", p.c.f("cvt.rn.f32.s32", v), p.c.widen(kernel.BF16, kernel.F32, byteAt(scale)))
		p.put(s.Dst, p.tileAt(s.Dst, r, c), f)
	})
}

// pick gives x its value in a row, where the load gathers.
func (p *printer) pick(s *kernel.Load, row operand) {
	g := s.Gather
	if g == nil {
		return
	}
	x := p.get(g, p.tileAt(g, row, imm(0)))
	if g.Elem == kernel.I32 {
		x = p.c.q("cvt.s64.s32", x)
	}
	p.bind(kernel.Pick, x)
}
