package ptx

import (
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Products of quantised weights. Their panels lie in the order of fragments
// (ir/elem): the block of a panel of 8 rows and a group of ks is 8 scales and, lane
// by lane, the codes that the lane has of the group's fragments. Blocks travel to
// shared memory as they are, 16 bytes a copy, and a lane reads its own codes with
// one access, all lanes of a warp next to each other. Codes become bf16 in
// registers, which hold them exactly; a group's sum is a chain of its own, and is
// added times the scale (kernel.Dot): three mma make a product of f32 by codes.

// codesOf reports whether a load is of codes that a product can take from their
// buffer: whole panels in the order of fragments, whole groups. n is the variable
// that counts the panels' rows.
func codesOf(s *kernel.Load, steps map[string]int64) (n string, ok bool) {
	b := s.Buf
	nd := len(b.Dims)
	if nd < 2 || s.Gather != nil || s.Dst.Elem != kernel.F32 || !b.Elem.Lanes(int64(b.Dims[nd-1]), b.Panel) {
		return "", false
	}
	n, k := kernel.Row, kernel.Col
	if c, _, ok := s.Idx[nd-1].Coeff(kernel.Row); ok && c == 1 {
		n, k = k, n
	}
	for _, e := range s.Idx[:nd-2] {
		if e.Has(n) || e.Has(k) {
			return "", false
		}
	}
	is := func(e *ints.Expr, v, other string, whole int64) bool {
		c, rest, ok := e.Coeff(v)
		return ok && c == 1 && !rest.Has(other) && divides(rest, whole, steps)
	}
	return n, is(s.Idx[nd-2], n, k, elem.FragmentRows) && is(s.Idx[nd-1], k, n, int64(b.Elem.Group()))
}

// feedOfCodes is one step's copy of an operand of codes: a line for each panel,
// with the blocks of so many ks from step0 on.
func (p *printer) feedOfCodes(t *kernel.Tile, ch channel) feed {
	s := ch.load
	b, nd := s.Buf, len(s.Buf.Dims)
	e, group := b.Elem, int64(b.Elem.Group())
	n, _ := codesOf(s, p.steps)
	kVar, rows := kernel.Col, p.rows(t)
	if n == kernel.Col {
		kVar, rows = kernel.Row, p.cols(t)
	}
	without := func(e *ints.Expr, v string) *ints.Expr { return e.Subst(map[string]*ints.Expr{v: ints.C(0)}) }
	idx := append([]*ints.Expr{}, s.Idx...)
	first, from := without(idx[nd-2], n), without(idx[nd-1], kVar)
	idx[nd-2], idx[nd-1] = ints.C(0), ints.C(0)
	_, matrix, _ := b.Codes(idx)
	line := ints.Plus(ints.Quo(first, ints.C(elem.FragmentRows)), ints.V(kernel.Row))
	block := ints.Quo(ints.Plus(from, ints.V(step0)), ints.C(group))
	at := ints.Plus(matrix, ints.Times(line, ints.C(elem.FragmentRows*e.RowBytes(int64(b.Dims[nd-1])))))
	at = ints.Plus(at, ints.Plus(ints.Times(block, ints.C(elem.FragmentRows*e.BlockBytes())), ints.V(kernel.Col)))
	f := feed{load: s, offset: at, along: kernel.Col, lines: ch.lines, length: ch.length, ld: ch.ld}
	f.validLines = p.c.ceil(rows, elem.FragmentRows)
	f.validLength = imm(int64(ch.length))
	return f
}

// codedSide is an operand of codes as a warp reads it, from its panel on.
func (p *printer) codedSide(left bool, ch channel, first, from operand) *side {
	c := &p.c
	d := &side{left: left, terms: 1, elem: ch.load.Buf.Elem, ld: ch.ld, off: ch.offset}
	d.base = c.r("mad.lo.s32", c.r("shr.u32", first, imm(3)), imm(int64(ch.ld)), from)
	return d
}

// codedStep adds each terms of the product of a coded operand, group by group.
func (p *printer) codedStep(w *warpTile, a, b *side, each int) {
	c, coded := &p.c, b
	if a.elem.Quantised() {
		coded = a
	}
	group := coded.elem.Group()
	lane := c.r("mad.lo.s32", p.lane(), imm(int64(group/4*codeBits(coded.elem)/8)), coded.base)
	pair := c.r("mad.lo.s32", p.inQuad(), imm(4), coded.base)
	if coded.left {
		pair = c.r("mad.lo.s32", p.quad(), imm(2), coded.base)
	}
	for k := 0; k < each; k += group {
		block := coded.off + k/group*int(elem.FragmentRows*coded.elem.BlockBytes())
		for first := 0; first < w.blocks; first += chained {
			words := make([][]operand, w.pieces)
			line := 0
			if coded.left {
				words, line = make([][]operand, 2*min(chained, w.blocks-first)), 2*first
			}
			for i := range words {
				words[i] = p.codeWords(coded.elem, sharedAt(lane, block+(line+i)*coded.ld+elem.FragmentRows*elem.ScaleBytes))
			}
			part := p.groupSums(w, a, b, words, first, k)
			p.scaled(w, part, first, coded, pair, block)
		}
	}
}

// chained is how many of a warp's blocks sum a group at one time: the sums of one
// take as many registers as those of all groups do.
const chained = 1

// groupSums are the sums of the products with a group's codes, in the chained blocks
// from the first on; words are the codes, and used up. Where there are more of a warp's, the steps over a group are a
// loop: written out, the assembler would sum all blocks at one time again.
func (p *printer) groupSums(w *warpTile, a, b *side, words [][]operand, first, k int) *warpTile {
	c, part, group := &p.c, *w, b.elem.Group()
	part.blocks = min(chained, w.blocks-first)
	part.sums = make([]operand, 4*part.blocks*part.pieces)
	for i := range part.sums {
		part.sums[i] = c.f("mov.f32", num(0))
	}
	step := p.stepByColumns
	if a.elem.Quantised() {
		group, step = a.elem.Group(), p.stepByRows
	}
	if w.blocks <= chained {
		for x := 0; x < group; x += 16 {
			step(&part, a, b, words, first, k, x)
		}
		return &part
	}
	a, b = p.walking(a), p.walking(b)
	n := c.r("mov.u32", imm(0))
	body := c.mark("codes")
	c.here(body)
	c.rolled()
	step(&part, a, b, words, first, k, 0)
	for _, have := range words {
		if len(have) == 1 {
			c.op("shr.u32", have[0], have[0], imm(8))
		}
		for j := 1; j < len(have); j++ {
			c.op("mov.u32", have[j-1], have[j])
		}
	}
	p.advance(a, 16)
	p.advance(b, 16)
	c.op("add.s32", n, n, imm(16))
	c.onlyIf(c.p("setp.lt.s32", n, imm(int64(group))), "bra", body)
	return &part
}

// stepByColumns adds the 16 terms x of a group, and k+x of all, to its sums where the
// right operand has the codes; stepByRows, where the left one has.
func (p *printer) stepByColumns(part *warpTile, a, b *side, words [][]operand, first, k, x int) {
	columns := make([][]operand, len(words))
	for j := range columns {
		columns[j] = p.c.widenCodes(b.elem, words[j], x/16)
	}
	for i := range part.blocks {
		left := p.leftFragment(a, first+i, k+x)
		for j := range part.pieces {
			p.multiply(part, i, j, left, [][]operand{columns[j]})
		}
	}
}

func (p *printer) stepByRows(part *warpTile, a, b *side, words [][]operand, _, k, x int) {
	rows := make([][]operand, len(words))
	for i := range rows {
		rows[i] = p.c.widenCodes(a.elem, words[i], x/16)
	}
	for j := 0; j < part.pieces; j += 2 {
		for n, right := range p.rightFragments(b, j, min(2, part.pieces-j), k+x) {
			for i := range part.blocks {
				upper, lower := rows[2*i], rows[2*i+1]
				p.multiply(part, i, j+n, [][]operand{{upper[0], lower[0], upper[1], lower[1]}}, right)
			}
		}
	}
}

// scaled adds a group's sums times its scales, those of rows or of columns.
func (p *printer) scaled(w, part *warpTile, first int, coded *side, pair operand, block int) {
	c, wide := &p.c, 2*w.pieces
	add := func(i, j int, by operand) {
		sum := w.sums[(2*first+i)*wide+j]
		c.op("fma.rn.f32", sum, part.sums[i*wide+j], by, sum)
	}
	if coded.left {
		for i := range 2 * part.blocks {
			by := c.fromBF16(c.r("ld.shared.u16", sharedAt(pair, block+(2*first+i)*coded.ld)))
			for j := range wide {
				add(i, j, by)
			}
		}
		return
	}
	for j := range w.pieces {
		two := c.r("ld.shared.u32", sharedAt(pair, block+j*coded.ld))
		by := []operand{c.fromBF16(two), c.f("mov.b32", c.r("and.b32", two, imm(-65536)))}
		for i := range 2 * part.blocks {
			add(i, 2*j, by[0])
			add(i, 2*j+1, by[1])
		}
	}
}

func codeBits(e kernel.Elem) int {
	if e == kernel.Q4 {
		return 4
	}
	return 8
}

// codeWords reads what a lane has of a block of codes.
func (p *printer) codeWords(e kernel.Elem, at operand) []operand {
	if e == kernel.Q4 {
		return []operand{p.c.r("ld.shared.u32", at)}
	}
	words := make([]operand, 4)
	for i := range words {
		words[i] = p.c.reg(b32)
	}
	p.c.op("ld.shared.v4.u32", several(words...), at)
	return words
}

// widenCodes gives the two registers of a fragment of 16 ks, the step-th of a
// group's, as pairs of bf16. A bf16 has 8 bits, so that 128 + x is x in the low bits
// of that of 128, for x below 128: a code is such a number less what is too much.
func (c *code) widenCodes(e kernel.Elem, words []operand, step int) []operand {
	out := make([]operand, 2)
	for half := range out {
		if e == kernel.Q4 { // a digit is the code and 8
			digits := c.low(words[0], 8*step+4*half)
			digits = c.r("or.b32", c.r("and.b32", digits, imm(0x000f000f)), imm(0x43004300))
			out[half] = c.r("fma.rn.bf16x2", digits, c.once(ones), c.once(imm(-0x3cf73cf8))) // less 136
			continue
		}
		bytes := c.low(words[step], 8*half)
		// In two's complement the highest bit counts -128: less 128, or 256 with it.
		low := c.r("or.b32", c.r("and.b32", bytes, imm(0x007f007f)), imm(0x43004300))
		less := c.r("or.b32", c.r("and.b32", bytes, imm(0x00800080)), imm(-0x3cff3d00))
		out[half] = c.r("fma.rn.bf16x2", low, c.once(ones), less)
	}
	return out
}

// ones is a pair of bf16 ones.
var ones = imm(0x3f803f80)

// once is a literal in a register.
func (c *code) once(v operand) operand { return c.r("mov.u32", v) }

// low shifts a register's bits down.
func (c *code) low(v operand, by int) operand {
	if by == 0 {
		return v
	}
	return c.r("shr.u32", v, imm(int64(by)))
}
