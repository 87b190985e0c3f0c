// Package ptx prints kernels (ir/kernel) as PTX text.
//
// A block of a kernel's grid is run by one CTA of Info.Threads threads; a CTA that
// has finished a block goes on with the block NCTA further, so that any number of
// CTAs, from 1 up, runs any grid.
//
// # Where tiles live
//
// Products anchor the layout: the sums of one are the accumulators of mma, spread
// over the warps of the CTA (spread.go), and every tile that only such statements
// touch as can work on these is held in registers the same way; columns and rows
// that go with them are held beside. Loads, maps, reductions and stores then need
// no shared memory and no barrier; a reduction goes over the lanes of a quad by
// shuffles, and through shared memory only where a row spans warps. Accumulators
// are the next product's left operand as they stand. What else products read lies
// in shared memory, in lines whose length keeps ldmatrix, the reads of f32
// fragments and 16-byte copies free of bank conflicts; an operand of bf16 or
// f16 stays that. Loads of such are cp.async copies of 16 bytes, in loops with stages
// begun a turn early; an operand too large for that is never a tile at all: the product
// takes it from its buffer step by step, two or three steps in flight (stream.go).
// Codes of quantised weights travel so, too, and become bf16 on their way into fragments (codes.go).
// A part of products is printed a second time for few rows (few.go).
// Where lines are not 16 bytes apart, and for what is neither of these, elements
// are dealt out to threads one by one; tiles that do not fit go to a scratch buffer.
// place.go decides all of it: which tile has which home (homes.go) for how long
// (life.go), how it lies there (lines.go), and where (fit.go). A barrier stands before each statement that touches
// a tile in memory which another thread may have written or may still be reading.
//
// # Products
//
// Where a product lets groups of 8 or 16 terms be summed in any fixed order (see
// kernel.Dot), it is mma of bf16 operands with f32 sums, the groups in ascending
// order; else each sum is one chain of fused multiply-adds.
// Operands that are to be rounded to bf16 are one bf16 term; those of f32 are the
// sum of three, x = x0 + x1 + x2, each the bf16 nearest to what the ones before it
// leave. That sum is exact, 8 bits a term, and of the nine products the three with
// 2^-25 of the whole or less are left out (xi·yj with i+j > 2): together they are
// about half a unit in the last place of an f32 product at most, and of either
// sign, since terms are rounded and not cut. So six mma make a product of f32 operands,
// three one of f32 by what lies as bf16. An f16 is the sum of two such terms, as its
// 11 bits are: five mma make a product of f32 by what lies as f16. (Two f16 terms of
// an f32 would have 22 of its 24 bits, and few of its exponents.) Where both operands
// lie as f16, their products are exact as they stand, with one mma of f16. Two tf32
// terms of 11 bits, the other way to it, give 2^-21 with three mma of half the rate:
// the same cost for an eighth of the accuracy. Infinite operands give NaN, where a chain would give infinities.
// A group of 16 terms is m16n8k16, once for each product of parts, the smallest first.
// A group of 8 is that too: two products of parts of the same 8 terms stand side by
// side, as 16 terms would, so that three instructions make a product of f32 operands
// and not six of half the width; what has no other beside it is m16n8k8. Those, too,
// are added to the sums in the order of their sizes.
// The order of the sums over k depends on k alone, so that a row's result does not
// depend on the rows beside it.
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
// entry is launched as a grid of CTAs in x, of Info.Threads threads each, with
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
	Threads int    // of a CTA
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
		p := &printer{k: withFew(ordered(k)), tables: &tables}
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
	fmt.Fprintf(b, "\n// %s: %d threads, %d bytes shared, %d bytes of scratch a CTA\n", info.Name, info.Threads, info.Shared, info.Scratch)
	for i, buf := range p.k.Bufs {
		fmt.Fprintf(b, "//   bufs[%d]   %s\n", i, ascii(buf.String()))
	}
	for i, name := range p.k.Ints {
		fmt.Fprintf(b, "//   slots[%d]  %s\n", i, ascii(name))
	}
	for _, t := range p.k.Tiles {
		fmt.Fprintf(b, "//   %-22s %s\n", p.at[t], ascii(t.String()))
	}
	fmt.Fprintf(b, ".visible .entry %s(\n", info.Name)
	b.WriteString("    .param .u64 bufs,\n    .param .u64 slots,\n    .param .u64 record,\n    .param .u64 scratch)\n")
	fmt.Fprintf(b, ".maxntid %d, 1, 1\n", info.Threads)
	if info.Threads > 128 { // with these a CTA may take all registers of an SM; ptxas weighs for fewer
		b.WriteString(".minnctapersm 1\n")
	}
	b.WriteString("{\n")
	p.c.print(b)
	b.WriteString("}\n")
}

// printer writes one kernel.
type printer struct {
	k       *kernel.Kernel
	c       code
	tables  *tableSet
	at      map[*kernel.Tile]place
	alias   map[*kernel.Tile][]*kernel.Tile
	parts   []partPlan
	plan    *partPlan                  // of the part at hand
	plain   bool                       // no tile is in registers, no product on tensor cores
	threads int                        // of a CTA
	steps   map[string]int64           // see stepsOf
	regs    map[*kernel.Tile][]operand // of tiles in registers
	moving  map[*kernel.Tile]operand   // where the copy at hand of a tile with two begins
	begun   map[*kernel.Load]bool      // loads that were begun one turn early
	bufs    map[*kernel.Buf]operand    // device addresses
	near    operand                    // where shared memory begins
	mine    operand                    // the CTA's slice of the scratch buffer
	tid     operand
	scope   *scope
	busy    hazards
	pending bool                     // copies are under way for which no thread has waited
	async   bool                     // the kernel has any
	most    [2]int64                 // bounds of r and c in the statement at hand
	even    pairOf                   // see keep
	right   map[*kernel.Tile]operand // see passed
	beside  map[*kernel.Tile]operand // what peek has read with the left neighbour
}

func (p *printer) kernel(t target) (Info, error) {
	placed := arrange(p.k, t.shared, false)
	if placed.shared > t.shared {
		placed, p.plain = arrange(p.k, t.shared, true), true
	}
	shared, scratch := placed.shared, placed.scratch
	p.alias = placed.alias
	p.at, p.parts, p.threads, p.steps = placed.at, placed.parts, 32*placed.warps, stepsOf(p.k)
	p.regs, p.moving, p.begun = map[*kernel.Tile][]operand{}, map[*kernel.Tile]operand{}, map[*kernel.Load]bool{}
	p.right, p.beside = map[*kernel.Tile]operand{}, map[*kernel.Tile]operand{}
	p.push()
	p.prologue(shared, scratch)
	p.grid()
	p.c.op("ret")
	if p.c.err == nil && p.c.sm > t.sm {
		p.c.fail(fmt.Errorf("an instruction needs sm_%d, and the target is %s", p.c.sm, t.name))
	}
	return Info{Threads: p.threads, Shared: shared, Scratch: scratch}, p.c.err
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
