package ptx

import (
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// copyable reports whether a load can go from the buffer to shared memory by
// cp.async, 16 bytes at a time, and which of r and c runs along those: the
// elements keep their type, follow each other in memory, and every line of them
// begins at a multiple of 16 bytes.
func copyable(k *kernel.Kernel, s *kernel.Load) (along string, ok bool) {
	b := s.Buf
	if s.Gather != nil || b.Elem != kernel.F32 && !half(b.Elem) || s.Dst.Elem != kernel.F32 || b.Panel > 0 && len(b.Dims) > 1 {
		return "", false
	}
	vec := int64(16 / b.Elem.Size())
	steps := stepsOf(k)
	offset := b.Offset(s.Idx)
	for _, v := range []struct {
		name string
		size int
	}{{kernel.Col, s.Dst.Cols}, {kernel.Row, s.Dst.Rows}} {
		c, rest, ok := offset.Coeff(v.name)
		if ok && c == 1 && int64(v.size) >= vec && divides(rest, vec, steps) {
			return v.name, true
		}
	}
	return "", false
}

// stepsOf gives the largest power of two, up to 64, of which the values of each
// axis and loop are multiples.
func stepsOf(k *kernel.Kernel) map[string]int64 {
	steps := map[string]int64{}
	add := func(name string, n int64) {
		p := n & -n
		if old, ok := steps[name]; ok {
			p = min(p, old)
		}
		steps[name] = min(p, 64)
	}
	var walk func(body []kernel.Stmt)
	walk = func(body []kernel.Stmt) {
		for _, s := range body {
			switch s := s.(type) {
			case *kernel.For:
				n := int64(s.Step)
				if lo, ok := s.Lo.IsConst(); !ok {
					n = 1
				} else if lo != 0 {
					n |= lo & -lo // the lower of the two lowest bits
					n = min(n&-n, lo&-lo)
				}
				add(s.Var, n)
				walk(s.Body)
			case *kernel.When:
				walk(s.Body)
			}
		}
	}
	for _, pt := range k.Parts {
		for _, a := range pt.Grid {
			if n, ok := a.Extent.IsConst(); ok && n <= int64(a.Step) {
				add(a.Var, 64) // 0 alone
				continue
			}
			add(a.Var, int64(a.Step))
		}
		walk(pt.Body)
	}
	return steps
}

// feed is a copy of lines of a buffer into shared memory: lines x length elements
// of which some are valid; the others become 0.
type feed struct {
	load        *kernel.Load
	offset      *ints.Expr // over r and c, one of which counts lines
	along       string     // the other one
	lines       int
	length      int
	ld          int
	validLines  operand
	validLength operand
}

// unit is the bytes that a buffer's offsets count: those of an element, or single
// ones of codes.
func unit(b *kernel.Buf) int { return max(1, b.Elem.Size()) }

// copy begins a feed's copies to base + off in shared memory; commit and wait
// are the caller's. Neighbouring threads copy neighbouring 16 bytes.
func (p *printer) copy(f feed, base operand, off int) {
	c := &p.c
	size := unit(f.load.Buf)
	vec := 16 / size
	each := (f.length + vec - 1) / vec // 16 bytes of a line
	all := f.lines * each
	p.async = true
	most := int64(max(f.lines, each*vec))
	p.most = [2]int64{most, most}
	p.push()
	p.hoistAddress(f.load.Buf, f.offset)
	bytes := func(place operand) operand {
		if f.validLength.kind == whole && f.validLength.value() >= int64(each*vec) {
			return imm(16)
		}
		left := c.r("sub.s32", f.validLength, place)
		left = c.r("mul.lo.s32", left, imm(int64(size)))
		return c.r("min.s32", c.r("max.s32", left, imm(0)), imm(16))
	}
	// Where the threads are whole lines, each has one place in the line.
	lined := p.threads%each == 0
	short := lined && (each == 2 || each == 4)
	var line, place, n, to operand
	at := func(e operand) {
		if lines := 32 / max(1, each); short {
			// Eight lanes that write at one time write eight lines, which begin in
			// different banks: two parts of short lines may not.
			within := c.r("and.b32", e, imm(int64(lines-1)))
			line = c.r("mad.lo.s32", c.r("shr.u32", e, imm(5)), imm(int64(lines)), within)
			place, _ = c.split(c.r("and.b32", e, imm(31)), operand{}, imm(int64(lines)))
		} else {
			line, place = c.split(e, operand{}, imm(int64(each)))
		}
		line, place = c.register(line), c.product(c.register(place), imm(int64(vec)))
		n = bytes(place)
		to = c.r("mad.lo.s32", c.r("mad.lo.s32", line, imm(int64(f.ld)), place), imm(int64(size)), base)
	}
	if lined {
		at(p.tid)
	}
	for i := 0; i*p.threads < all; i++ {
		p.push()
		here, shift := operand{}, 0
		if lined {
			down := i * (p.threads / each)
			here, shift = c.shift(line, down), down*f.ld*size
		} else {
			at(c.shift(p.tid, i*p.threads))
			here = line
		}
		if f.along == kernel.Col {
			p.place(here, place)
		} else {
			p.place(place, here)
		}
		count := n
		if ok := p.inside(here, f.validLines, f.lines, f.lines); ok.kind != 0 {
			count = c.r("selp.b32", n, imm(0), ok)
		}
		from := p.address(f.load.Buf, f.offset)
		there := operand{}
		if (i+1)*p.threads > all {
			if lined {
				there = c.p("setp.lt.s32", here, imm(int64(f.lines)))
			} else {
				there = c.p("setp.lt.s32", c.shift(p.tid, i*p.threads), imm(int64(all)))
			}
		}
		c.when(there, "cp.async.cg.shared.global", sharedAt(to, off+shift), from, operand{sixteen, "16"}, count)
		p.pop()
	}
	p.pop()
}

// copyTile begins the copies of a load whose tile is in shared memory.
func (p *printer) copyIn(s *kernel.Load, base operand, off int) {
	pl := p.at[s.Dst]
	along, _ := copyable(p.k, s)
	f := feed{load: s, offset: s.Buf.Offset(s.Idx), along: along, lines: s.Dst.Rows, length: s.Dst.Cols, ld: pl.ld, validLines: p.rows(s.Dst), validLength: p.cols(s.Dst)}
	if along == kernel.Row {
		f.lines, f.length, f.validLines, f.validLength = s.Dst.Cols, s.Dst.Rows, f.validLength, f.validLines
	}
	p.copy(f, base, off)
}

// copies reports whether a load goes to shared memory by 16 bytes: its tile lies
// as the buffer does, in the buffer's type.
func (p *printer) copies(s *kernel.Load) bool {
	pl := p.at[s.Dst]
	along, ok := copyable(p.k, s)
	return ok && !p.plain && pl.home == atShared && pl.elem == s.Buf.Elem && pl.flip == (along == kernel.Row && s.Dst.Rows > 1) && pl.ld*pl.elem.Size()%16 == 0
}

// ahead prints a loop whose first loads are begun one turn early, into the other
// one of two buffers each.
func (p *printer) loopAhead(s *kernel.For, loads []*kernel.Load) {
	c := &p.c
	lo, hi := p.int(s.Lo), p.int(s.Hi)
	v := c.q("mov.u64", lo)
	next := c.q("mov.u64", lo)
	var here, other, sum []operand
	p.barrier()
	for _, l := range loads {
		pl := p.at[l.Dst]
		o := c.r("add.s32", p.near, imm(int64(pl.offset)))
		other = append(other, o)
		here = append(here, c.r("add.s32", o, imm(int64(pl.bytes()))))
		sum = append(sum, c.r("add.s32", o, here[len(here)-1]))
	}
	begin := func() {
		skip := c.mark("skip")
		c.onlyIf(c.p("setp.ge.s64", next, hi), "bra", skip)
		p.push()
		p.bind(s.Var, next)
		if len(s.Body) == 1 {
			if w, ok := s.Body[0].(*kernel.When); ok {
				c.unless(p.cond(w.Cond), "bra", skip)
			}
		}
		for i, l := range loads {
			p.copyIn(l, other[i], 0)
		}
		p.pop()
		c.here(skip)
		c.op("cp.async.commit_group")
	}
	begin()
	body, end := c.mark("loop"), c.mark("end")
	c.here(body)
	c.onlyIf(c.p("setp.ge.s64", v, hi), "bra", end)
	c.op("cp.async.wait_group", imm(0))
	c.op("bar.sync", imm(0)) // all copies of this turn are there, and the last turn's buffers are free
	p.busy, p.pending = hazards{}, false
	for i, l := range loads {
		o := c.r("sub.s32", sum[i], other[i])
		c.op("mov.u32", here[i], other[i])
		c.op("mov.u32", other[i], o)
		p.moving[l.Dst] = here[i]
	}
	c.note("copies for the next turn")
	c.op("add.s64", next, next, imm(int64(s.Step)))
	begin()
	p.push()
	p.bind(s.Var, v)
	for _, l := range loads {
		p.begun[l] = true
	}
	p.stmts(s.Body)
	for _, l := range loads {
		delete(p.begun, l)
		delete(p.moving, l.Dst)
	}
	p.pop()
	c.op("add.s64", v, v, imm(int64(s.Step)))
	c.op("bra", body)
	c.here(end)
}
