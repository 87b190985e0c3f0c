package ptx

import (
	"fmt"

	"github.com/memc-lang/memc/ir/kernel"
)

// home is where a tile lives.
type home uint8

const (
	atShared  home = iota // shared memory
	atScratch             // the CTA's slice of the scratch buffer
	atRegs                // registers, as fragments (see spread)
	atSource              // nowhere: a product takes it from the buffer step by step, a map as it goes
)

// place is a tile's home, and how it lies in memory: lines of ld elements, a line
// being a row, or a column where flip.
type place struct {
	home    home
	elem    kernel.Elem // of its elements in memory: bf16 or f16 where they are that exactly, bf16 where products round them to it
	offset  int         // bytes
	ld      int
	lines   int
	flip    bool
	operand bool         // tensor cores read it: elements outside the valid region are 0
	padded  bool         // it has more lines or longer ones than the tile: they are 0 all along
	copies  int          // buffers, one after another, for loads ahead
	load    *kernel.Load // atSource: what it is
	values  kernel.Elem  // the narrowest type that all of them have: bf16, f16 or the tile's
	part    int          // that uses it; -1: several
}

// String says where, as the comment above an entry has it.
func (pl place) String() string {
	switch pl.home {
	case atRegs:
		return "registers"
	case atSource:
		return "its buffer"
	case atScratch:
		return fmt.Sprintf("scratch+%d", pl.offset)
	}
	how := ""
	if half(pl.elem) {
		how = " " + pl.elem.String()
	}
	if pl.flip {
		how += " by columns"
	}
	if pl.copies > 1 {
		how += " twice"
	}
	return fmt.Sprintf("near+%d%s", pl.offset, how)
}

// bytes is the room of one copy, a multiple of 128: a line of global memory, and
// once around the banks of shared memory.
func (pl place) bytes() int { return (pl.lines*pl.ld*pl.elem.Size() + 127) &^ 127 }

// half reports whether elements are floats of 16 bits, which ldmatrix moves.
func half(e kernel.Elem) bool { return e == kernel.BF16 || e == kernel.F16 }

func (pl place) inMemory() bool { return pl.home == atShared || pl.home == atScratch }

// partPlan is what placement decided for a part.
type partPlan struct {
	spread
	at       int // where the part's own shared memory begins
	exchange int // bytes there through which warps reduce, or hand on sums
	stream   int // where the buffers of streamed operands begin
	stages   int // of them
}

// placement says where every tile of a kernel lives.
type placement struct {
	at      map[*kernel.Tile]place
	parts   []partPlan
	warps   int
	alias   map[*kernel.Tile][]*kernel.Tile // tiles that share memory with one
	shared  int                             // bytes
	scratch int
}

type placer struct {
	placement
	k      *kernel.Kernel
	limit  int
	uses   map[*kernel.Tile][]access
	stores []access
	ends   map[*kernel.For][2]int // first and last statement in a loop
	ahead  map[*kernel.Load]bool  // loads that a loop begins one turn early
	count  int
	bodies int
}

// arrange decides where tiles live. Tiles are fragments in registers where every
// statement that touches them can work on such; what products read from memory is
// laid out for ldmatrix and 16-byte copies; the rest is plain rows in shared
// memory, the largest of them in scratch where they do not fit.
//
// Where that needs more shared memory than there is, plain gives a kernel whose
// tiles are all plain rows in memory, and whose products are chains.
func arrange(k *kernel.Kernel, limit int, plain bool) placement {
	p := &placer{k: k, limit: limit, uses: map[*kernel.Tile][]access{}, ends: map[*kernel.For][2]int{}, ahead: map[*kernel.Load]bool{}}
	p.at = map[*kernel.Tile]place{}
	for i := range k.Parts {
		p.walk(i, k.Parts[i].Body, nil)
	}
	p.chooseWarps()
	for _, t := range k.Tiles {
		p.at[t] = place{home: atRegs, elem: t.Elem, values: t.Elem, copies: 1}
		if plain || !p.holdable(t) {
			p.toMemory(t)
		}
	}
	if plain {
		for _, t := range k.Tiles {
			p.at[t] = place{home: atShared, elem: t.Elem, values: t.Elem, copies: 1, lines: t.Rows, ld: t.Cols}
		}
	} else {
		p.spreadForce()
		p.passing()
		p.relieve()
		p.sources()
		p.lay()
	}
	for _, t := range k.Tiles {
		pl := p.at[t]
		pl.part = p.partOf(t)
		p.at[t] = pl
	}
	p.fit()
	p.alias = map[*kernel.Tile][]*kernel.Tile{}
	for _, a := range k.Tiles {
		for _, b := range k.Tiles {
			x, y := p.at[a], p.at[b]
			if a != b && x.inMemory() && x.home == y.home && len(p.uses[a]) > 0 && len(p.uses[b]) > 0 && x.offset < y.offset+p.room(b) && y.offset < x.offset+p.room(a) {
				p.alias[a] = append(p.alias[a], b)
			}
		}
	}
	return p.placement
}

// chooseWarps gives the kernel its number of warps and each part their grid over
// a tile. Where the largest of each row is taken inside a loop, as for attention's softmax, a warp
// has whole rows; else warps' pieces are about square, so that few fragments
// serve many products.
func (p *placer) chooseWarps() {
	p.warps = 8
	rows := make([]int, len(p.k.Parts)) // of the parts' main tiles
	tall := make([]int, len(p.k.Parts)) // the most rows of any tile
	whole := make([]bool, len(p.k.Parts))
	products := make([]bool, len(p.k.Parts))
	most := 0
	for _, t := range p.k.Tiles {
		for _, a := range p.uses[t] {
			switch s := a.s.(type) {
			case *kernel.Reduce:
				if s.Op == kernel.Largest && !s.OverRows && len(a.path) > 0 && s.Src.Rows >= 16 && s.Src.Cols <= 64 {
					whole[a.part] = true
					most = max(most, s.Src.Rows)
				}
			case *kernel.Dot:
				products[a.part] = products[a.part] || tensor(s)
				if tensor(s) && s.Dst.Rows >= 16 && (rows[a.part] == 0 || s.Dst.Rows < rows[a.part]) {
					rows[a.part] = s.Dst.Rows
				}
			}
			tall[a.part] = max(tall[a.part], t.Rows)
		}
	}
	if most > 0 && most <= 64 {
		p.warps = 4
	}
	for i := range p.k.Parts {
		down := 1
		switch r := rows[i]; {
		case whole[i]:
			down = p.warps
		case !products[i]:
			for down < p.warps && 32*down <= tall[i] {
				down *= 2
			}
		case r >= 32*p.warps:
			down = p.warps
		case r >= 64: // a power of two, so that every warp has a place
			for 64*down <= r && 2*down <= p.warps {
				down *= 2
			}
		case r >= 32:
			down = 2
		}
		stages := 3
		if rows[i] > 0 && rows[i] <= fewRows { // there is little else to do than to wait for operands
			stages = 6
		}
		p.parts = append(p.parts, partPlan{spread: spread{down: down, across: p.warps / down}, stages: stages})
	}
}
