package ptx

import (
	"cmp"
	"slices"

	"github.com/memc-lang/memc/ir/kernel"
)

// fit gives tiles their offsets; the parts of a kernel share the memory, but for
// tiles that several of them use.
func (p *placer) fit() {
	first, scratch0 := 0, 0
	for _, t := range p.k.Tiles {
		pl := p.at[t]
		if len(p.uses[t]) == 0 || pl.part >= 0 {
			continue
		}
		if first+pl.bytes() > p.limit/4 {
			pl.home = atScratch
			pl.offset, scratch0 = scratch0, scratch0+pl.bytes()
		} else {
			pl.offset, first = first, first+pl.bytes()
		}
		p.at[t] = pl
	}
	p.shared, p.scratch = first, scratch0
	for i := range p.k.Parts {
		pp := &p.parts[i]
		var mine []*kernel.Tile
		for _, t := range p.k.Tiles {
			if len(p.uses[t]) > 0 && p.at[t].part == i {
				mine = append(mine, t)
			}
		}
		pp.exchange = p.exchange(i) // 0 where no tile is in registers
		stream := p.streamBytes(i)
		if stream == 0 {
			pp.stages = 0
		}
		for {
			total := first + pp.exchange + pp.stages*stream + p.pack(mine, atShared, 0)
			if total <= p.limit || !p.shrink(pp, mine) {
				break
			}
		}
		pp.at = first
		pp.stream = first + pp.exchange
		near := pp.stream + pp.stages*stream
		p.shared = max(p.shared, near+p.pack(mine, atShared, near))
		p.scratch = max(p.scratch, scratch0+p.pack(mine, atScratch, scratch0))
	}
}

// pack gives the tiles of one home their offsets, from one on, and the bytes that
// they take: those that are never alive at one time may share them. Large ones
// come first.
func (p *placer) pack(tiles []*kernel.Tile, h home, from int) int {
	var here []*kernel.Tile
	for _, t := range tiles {
		if p.at[t].home == h {
			here = append(here, t)
		}
	}
	slices.SortStableFunc(here, func(a, b *kernel.Tile) int { return cmp.Compare(p.room(b), p.room(a)) })
	end := from
	for i, t := range here {
		at := from
		for again := true; again; {
			again = false
			for _, o := range here[:i] {
				if begin := p.at[o].offset; p.together(t, o) && at < begin+p.room(o) && begin < at+p.room(t) {
					at, again = begin+p.room(o), true
				}
			}
		}
		pl := p.at[t]
		pl.offset = at
		p.at[t] = pl
		end = max(end, at+p.room(t))
	}
	return end - from
}

func (p *placer) room(t *kernel.Tile) int { return p.at[t].copies * p.at[t].bytes() }

// shrink makes a part's tiles smaller: fewer stages, one copy, the largest tile
// to scratch, and of the largest ones that which loops use least.
func (p *placer) shrink(pp *partPlan, mine []*kernel.Tile) bool {
	if pp.stages > 2 {
		pp.stages--
		return true
	}
	big := slices.MaxFunc(append([]*kernel.Tile{nil}, mine...), func(a, b *kernel.Tile) int {
		room := func(t *kernel.Tile) int {
			if t == nil || p.at[t].home != atShared {
				return -1
			}
			return p.room(t)
		}
		if d := cmp.Compare(room(a), room(b)); d != 0 || a == nil || b == nil {
			return d
		}
		return cmp.Compare(p.heat(b), p.heat(a))
	})
	if big == nil {
		return false
	}
	pl := p.at[big]
	if twice := slices.IndexFunc(mine, func(t *kernel.Tile) bool { return p.at[t].home == atShared && p.at[t].copies > 1 }); twice >= 0 {
		for _, t := range mine {
			pl := p.at[t]
			pl.copies = 1
			p.at[t] = pl
		}
		return true
	}
	pl.home, pl.elem, pl.copies = atScratch, big.Elem, 1
	dots, _ := p.products(big)
	p.size(big, &pl, dots)
	p.at[big] = pl
	return true
}

// heat counts the uses of a tile, each loop as eight turns.
func (p *placer) heat(t *kernel.Tile) int {
	n := 0
	for _, a := range p.uses[t] {
		n += 1 << (3 * len(a.path))
	}
	return n
}

// exchange is the room through which warps of a part reduce, or hand on sums.
func (p *placer) exchange(part int) int {
	need := 0
	sp := p.parts[part].spread
	for _, t := range p.k.Tiles {
		for _, a := range p.uses[t] {
			if d, ok := a.s.(*kernel.Dot); ok && a.part == part && shared(d, p.at, sp) {
				need = max(need, handBytes(p.at[d.B].elem))
			}
			s, ok := a.s.(*kernel.Reduce)
			if !ok || a.part != part || p.at[s.Src].home != atRegs && p.at[s.Dst].home != atRegs {
				continue
			}
			if s.OverRows && sp.down > 1 {
				need = max(need, 4*sp.down*sp.across*16*sp.pieces(s.Src))
			} else if !s.OverRows && sp.across > 1 {
				need = max(need, 4*sp.down*sp.across*16*sp.blocks(s.Src))
			}
		}
	}
	return up(need, 128)
}

// streamBytes is the room of one stage of a part's streamed operands.
func (p *placer) streamBytes(part int) int {
	need := 0
	for _, t := range p.k.Tiles {
		for _, a := range p.uses[t] {
			if s, ok := a.s.(*kernel.Dot); ok && a.part == part && a.write {
				st := streamOf(s, p.at, p.parts[part].spread)
				need = max(need, st.bytes)
			}
		}
	}
	return need
}
