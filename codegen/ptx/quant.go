package ptx

import (
	"math"

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

// storeQuantised rounds a tile's rows, which are whole rows of a buffer of q8,
// group by group, as ir/elem's Scale and Code do; a thread has a whole group.
func (p *printer) storeQuantised(s *kernel.Store) {
	c, t := &p.c, s.Src
	code, scale, _ := s.Buf.Codes(s.Idx)
	group := s.Buf.Elem.Group()
	p.reach(t)
	byteAt := func(e *ints.Expr) operand { return globalAt(c.q("add.s64", p.int(e), p.bufs[s.Buf]), 0) }
	p.each(p.rows(t), imm(int64((t.Cols+group-1)/group)), func(row, g operand) {
		first := c.register(c.product(c.register(g), imm(int64(group))))
		end := c.r("min.s32", c.shift(first, group), imm(int64(t.Cols)))
		through := func(fn func(col operand)) {
			col := c.r("mov.u32", first)
			body := c.mark("group")
			c.here(body)
			p.push()
			fn(col)
			p.pop()
			c.op("add.s32", col, col, imm(1))
			c.onlyIf(c.p("setp.lt.s32", col, end), "bra", body)
		}
		// The bits of magnitudes are ordered as they are, with NaN on top.
		most := c.r("mov.u32", imm(0))
		through(func(col operand) {
			bits := c.r("mov.b32", p.get(t, p.tileAt(t, row, col)))
			c.op("max.s32", most, most, c.r("and.b32", bits, imm(math.MaxInt32)))
		})
		largest := c.f("mov.b32", most)
		up := c.r("mov.b32", c.div(largest, num(s.Buf.Elem.Most())))
		up = c.r("and.b32", c.r("add.s32", up, imm(0xffff)), imm(-65536))
		up = c.r("selp.b32", up, imm(0x7fc00000), c.p("setp.le.f32", largest, num(math.MaxFloat32)))
		p.push()
		p.place(row, first)
		c.op("st.global.b16", byteAt(scale), c.h("cvt.u16.u32", c.r("shr.u32", up, imm(16))))
		p.pop()
		by := c.f("mov.b32", up)
		good := c.p("setp.lt.f32", c.f("mov.f32", num(0)), by)
		through(func(col operand) {
			v := c.r("cvt.rni.s32.f32", c.div(p.get(t, p.tileAt(t, row, col)), by))
			p.place(row, col)
			c.op("st.global.u8", byteAt(code), c.r("selp.b32", v, imm(0), good))
		})
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
