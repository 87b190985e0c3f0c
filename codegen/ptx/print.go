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
//
// The grid's y counts sequences that are at different places of streams of their
// own: a batch. bufs then has a row for each, the addresses of the Bufs and
// behind them that of the sequence's record, and record is 0. A sequence whose
// row has 0 there too takes no part in the launch.
package ptx

import (
	"errors"
	"fmt"
	"strings"

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
	at, shared, scratch := places(p.k.Tiles, t.shared)
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
	c.note("the sequence's row of bufs, and its record")
	sequence := c.r("mov.u32", operand{sreg, "%ctaid.y"})
	bufs := c.q("mad.wide.u32", sequence, imm(int64(8*(len(p.k.Bufs)+1))), p.pointer("bufs"))
	record := c.q("ld.param.u64", paramAt("record"))
	c.onlyIf(c.p("setp.eq.s64", record, imm(0)), "ld.global.u64", record, globalAt(bufs, 8*len(p.k.Bufs)))
	c.onlyIf(c.p("setp.eq.s64", record, imm(0)), "ret")
	record = c.q("cvta.to.global.u64", record)
	if scratch > 0 {
		c.note("this CTA's slice of the scratch buffer")
		cta := c.r("mad.lo.s32", sequence, c.r("mov.u32", operand{sreg, "%nctaid.x"}), c.r("mov.u32", operand{sreg, "%ctaid.x"}))
		p.mine = c.q("mad.wide.u32", cta, imm(int64(scratch)), p.pointer("scratch"))
	}
	p.bufs = map[*kernel.Buf]operand{}
	if len(p.k.Bufs) > 0 {
		c.note("buffers")
		for i, b := range p.k.Bufs {
			p.bufs[b] = c.q("cvta.to.global.u64", c.q("ld.global.u64", globalAt(bufs, 8*i)))
		}
	}
	if len(p.k.Ints) > 0 {
		c.note("integers of the call: %s", strings.Join(p.k.Ints, ", "))
		slots := p.pointer("slots")
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
