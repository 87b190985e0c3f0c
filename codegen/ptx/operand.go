package ptx

import "github.com/memc-lang/memc/ir/kernel"

// side is an operand of a product as a warp reads it: from lines in memory, along
// which k runs or across which it runs, or from its own registers. base is the
// address of what the lane reads first.
type side struct {
	left   bool
	along  bool
	terms  int // of each element's expansion in bf16
	elem   kernel.Elem
	ld     int
	base   operand
	off    int
	global bool
	native bool // the product is one of f16 by f16

	back  operand // of a crossed side: how many bytes behind what it reads first its second element lies
	later operand // and which lanes read the later of two first

	held  bool // a tile in registers; its columns are k
	regs  []operand
	line  int // registers of one row
	valid func(j int) operand
}

// side gives the left or right operand of a product, for the warp whose piece
// begins at row (or column) first.
func (p *printer) side(s *kernel.Dot, left bool, first operand) *side {
	t := s.B
	if left {
		t = s.A
	}
	pl := p.at[t]
	if pl.home == atRegs {
		cols := p.cols(t)
		d := &side{left: true, held: true, terms: termsOf(s, pl), regs: p.heldIn(t), line: p.plan.columns(t)}
		d.valid = func(j int) operand {
			return p.inside(p.c.shift(p.firstCol(t), 8*(j/2)+j%2), cols, 8*p.plan.pieces(t), t.Cols)
		}
		return d
	}
	kRows := left && s.TransA || !left && !s.TransB
	d := &side{left: left, along: kRows == pl.flip, terms: termsOf(s, pl), elem: pl.elem, ld: pl.ld, global: pl.home == atScratch, native: p.native(s)}
	p.start(d, t, first)
	if d.crossed() {
		d.back = p.c.r("mad.lo.s32", p.far(), imm(-8*int64(d.ld)), imm(4*int64(d.ld)))
		d.later = p.c.p("setp.ne.s32", p.far(), imm(0))
	}
	return d
}

// crossed reports whether a warp reads floats across lines that lie as for reading
// along them: lines 0 and 4, 2 and 6 of those that lanes read have the same banks then.
// So half of the lanes read their second line first.
func (d *side) crossed() bool {
	return !d.along && !d.global && !half(d.elem) && d.ld%16 == 8
}

// far is 1 in lanes that have the third and the fourth pair of eight terms.
func (p *printer) far() operand {
	return p.once("#far", func() operand { return p.c.r("shr.u32", p.inQuad(), imm(1)) })
}

// termsOf is how many bf16 terms make up an operand's elements: all 24 bits of an
// f32 are in three, the 11 of an f16 in two.
func termsOf(s *kernel.Dot, pl place) int {
	switch {
	case pl.values == kernel.BF16 || s.Operands == kernel.BF16:
		return 1
	case pl.values == kernel.F16:
		return 2
	}
	return kept
}

// native reports whether a product is one of f16 by f16 as both lie in shared
// memory: that needs no other terms.
func (p *printer) native(s *kernel.Dot) bool {
	a, b := p.at[s.A], p.at[s.B]
	return a.elem == kernel.F16 && b.elem == kernel.F16 && s.Operands != kernel.BF16
}

// start computes where the lane begins to read a tile.
func (p *printer) start(d *side, t *kernel.Tile, first operand) {
	i := p.laneStart(d, first)
	size := int64(d.elem.Size())
	pl := p.at[t]
	switch {
	case d.global:
		d.base, d.off = p.c.q("mad.wide.u32", i, imm(size), p.mine), pl.offset
	default:
		base := p.near
		if b, ok := p.moving[t]; ok {
			base = b
		} else {
			d.off = pl.offset
		}
		d.base = p.c.r("mad.lo.s32", i, imm(size), base)
	}
}

// laneStart is the place, counted in elements, of the first element that the lane
// reads. ldmatrix takes the address of a row of 8 from each lane: eight lanes a
// matrix, the matrices of a fragment in the order of its registers. Floats are
// read as the fragment has them.
func (p *printer) laneStart(d *side, first operand) operand {
	c, lane := &p.c, p.lane()
	var line, pos operand
	if !half(d.elem) {
		two := c.r("shl.b32", p.inQuad(), imm(1))
		if d.along {
			line, pos = c.r("add.s32", p.quad(), first), two
		} else {
			line, pos = two, c.r("add.s32", p.quad(), first)
		}
		if d.crossed() {
			line = c.r("add.s32", line, p.far())
		}
		return c.r("mad.lo.s32", line, imm(int64(d.ld)), pos)
	}
	low, third := c.r("and.b32", lane, imm(7)), c.r("and.b32", lane, imm(8)) // third is 8·bit 3
	fourth := c.r("shr.u32", c.r("and.b32", lane, imm(16)), imm(1))          // 8·bit 4
	near8, far8 := c.r("add.s32", low, third), fourth
	if d.left != d.along { // the second matrix lies along the line, the third below
		near8, far8 = c.r("add.s32", low, fourth), third
	}
	if d.along {
		line, pos = c.r("add.s32", near8, first), far8
	} else {
		line, pos = near8, c.r("add.s32", far8, first)
	}
	return c.r("mad.lo.s32", line, imm(int64(d.ld)), pos)
}

// at is the address of what lies so many rows (columns) and terms further.
func (d *side) at(other, k int) operand {
	n := other*d.ld + k
	if !d.along {
		n = k*d.ld + other
	}
	off := d.off + n*d.elem.Size()
	if d.global {
		return globalAt(d.base, off)
	}
	return sharedAt(d.base, off)
}

// walking is a side whose base a loop advances.
func (p *printer) walking(d *side) *side {
	w := *d
	if d.global {
		w.base = p.c.q("mov.u64", d.base)
	} else {
		w.base = p.c.r("mov.u32", d.base)
	}
	return &w
}

func (p *printer) advance(d *side, k int) {
	n := k * d.elem.Size()
	if !d.along {
		n *= d.ld
	}
	if d.global {
		p.c.op("add.s64", d.base, d.base, imm(int64(n)))
	} else {
		p.c.op("add.s32", d.base, d.base, imm(int64(n)))
	}
}

// floats reads two elements whose terms are neighbours.
func (p *printer) floats(d *side, other, k int) (x, y operand) {
	c, space := &p.c, "shared."
	if d.global {
		space = "global."
	}
	if d.along {
		x, y = c.reg(f32), c.reg(f32)
		c.op("ld."+space+"v2.f32", several(x, y), d.at(other, k))
		return x, y
	}
	if d.crossed() {
		behind := *d
		behind.base = c.r("add.s32", d.base, d.back)
		u, v := c.f("ld.shared.f32", d.at(other, k)), c.f("ld.shared.f32", behind.at(other, k))
		return c.f("selp.f32", v, u, d.later), c.f("selp.f32", u, v, d.later)
	}
	return c.f("ld."+space+"f32", d.at(other, k)), c.f("ld."+space+"f32", d.at(other, k+1))
}

// leftFragment gives the A fragment of block i for the 16 terms from k on, each
// of its expansion's terms by itself.
func (p *printer) leftFragment(d *side, i, k int) [][]operand {
	out := make([][]operand, d.terms)
	add := func(x, y operand) {
		for t, r := range p.c.expand(x, y, d.terms) {
			out[t] = append(out[t], r)
		}
	}
	switch {
	case d.held:
		for far := range 2 { // accumulators of 16 x 8 are halves of an A fragment
			for down := range 2 {
				j := k/4 + 2*far // 8 columns are 2 registers
				var v [2]operand
				for x := range v {
					v[x] = num(0)
					if j+x < d.line {
						v[x] = d.regs[(2*i+down)*d.line+j+x]
						if ok := d.valid(j + x); ok.kind != 0 {
							v[x] = p.c.f("selp.f32", v[x], num(0), ok)
						}
					} else {
						v[x] = p.c.f("mov.f32", num(0))
					}
				}
				add(v[0], v[1])
			}
		}
	case half(d.elem):
		return p.partsOf(d, p.matrices(4, !d.along, d.at(16*i, k)))
	default:
		for far := range 2 {
			for down := range 2 {
				add(p.floats(d, 16*i+8*down, k+8*far))
			}
		}
	}
	return out
}

// rightFragments gives the B fragments of n pieces from j on, one or two.
func (p *printer) rightFragments(d *side, j, n, k int) [][][]operand {
	out := make([][][]operand, n)
	if half(d.elem) {
		regs := p.matrices(2*n, d.along == d.left, d.at(8*j, k))
		for i := range out {
			out[i] = p.partsOf(d, regs[2*i:2*i+2])
		}
		return out
	}
	for i := range out {
		out[i] = make([][]operand, d.terms)
		for far := range 2 {
			x, y := p.floats(d, 8*(j+i), k+8*far)
			for t, r := range p.c.expand(x, y, d.terms) {
				out[i][t] = append(out[i][t], r)
			}
		}
	}
	return out
}

// partsOf is a fragment as the product takes it: as it lies, or each of the bf16
// terms of its elements by itself.
func (p *printer) partsOf(d *side, regs []operand) [][]operand {
	if d.elem == kernel.BF16 || d.native {
		return [][]operand{regs}
	}
	out := make([][]operand, d.terms)
	for _, r := range regs {
		for t, v := range p.c.expand(p.c.halfOf(r, 0), p.c.halfOf(r, 1), d.terms) {
			out[t] = append(out[t], v)
		}
	}
	return out
}

// halfOf is the lower or upper f16 of a register as f32.
func (c *code) halfOf(pair operand, upper int) operand {
	if upper > 0 {
		pair = c.r("shr.u32", pair, imm(16))
	}
	return c.f("cvt.f32.f16", c.h("cvt.u16.u32", pair))
}

// matrices reads two or four 8 x 8 matrices of 16-bit elements.
func (p *printer) matrices(n int, turned bool, at operand) []operand {
	regs := make([]operand, n)
	for i := range regs {
		regs[i] = p.c.reg(b32)
	}
	name := "ldmatrix.sync.aligned.m8n8.x4"
	if n == 2 {
		name = "ldmatrix.sync.aligned.m8n8.x2"
	}
	if turned {
		name += ".trans"
	}
	p.c.op(name+".shared.b16", several(regs...), at)
	return regs
}
