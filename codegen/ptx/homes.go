package ptx

import (
	"slices"

	"github.com/memc-lang/memc/ir/kernel"
)

// The most elements of a tile that a thread holds, and of all tiles at one time:
// a thread has 255 registers, of which products and addresses need the rest.
const (
	mostHeld  = 64
	mostAlive = 164
)

// fewSums are so few sums of a product that they need no place of their own.
const fewSums = 16

// holdable reports whether every use of a tile can be of fragments in registers.
func (p *placer) holdable(t *kernel.Tile) bool {
	part := p.partOf(t)
	if part < 0 || t.Elem != kernel.F32 || t.Rows > 1 && t.Rows < 16 {
		return false
	}
	sp := p.parts[part].spread
	if sp.held(t) > mostHeld {
		return false
	}
	for _, a := range p.uses[t] {
		switch s := a.s.(type) {
		case *kernel.Transpose, *kernel.Slice, *kernel.Paste:
			return false
		case *kernel.Load:
			if s.Buf.Elem.Quantised() {
				return false
			}
		case *kernel.Store:
			if s.Buf.Elem.Quantised() {
				return false
			}
		case *kernel.Reduce:
			if s.Alike { // warps share a row out by the tiles of the kernel
				return false
			}
		case *kernel.Dot:
			switch {
			case !tensor(s):
				return false
			case a.write:
				if t.Rows < 16 || t.Cols < 2 {
					return false
				}
			case t != s.A || t == s.B || s.TransA || sp.across > 1 || t.Rows < 16 || t.Cols < 2 || tileSize(s.B) > 48<<10:
				return false
			}
		}
	}
	return true
}

func tileSize(t *kernel.Tile) int { return t.Rows * t.Cols * t.Elem.Size() }

func (p *placer) toMemory(t *kernel.Tile) {
	p.at[t] = place{home: atShared, elem: t.Elem, values: t.Elem, copies: 1}
}

// spreadForce moves the tiles of a statement whose largest tile no thread can
// hold into memory: it is a loop over elements, which has no registers by number.
func (p *placer) spreadForce() {
	for again := true; again; {
		again = false
		for _, t := range p.k.Tiles {
			for _, a := range p.uses[t] {
				if d, ok := a.s.(*kernel.Dot); ok {
					// The left operand's rows are those of the sums.
					if t == d.A && p.at[t].home == atRegs && p.at[d.Dst].home != atRegs {
						p.toMemory(t)
						again = true
					}
					continue
				}
				reads, writes := kernel.Touches(a.s)
				all := append(slices.Clone(reads), writes...)
				sp := p.parts[a.part].spread
				if !slices.ContainsFunc(all, func(t *kernel.Tile) bool { return t != nil && sp.held(t) > mostHeld }) {
					continue
				}
				for _, t := range all {
					if t != nil && p.at[t].home == atRegs {
						p.toMemory(t)
						again = true
					}
				}
			}
		}
	}
}

// relieve moves the largest tiles to memory where more are alive at one time
// than a thread's registers hold; products' sums stay as long as they can.
func (p *placer) relieve() {
	for {
		at, alive := p.crowded() // a moment, see held
		if alive <= mostAlive {
			return
		}
		var worst *kernel.Tile
		size := func(t *kernel.Tile) int {
			n := 4 * p.parts[p.partOf(t)].held(t)
			if slices.ContainsFunc(p.uses[t], func(a access) bool { _, ok := a.s.(*kernel.Dot); return ok && a.write }) {
				n--
				if slices.ContainsFunc(p.uses[t], func(a access) bool { return len(a.path) > 0 }) {
					n /= 4
				}
			}
			return n
		}
		for _, t := range p.k.Tiles {
			if p.at[t].home == atRegs && p.alive(t, at) && (worst == nil || size(t) > size(worst)) {
				worst = t
			}
		}
		p.toMemory(worst)
		p.spreadForce()
	}
}

// products lists the tensor products that read a tile, and whether nothing else
// does.
func (p *placer) products(t *kernel.Tile) (dots []*kernel.Dot, alone bool) {
	alone = true
	for _, a := range p.uses[t] {
		if a.write {
			continue
		}
		if d, ok := a.s.(*kernel.Dot); ok && tensor(d) && t != d.Dst {
			dots = append(dots, d)
			continue
		}
		alone = false
	}
	return dots, alone && len(dots) > 0
}

// passing finds loads of which one map takes each element where it needs it: a
// tile would only hold registers until then.
func (p *placer) passing() {
	for _, t := range p.k.Tiles {
		us := p.uses[t]
		if len(us) != 2 || p.at[t].home != atRegs || t.Rows == 1 || t.Cols == 1 || us[0].body != us[1].body {
			continue
		}
		l, loads := us[0].s.(*kernel.Load)
		m, maps := us[1].s.(*kernel.Map)
		if !loads || !maps || us[1].write || l.Gather != nil || m.Dst.Rows != t.Rows || m.Dst.Cols != t.Cols || !p.follows(t, us[0]) {
			continue
		}
		p.at[t] = place{home: atSource, elem: l.Buf.Elem, values: l.Buf.Elem, copies: 1, load: l}
	}
}

// small is a tile that is better loaded whole, once, than step by step.
const small = 16 << 10

// sources finds loads that need no tile: codes, and large ones, that products alone
// read, whose buffers nothing stores to in between.
func (p *placer) sources() {
	for _, t := range p.k.Tiles {
		dots, alone := p.products(t)
		if !alone || p.at[t].home != atShared || p.partOf(t) < 0 {
			continue
		}
		var load *access
		writes := 0
		for i, a := range p.uses[t] {
			if a.write {
				load = &p.uses[t][i]
				writes++
			}
		}
		l, ok := load.s.(*kernel.Load)
		if !ok || writes != 1 || p.ahead[l] {
			continue
		}
		_, coded := codesOf(l, stepsOf(p.k))
		if _, ok := copyable(p.k, l); !coded && (!ok || tileSize(t) <= small) || !p.follows(t, *load) {
			continue
		}
		if slices.ContainsFunc(dots, func(d *kernel.Dot) bool { return !p.streams(d, t, l) }) {
			continue
		}
		p.at[t] = place{home: atSource, elem: l.Buf.Elem, values: l.Buf.Elem, copies: 1, load: l}
	}
}

// streams reports whether a product can take t, which is loaded so, step by step.
func (p *placer) streams(d *kernel.Dot, t *kernel.Tile, load *kernel.Load) bool {
	sp := p.parts[p.partOf(t)].spread
	if p.at[d.Dst].home != atRegs && 4*sp.blocks(d.Dst)*sp.pieces(d.Dst) > fewSums || p.at[d.A].home == atRegs || d.A == d.B {
		return false
	}
	k, valid, other := t.Cols, t.ValidCols, d.B
	if t == d.A && d.TransA || t == d.B && !d.TransB {
		k, valid = t.Rows, t.ValidRows
	}
	if t == d.B {
		other = d.A
	}
	if group := load.Buf.Elem.Group(); group > 0 && (k%group != 0 || p.at[other].elem.Quantised()) {
		return false
	}
	return valid == nil && k >= 32
}

// follows reports whether every use of a tile comes behind its load, inside the
// same body, without a store to the buffer between: it then still holds the same.
func (p *placer) follows(t *kernel.Tile, load access) bool {
	last := load.at
	for _, a := range p.uses[t] {
		if a.at < load.at || len(a.path) < len(load.path) || !slices.Equal(a.path[:len(load.path)], load.path) {
			return false
		}
		last = max(last, a.at)
		for _, f := range a.path[len(load.path):] {
			last = max(last, p.ends[f][1])
		}
	}
	return !slices.ContainsFunc(p.stores, func(s access) bool {
		return s.at > load.at && s.at <= last && !apart(bufOf(s.s), bufOf(load.s))
	})
}
