package ptx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// grid is the loop over this CTA's blocks. A block's number counts the parts
// one after another, and within a part the last axis fastest.
func (p *printer) grid() {
	c := &p.c
	turns := make([][]operand, len(p.k.Parts)) // of each axis
	ends := make([]operand, len(p.k.Parts))    // the first block behind each part
	var end operand
	for i, part := range p.k.Parts {
		c.note("part %d: %s", i, gridText(part))
		blocks := imm(1)
		for j, a := range part.Grid {
			n := p.int(ints.Most(ints.CeilQuo(a.Extent, int64(a.Step)), ints.C(0)))
			turns[i] = append(turns[i], n)
			if j == 0 {
				blocks = n
			} else {
				blocks = c.q("mul.lo.s64", blocks, n)
			}
		}
		if i == 0 {
			end = blocks
		} else {
			end = c.q("add.s64", end, blocks)
		}
		ends[i] = end
	}
	c.note("blocks ctaid, ctaid + nctaid, ...")
	block := c.q("cvt.u64.u32", c.r("mov.u32", operand{sreg, "%ctaid.x"}))
	stride := c.q("cvt.u64.u32", c.r("mov.u32", operand{sreg, "%nctaid.x"}))
	next, again, done := c.mark("block"), c.mark("again"), c.mark("done")
	c.here(next)
	c.onlyIf(c.p("setp.ge.s64", block, end), "bra", done)
	for i, part := range p.k.Parts {
		var other operand
		last := i == len(p.k.Parts)-1
		if !last {
			other = c.mark("part")
			c.onlyIf(c.p("setp.ge.s64", block, ends[i]), "bra", other)
		}
		p.push()
		rest := block
		if i > 0 {
			rest = c.q("sub.s64", block, ends[i-1])
		}
		for j := len(part.Grid) - 1; j >= 0; j-- {
			a, at := part.Grid[j], rest
			if j > 0 {
				at = c.q("rem.s64", rest, turns[i][j])
				rest = c.q("div.s64", rest, turns[i][j])
			}
			if a.Step > 1 {
				at = c.q("mul.lo.s64", at, imm(int64(a.Step)))
			}
			p.bind(a.Var, at)
		}
		p.busy, p.pending = hazards{}, false
		p.plan = &p.parts[i]
		p.clear(i)
		p.stmts(part.Body)
		p.pop()
		if !last {
			c.op("bra", again)
			c.here(other)
		}
	}
	c.here(again)
	c.note("no tile is written again before all threads have read it")
	if p.async {
		c.op("cp.async.wait_group", imm(0))
	}
	c.op("bar.sync", imm(0))
	c.op("add.s64", block, block, stride)
	c.op("bra", next)
	c.here(done)
}

func (p *printer) stmts(body []kernel.Stmt) {
	for _, s := range body {
		if p.c.err != nil {
			return
		}
		p.stmt(s)
	}
}

func (p *printer) stmt(s kernel.Stmt) {
	p.c.note("%s", kernel.Text(s))
	p.c.depth++
	defer func() { p.c.depth-- }()
	switch s := s.(type) {
	case *kernel.For:
		p.loop(s)
		return
	case *kernel.When:
		p.when(s)
		return
	}
	reads, writes := p.inMemory(s)
	taken := writes
	for _, t := range writes {
		taken = append(slices.Clip(taken), p.alias[t]...)
	}
	if p.busy.meets(reads, taken) {
		p.barrier()
	}
	p.busy.add(reads, writes)
	switch s := s.(type) {
	case *kernel.Load:
		p.anyLoad(s)
	case *kernel.Store:
		if p.touchesRegs(s) {
			p.storeFragment(s)
		} else {
			p.store(s)
		}
	case *kernel.Map:
		if p.touchesRegs(s) {
			p.mapFragment(s)
		} else {
			p.mapTile(s)
		}
	case *kernel.Dot:
		if tensor(s) && !p.plain {
			p.product(s)
		} else {
			p.dot(s)
		}
	case *kernel.Reduce:
		if p.touchesRegs(s) {
			p.reduceFragment(s)
		} else {
			p.reduce(s)
		}
	case *kernel.Transpose:
		p.transpose(s)
	case *kernel.Slice:
		p.slice(s)
	case *kernel.Paste:
		p.paste(s)
	}
	p.busy.add(reads, writes) // again: a barrier inside forgets what came behind it
}

func (p *printer) anyLoad(s *kernel.Load) {
	switch pl := p.at[s.Dst]; {
	case pl.home == atSource:
		p.c.note("what reads it takes it from there")
	case p.begun[s]:
		p.c.note("begun a turn ago")
	case pl.home == atRegs:
		p.loadFragment(s)
	case p.copies(s):
		p.copyIn(s, p.near, pl.offset)
		p.c.op("cp.async.commit_group")
		p.pending = true
	default:
		p.load(s)
	}
}

// inMemory gives the tiles in memory that a statement reads and writes, nil for
// buffers.
func (p *printer) inMemory(s kernel.Stmt) (reads, writes []*kernel.Tile) {
	reads, writes = kernel.Touches(s)
	source := false
	keep := func(ts []*kernel.Tile) (out []*kernel.Tile) {
		for _, t := range ts {
			source = source || t != nil && p.at[t].home == atSource
			if t == nil || p.at[t].inMemory() {
				out = append(out, t)
			}
		}
		return out
	}
	reads, writes = keep(reads), keep(writes)
	if l, ok := s.(*kernel.Load); ok && (p.begun[l] || p.at[l.Dst].home == atSource) {
		return nil, nil
	}
	if source {
		reads = append(reads, nil)
	}
	return reads, writes
}

// barrier lets all threads meet. What they had copied is there then.
func (p *printer) barrier() {
	if p.pending {
		p.c.op("cp.async.wait_group", imm(0))
		p.pending = false
	}
	p.c.op("bar.sync", imm(0))
	p.busy = hazards{}
}

// clear writes 0 to tiles of a part of which no statement writes all that tensor
// cores read.
func (p *printer) clear(part int) {
	c := &p.c
	any := false
	for _, t := range p.k.Tiles {
		pl := p.at[t]
		if !pl.padded || !pl.inMemory() || pl.part >= 0 && pl.part != part {
			continue
		}
		any = true
		c.note("0 around %s", t.Name)
		words := pl.copies * pl.bytes() / 4
		p.each(imm(int64(words)), imm(1), func(i, _ operand) {
			if pl.home == atScratch {
				c.op("st.global.f32", globalAt(c.q("mad.wide.u32", i, imm(4), p.mine), pl.offset), num(0))
				return
			}
			c.op("st.shared.f32", sharedAt(c.r("mad.lo.s32", i, imm(4), p.near), pl.offset), num(0))
		})
	}
	if any {
		p.barrier()
	}
}

// loop prints a For. Its bounds are the same in all threads, so all threads
// meet at the barriers within.
func (p *printer) loop(s *kernel.For) {
	c := &p.c
	var ahead []*kernel.Load
	if !p.plain {
		for _, l := range leading(p.k, s) {
			if p.at[l.Dst].home == atShared && p.at[l.Dst].copies > 1 && p.copies(l) {
				ahead = append(ahead, l)
			}
		}
	}
	before := p.busy
	if len(ahead) > 0 {
		p.loopAhead(s, ahead)
		p.busy = p.busy.or(before)
		return
	}
	if p.pending {
		p.barrier()
	}
	lo, hi := p.int(s.Lo), p.int(s.Hi)
	v := c.q("mov.u64", lo)
	body, end := c.mark("loop"), c.mark("end")
	before = p.busy
	c.here(body)
	c.onlyIf(c.p("setp.ge.s64", v, hi), "bra", end)
	p.barrier() // between the turns
	p.push()
	p.bind(s.Var, v)
	p.stmts(s.Body)
	p.pop()
	if p.pending {
		p.barrier()
	}
	c.op("add.s64", v, v, imm(int64(s.Step)))
	c.op("bra", body)
	c.here(end)
	p.busy = p.busy.or(before) // the loop may have run no turn
}

func (p *printer) when(s *kernel.When) {
	end := p.c.mark("end")
	p.c.unless(p.cond(s.Cond), "bra", end)
	before, pending := p.busy, p.pending
	p.push()
	p.stmts(s.Body)
	p.pop()
	p.c.here(end)
	p.busy = p.busy.or(before)
	p.pending = p.pending || pending
}

// gridText is a part's grid as the kernel text has it.
func gridText(part kernel.Part) string {
	axes := make([]string, len(part.Grid))
	for i, a := range part.Grid {
		axes[i] = fmt.Sprintf("%s: %s step %d", a.Var, a.Extent, a.Step)
	}
	return "grid(" + strings.Join(axes, ", ") + ")"
}
