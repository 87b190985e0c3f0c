package ptx

import (
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// flow is how a product takes operands from their buffers: so many terms of k a
// step, each step of an operand in a buffer of its own in shared memory.
type flow struct {
	k     int // terms of a step
	sides [2]channel
	bytes int // of a step, both operands
}

// channel is one streamed operand; load is nil where the operand is a tile.
type channel struct {
	load   *kernel.Load
	along  bool // k runs along a line
	lines  int
	length int
	ld     int
	offset int // bytes from the step's begin
}

// streamOf says how a product streams; bytes is 0 where it does not.
func streamOf(s *kernel.Dot, at map[*kernel.Tile]place, sp spread) flow {
	var f flow
	f.k = 64
	for _, t := range []*kernel.Tile{s.A, s.B} {
		if pl := at[t]; pl.home == atSource && pl.elem == kernel.F32 && s.Dst.Rows > fewRows {
			f.k = 32
		}
	}
	m, n, k := sizes(s)
	share := shared(s, at, sp)
	switch {
	case share:
		f.k = sharedTerms
	case codesIn(s, at) >= 0:
		f.k = 64
	}
	if k%64 != 0 {
		f.k = 32
	}
	for i, t := range []*kernel.Tile{s.A, s.B} {
		pl := at[t]
		if pl.home != atSource {
			continue
		}
		left := i == 0
		kRows := left && s.TransA || !left && !s.TransB
		var other int
		if left {
			other = up(m, 16*sp.down)
		} else {
			other = max(16, up(n, 8*sp.across))
		}
		if e := pl.elem; e.Quantised() {
			if share {
				other = sharedCol
			}
			blocks := f.k / e.Group() * elem.FragmentRows * int(e.BlockBytes())
			f.sides[i] = channel{load: pl.load, lines: other / elem.FragmentRows, length: blocks, ld: blocks, offset: f.bytes}
			f.bytes += up(other/elem.FragmentRows*blocks, 128)
			continue
		}
		// r runs along the buffer's lines where its coefficient is 1.
		c, _, ok := pl.load.Buf.Offset(pl.load.Idx).Coeff(kernel.Col)
		byRow := !ok || c != 1
		ch := channel{load: pl.load, along: kRows == byRow, lines: other, length: f.k, offset: f.bytes}
		if !ch.along {
			ch.lines, ch.length = f.k, other
		}
		ch.ld = lineOf(ch.length, pl.elem, true, ch.along)
		f.sides[i] = ch
		f.bytes += up(ch.lines*ch.ld*pl.elem.Size(), 128)
	}
	return f
}

// codesIn says which operand of a product comes as codes from its buffer: 0 for
// the left one, 1 for the right one, or -1.
func codesIn(s *kernel.Dot, at map[*kernel.Tile]place) int {
	for i, t := range []*kernel.Tile{s.A, s.B} {
		if pl := at[t]; pl.home == atSource && pl.elem.Quantised() {
			return i
		}
	}
	return -1
}

// step0 is the variable of the first term of a step.
const step0 = "%k"

// streamed computes a product in registers of operands that are not there yet:
// the copies of a step are begun some steps before it is computed.
func (p *printer) streamed(s *kernel.Dot, w *warpTile, f flow, row, col operand) {
	c := &p.c
	_, _, k := sizes(s)
	steps, stages := (k+f.k-1)/f.k, p.plan.stages
	tiles := []*kernel.Tile{s.A, s.B}
	p.barrier()
	begin := func(base, at operand) {
		p.push()
		p.bind(step0, at)
		for i, ch := range f.sides {
			switch {
			case ch.load == nil:
			case ch.load.Buf.Elem.Quantised():
				p.copy(p.feedOfCodes(tiles[i], ch), base, ch.offset)
			default:
				p.copy(p.feedOf(s, tiles[i], i == 0, ch, f.k, k), base, ch.offset)
			}
		}
		p.pop()
	}
	from := c.r("add.s32", p.near, imm(int64(p.plan.stream)))
	end := c.r("add.s32", from, imm(int64(stages*f.bytes)))
	for i := range stages - 1 {
		if i < steps {
			begin(c.shift(from, i*f.bytes), imm(int64(i*f.k)))
		}
		c.op("cp.async.commit_group")
	}
	var sides [2]*side
	for i, first := range []operand{row, col} {
		if ch := f.sides[i]; ch.load != nil {
			elem := ch.load.Buf.Elem
			if elem.Quantised() {
				if shared(s, p.at, p.plan.spread) {
					first = c.r("mov.u32", imm(0))
				}
				sides[i] = p.codedSide(i == 0, ch, first, from)
				continue
			}
			d := &side{left: i == 0, along: ch.along, terms: termsOf(s, p.at[tiles[i]]), elem: elem, ld: ch.ld, off: ch.offset, native: p.native(s)}
			d.base = c.r("mad.lo.s32", p.laneStart(d, first), imm(int64(elem.Size())), from)
			sides[i] = d
			continue
		}
		sides[i] = p.walking(p.side(s, i == 0, first))
	}
	fill := c.r("add.s32", from, imm(int64((stages-1)*f.bytes)))
	read := c.r("mov.u32", from)
	n := c.r("mov.u32", imm(0))
	at := c.q("mov.u64", imm(int64((stages-1)*f.k)))
	body := c.mark("step")
	c.here(body)
	c.depth++
	c.op("cp.async.wait_group", imm(int64(stages-2)))
	c.op("bar.sync", imm(0))
	skip := c.mark("skip")
	c.onlyIf(c.p("setp.ge.s64", at, imm(int64(k))), "bra", skip)
	begin(fill, at)
	c.here(skip)
	c.op("cp.async.commit_group")
	if shared(s, p.at, p.plan.spread) {
		p.sharedStep(w, sides[0], sides[1])
	} else if codesIn(s, p.at) >= 0 {
		p.codedStep(w, sides[0], sides[1], f.k)
	} else {
		for x := 0; x < f.k; x += 16 {
			p.step(w, sides[0], sides[1], x)
		}
	}
	// The next step's buffers, around the ring.
	around := func(v operand, by operand) {
		c.op("add.s32", v, v, imm(int64(f.bytes)))
		over := c.p("setp.eq.s32", v, by)
		c.op("selp.b32", v, from, v, over)
	}
	around(fill, end)
	before := c.r("mov.u32", read)
	around(read, end)
	moved := c.r("sub.s32", read, before)
	for i, d := range sides {
		if f.sides[i].load == nil {
			p.advance(d, f.k)
			continue
		}
		c.op("add.s32", d.base, d.base, moved)
	}
	c.op("add.s64", at, at, imm(int64(f.k)))
	c.op("add.s32", n, n, imm(1))
	c.depth--
	c.onlyIf(c.p("setp.lt.s32", n, imm(int64(steps))), "bra", body)
	p.busy, p.pending = hazards{}, false
}

// feedOf is one step's copy of an operand: rows and columns beyond the tile, and
// terms beyond the last, are 0.
func (p *printer) feedOf(s *kernel.Dot, t *kernel.Tile, left bool, ch channel, each, k int) feed {
	kRows := left && s.TransA || !left && !s.TransB
	kVar, other := kernel.Col, p.rows(t)
	if kRows {
		kVar, other = kernel.Row, p.cols(t)
	}
	offset := ch.load.Buf.Offset(ch.load.Idx).Subst(map[string]*ints.Expr{kVar: ints.Plus(ints.V(step0), ints.V(kVar))})
	f := feed{load: ch.load, offset: offset, lines: ch.lines, length: ch.length, ld: ch.ld}
	terms := imm(int64(each))
	if k%each != 0 {
		left := p.int(ints.Minus(ints.C(int64(k)), ints.V(step0)))
		if left.kind == whole {
			terms = imm(min(left.value(), int64(each)))
		} else {
			terms = p.c.r("min.s32", p.c.r("cvt.u32.u64", left), terms)
		}
	}
	alongR := ch.along == kRows // r runs along the buffer's lines
	f.along = kernel.Col
	if alongR {
		f.along = kernel.Row
	}
	f.validLines, f.validLength = other, terms
	if !ch.along {
		f.validLines, f.validLength = terms, other
	}
	return f
}
