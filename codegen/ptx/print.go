// Package ptx prints kernels (ir/kernel) as PTX text.
//
// A block of a kernel's grid is run by one CTA of Threads threads; a CTA that
// has finished a block goes on with the block NCTA further, so that any number
// of CTAs, from 1 up, runs any grid. Tiles live in dynamic shared memory, the
// largest of them in a scratch buffer where they do not all fit. The elements
// of each statement are dealt out to the threads in turn, over the valid region
// alone, and a barrier stands before each statement that touches a tile which
// another thread may have written or may still be reading.
//
// # Entries
//
// Every kernel is one entry
//
//	.visible .entry name(.param .u64 bufs, .param .u64 slots, .param .u64 record, .param .u64 scratch)
//
// of four device addresses. bufs is an array of the device addresses of the
// kernel's Bufs; integer i of its Ints is record[slots[i]], as in the native
// ABI at the end of ir/plan; scratch has Info.Scratch bytes for each CTA
// launched, aligned to 128 bytes, and is not read where Info.Scratch is 0. An
// entry is launched as a grid of CTAs in x, of Threads threads each, with
// Info.Shared bytes of dynamic shared memory.
package ptx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Threads is the number of threads of a CTA.
const Threads = 128

// Module is PTX text for one target (PTX ISA, "PTX Module Directives").
type Module struct {
	Text    string
	Kernels []Info // in the order that they were given
	Version string // of PTX, "7.8": the least that has the target and every instruction used
	Target  string
}

// Info is what a launch of one kernel needs to know.
type Info struct {
	Name    string // the entry's name: the kernel's, with what PTX does not allow in one written as _
	Shared  int    // bytes of dynamic shared memory
	Scratch int    // bytes of the scratch buffer for each CTA
}

// Print prints kernels as one module for a target of Targets. It prints every
// kernel that Verify has nothing to say against; an error names the kernel and
// what is wrong with it.
func Print(ks []*kernel.Kernel, target string) (*Module, error) {
	t, err := findTarget(target)
	if err != nil {
		return nil, err
	}
	return module(ks, t)
}

func module(ks []*kernel.Kernel, t target) (*Module, error) {
	m := &Module{Target: t.name}
	version := t.ptx
	var tables tableSet
	var body strings.Builder
	used := map[string]bool{}
	for _, k := range ks {
		if err := errors.Join(k.Verify()...); err != nil {
			return nil, fmt.Errorf("ptx: %w", err)
		}
		name := entryName(k.Name)
		if used[name] {
			return nil, fmt.Errorf("ptx: two kernels are called %s", name)
		}
		used[name] = true
		p := &printer{k: k, tables: &tables}
		info, err := p.kernel(t)
		if err != nil {
			return nil, fmt.Errorf("ptx: kernel %s: %w", k.Name, err)
		}
		info.Name = name
		version = max(version, p.c.ptx)
		m.Kernels = append(m.Kernels, info)
		entry(&body, info, p)
	}
	m.Version = fmt.Sprintf("%d.%d", version/10, version%10)
	var b strings.Builder
	b.WriteString(header(version, t.name))
	tables.print(&b)
	b.WriteString(body.String())
	m.Text = b.String()
	return m, nil
}

// header is how a module begins; near is the dynamic shared memory.
func header(version int, target string) string {
	return fmt.Sprintf(".version %d.%d\n.target %s\n.address_size 64\n\n.extern .shared .align 128 .b8 near[];\n", version/10, version%10, target)
}

// entryName keeps letters, digits and '_', and begins with none of the names
// that this package or PTX itself gives.
func entryName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if clean == "" || clean[0] == '_' || clean[0] >= '0' && clean[0] <= '9' {
		clean = "k" + clean
	}
	return clean
}

func entry(b *strings.Builder, info Info, p *printer) {
	fmt.Fprintf(b, "\n// %s: %d bytes shared, %d bytes of scratch a CTA\n", info.Name, info.Shared, info.Scratch)
	for i, buf := range p.k.Bufs {
		fmt.Fprintf(b, "//   bufs[%d]   %s\n", i, ascii(buf.String()))
	}
	for i, name := range p.k.Ints {
		fmt.Fprintf(b, "//   slots[%d]  %s\n", i, ascii(name))
	}
	for _, t := range p.k.Tiles {
		where := "near"
		if p.places[t].spilled {
			where = "scratch"
		}
		fmt.Fprintf(b, "//   %s+%d  %s\n", where, p.places[t].offset, ascii(t.String()))
	}
	fmt.Fprintf(b, ".visible .entry %s(\n", info.Name)
	b.WriteString("    .param .u64 bufs,\n    .param .u64 slots,\n    .param .u64 record,\n    .param .u64 scratch)\n")
	fmt.Fprintf(b, ".maxntid %d, 1, 1\n{\n", Threads)
	p.c.print(b)
	b.WriteString("}\n")
}

// printer writes one kernel.
type printer struct {
	k      *kernel.Kernel
	c      code
	tables *tableSet
	places map[*kernel.Tile]place
	bufs   map[*kernel.Buf]operand // device addresses
	near   operand                 // where shared memory begins
	mine   operand                 // the CTA's slice of the scratch buffer
	tid    operand
	scope  *scope
	busy   hazards
}

func (p *printer) kernel(t target) (Info, error) {
	at, shared, scratch, err := places(p.k.Tiles, t.shared)
	if err != nil {
		return Info{}, err
	}
	p.places = at
	p.push()
	p.prologue(shared, scratch)
	p.grid()
	p.c.op("ret")
	if p.c.err == nil && p.c.sm > t.sm {
		p.c.fail(fmt.Errorf("an instruction needs sm_%d, and the target is %s", p.c.sm, t.name))
	}
	return Info{Shared: shared, Scratch: scratch}, p.c.err
}

// prologue reads the parameters: buffers, integers, and where tiles are.
func (p *printer) prologue(shared, scratch int) {
	c := &p.c
	p.tid = c.r("mov.u32", operand{sreg, "%tid.x"})
	if shared > 0 {
		p.near = c.r("mov.u32", operand{symbol, "near"})
	}
	if scratch > 0 {
		c.note("this CTA's slice of the scratch buffer")
		cta := c.r("mov.u32", operand{sreg, "%ctaid.x"})
		p.mine = c.q("mad.wide.u32", cta, imm(int64(scratch)), p.pointer("scratch"))
	}
	p.bufs = map[*kernel.Buf]operand{}
	if len(p.k.Bufs) > 0 {
		c.note("buffers")
		bufs := p.pointer("bufs")
		for i, b := range p.k.Bufs {
			p.bufs[b] = c.q("cvta.to.global.u64", c.q("ld.global.u64", globalAt(bufs, 8*i)))
		}
	}
	if len(p.k.Ints) > 0 {
		c.note("integers of the call: %s", strings.Join(p.k.Ints, ", "))
		slots, record := p.pointer("slots"), p.pointer("record")
		for i, name := range p.k.Ints {
			slot := c.q("ld.global.u64", globalAt(slots, 8*i))
			at := c.q("mad.lo.s64", slot, imm(8), record)
			p.bind(name, c.q("ld.global.u64", globalAt(at, 0)))
		}
	}
}

func (p *printer) pointer(name string) operand {
	return p.c.q("cvta.to.global.u64", p.c.q("ld.param.u64", paramAt(name)))
}

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
		p.busy = hazards{}
		p.stmts(part.Body)
		p.pop()
		if !last {
			c.op("bra", again)
			c.here(other)
		}
	}
	c.here(again)
	c.note("no tile is written again before all threads have read it")
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
	reads, writes := touches(s)
	if p.busy.meets(reads, writes) {
		p.c.op("bar.sync", imm(0))
		p.busy = hazards{}
	}
	p.busy.add(reads, writes)
	switch s := s.(type) {
	case *kernel.Load:
		p.load(s)
	case *kernel.Store:
		p.store(s)
	case *kernel.Map:
		p.mapTile(s)
	case *kernel.Dot:
		p.dot(s)
	case *kernel.Reduce:
		p.reduce(s)
	case *kernel.Transpose:
		p.transpose(s)
	case *kernel.Slice:
		p.slice(s)
	case *kernel.Paste:
		p.paste(s)
	}
}

// loop prints a For. Its bounds are the same in all threads, so all threads
// meet at the barriers within.
func (p *printer) loop(s *kernel.For) {
	c := &p.c
	lo, hi := p.int(s.Lo), p.int(s.Hi)
	v := c.q("mov.u64", lo)
	body, end := c.mark("loop"), c.mark("end")
	before := p.busy
	c.here(body)
	c.onlyIf(c.p("setp.ge.s64", v, hi), "bra", end)
	c.op("bar.sync", imm(0)) // between the turns
	p.busy = hazards{}
	p.push()
	p.bind(s.Var, v)
	p.stmts(s.Body)
	p.pop()
	c.op("add.s64", v, v, imm(int64(s.Step)))
	c.op("bra", body)
	c.here(end)
	p.busy = p.busy.or(before) // the loop may have run no turn
}

func (p *printer) when(s *kernel.When) {
	end := p.c.mark("end")
	p.c.unless(p.cond(s.Cond), "bra", end)
	before := p.busy
	p.push()
	p.stmts(s.Body)
	p.pop()
	p.c.here(end)
	p.busy = p.busy.or(before)
}

// gridText is a part's grid as the kernel text has it.
func gridText(part kernel.Part) string {
	axes := make([]string, len(part.Grid))
	for i, a := range part.Grid {
		axes[i] = fmt.Sprintf("%s: %s step %d", a.Var, a.Extent, a.Step)
	}
	return "grid(" + strings.Join(axes, ", ") + ")"
}
