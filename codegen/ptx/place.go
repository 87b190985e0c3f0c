package ptx

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// home is where a tile lives.
type home uint8

const (
	atShared  home = iota // shared memory
	atScratch             // the CTA's slice of the scratch buffer
	atRegs                // registers, as fragments (see spread)
	atSource              // nowhere: a product takes it from the buffer, step by step
)

// place is a tile's home, and how it lies in memory: lines of ld elements, a line
// being a row, or a column where flip.
type place struct {
	home    home
	elem    kernel.Elem // of its elements in memory: bf16 where they are that exactly, or products round them to it
	offset  int         // bytes
	ld      int
	lines   int
	flip    bool
	operand bool         // tensor cores read it: elements outside the valid region are 0
	padded  bool         // it has more lines or longer ones than the tile: they are 0 all along
	copies  int          // buffers, one after another, for loads ahead
	load    *kernel.Load // atSource: what it is
	exact   bool         // its values are bf16
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
	if pl.elem == kernel.BF16 {
		how = " bf16"
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

func (pl place) inMemory() bool { return pl.home == atShared || pl.home == atScratch }

// partPlan is what placement decided for a part.
type partPlan struct {
	spread
	at       int // where the part's own shared memory begins
	exchange int // bytes there through which warps reduce
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

// The most elements of a tile that a thread holds, and of all tiles at one time:
// a thread has 255 registers, of which products and addresses need the rest.
const (
	mostHeld  = 64
	mostAlive = 164
)

// fewSums are so few sums of a product that they need no place of their own.
const fewSums = 16

// access is one use of a tile.
type access struct {
	s     kernel.Stmt
	write bool
	at    int // number of the statement
	part  int
	path  []*kernel.For // the loops around it
	body  int           // number of the list of statements that it stands in
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
		p.at[t] = place{home: atRegs, elem: t.Elem, copies: 1}
		if plain || !p.holdable(t) {
			p.toMemory(t)
		}
	}
	if plain {
		for _, t := range k.Tiles {
			p.at[t] = place{home: atShared, elem: t.Elem, copies: 1, lines: t.Rows, ld: t.Cols}
		}
	} else {
		p.spreadForce()
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

func (p *placer) walk(part int, body []kernel.Stmt, path []*kernel.For) {
	p.bodies++
	here := p.bodies
	for _, s := range body {
		p.count++
		a := access{s: s, at: p.count, part: part, path: path, body: here}
		switch s := s.(type) {
		case *kernel.For:
			first := p.count
			for _, l := range leading(p.k, s) {
				p.ahead[l] = true
			}
			p.walk(part, s.Body, append(slices.Clip(path), s))
			p.ends[s] = [2]int{first, p.count}
			continue
		case *kernel.When:
			p.walk(part, s.Body, path)
			continue
		case *kernel.Store:
			p.stores = append(p.stores, a)
		}
		reads, writes := touches(s)
		for _, t := range reads {
			if t != nil {
				p.uses[t] = append(p.uses[t], a)
			}
		}
		a.write = true
		for _, t := range writes {
			if t != nil {
				p.uses[t] = append(p.uses[t], a)
			}
		}
	}
}

// leading lists the loads that a loop with stages may begin one turn early: those
// at the start of its body, or of the one condition in it, that are copies by 16
// bytes, in a loop that stores nothing.
func leading(k *kernel.Kernel, f *kernel.For) []*kernel.Load {
	if f.Stages < 2 || anyStore(f.Body) {
		return nil
	}
	var out []*kernel.Load
	for _, s := range inner(f) {
		l, ok := s.(*kernel.Load)
		if !ok {
			break
		}
		if _, ok := copyable(k, l); ok {
			out = append(out, l)
		}
	}
	return out
}

// inner is the body of a loop, seen through a condition that is all of it.
func inner(f *kernel.For) []kernel.Stmt {
	if len(f.Body) == 1 {
		if w, ok := f.Body[0].(*kernel.When); ok {
			return w.Body
		}
	}
	return f.Body
}

func anyStore(body []kernel.Stmt) bool {
	return slices.ContainsFunc(body, func(s kernel.Stmt) bool {
		switch s := s.(type) {
		case *kernel.Store:
			return true
		case *kernel.For:
			return anyStore(s.Body)
		case *kernel.When:
			return anyStore(s.Body)
		}
		return false
	})
}

// chooseWarps gives the kernel its number of warps and each part their grid over
// a tile. Where rows are reduced inside a loop, as in attention's softmax, a warp
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
				if !s.OverRows && len(a.path) > 0 && s.Src.Rows >= 16 && s.Src.Cols <= 64 {
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
		p.parts = append(p.parts, partPlan{spread: spread{down: down, across: p.warps / down}, stages: 3})
	}
}

// partOf is the one part that uses a tile, or -1.
func (p *placer) partOf(t *kernel.Tile) int {
	part := -1
	for _, a := range p.uses[t] {
		if part >= 0 && part != a.part {
			return -1
		}
		part = a.part
	}
	return part
}

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

func (p *placer) toMemory(t *kernel.Tile) { p.at[t] = place{home: atShared, elem: t.Elem, copies: 1} }

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
				reads, writes := touches(a.s)
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
		at, alive := p.crowded()
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

// crowded gives the statement at which the most elements are alive, and how many.
func (p *placer) crowded() (at, alive int) {
	sum := make([]int, p.count+2)
	for _, t := range p.k.Tiles {
		if p.at[t].home != atRegs || len(p.uses[t]) == 0 {
			continue
		}
		n := p.parts[p.partOf(t)].held(t)
		lo, hi := p.life(t)
		for i := lo; i <= hi; i++ {
			sum[i] += n
		}
	}
	for i, n := range sum {
		if n > alive {
			at, alive = i, n
		}
	}
	return at, alive
}

func (p *placer) alive(t *kernel.Tile, at int) bool {
	lo, hi := p.life(t)
	return len(p.uses[t]) > 0 && lo <= at && at <= hi
}

// life is the first and last statement at which a tile has a value that counts:
// around a loop where it is used both inside and outside, or read in it first.
func (p *placer) life(t *kernel.Tile) (lo, hi int) {
	us := p.uses[t]
	lo, hi = us[0].at, us[0].at
	for _, a := range us {
		lo, hi = min(lo, a.at), max(hi, a.at)
	}
	for _, a := range us {
		for _, f := range a.path {
			e := p.ends[f]
			outside := slices.ContainsFunc(us, func(b access) bool { return b.at < e[0] || b.at > e[1] })
			first := us[slices.IndexFunc(us, func(b access) bool { return b.at >= e[0] })]
			// Written under a condition, it may be that of an earlier turn.
			scattered := slices.ContainsFunc(us, func(b access) bool { return b.at >= e[0] && b.at <= e[1] && b.body != first.body })
			if outside || !first.write || scattered {
				lo, hi = min(lo, e[0]), max(hi, e[1])
			}
		}
	}
	return lo, hi
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

// small is a tile that is better loaded whole, once, than step by step.
const small = 16 << 10

// sources finds loads that need no tile: large ones that products alone read,
// whose buffers nothing stores to in between.
func (p *placer) sources() {
	for _, t := range p.k.Tiles {
		dots, alone := p.products(t)
		if !alone || p.at[t].home != atShared || tileSize(t) <= small || p.partOf(t) < 0 {
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
		if _, ok := copyable(p.k, l); !ok || !p.follows(t, *load) {
			continue
		}
		if slices.ContainsFunc(dots, func(d *kernel.Dot) bool { return !p.streams(d, t) }) {
			continue
		}
		p.at[t] = place{home: atSource, elem: l.Buf.Elem, copies: 1, load: l, exact: l.Buf.Elem == kernel.BF16}
	}
}

// streams reports whether a product can take t step by step.
func (p *placer) streams(d *kernel.Dot, t *kernel.Tile) bool {
	sp := p.parts[p.partOf(t)].spread
	if p.at[d.Dst].home != atRegs && 4*sp.blocks(d.Dst)*sp.pieces(d.Dst) > fewSums || p.at[d.A].home == atRegs || d.A == d.B {
		return false
	}
	k, valid := t.Cols, t.ValidCols
	if t == d.A && d.TransA || t == d.B && !d.TransB {
		k, valid = t.Rows, t.ValidRows
	}
	return valid == nil && k >= 32
}

// follows reports whether every use of a tile comes behind its load, inside the
// same body, without a store between: the buffer then still holds the same.
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
	return !slices.ContainsFunc(p.stores, func(s access) bool { return s.at > load.at && s.at <= last })
}

// lay chooses how tiles in memory lie.
func (p *placer) lay() {
	for _, t := range p.k.Tiles {
		pl := p.at[t]
		if pl.home != atShared {
			continue
		}
		dots, alone := p.products(t)
		pl.operand = len(dots) > 0
		var loads []*kernel.Load
		summed := false // by statements that store floats
		for _, a := range p.uses[t] {
			if l, ok := a.s.(*kernel.Load); ok && a.write {
				loads = append(loads, l)
			} else if a.write {
				loads = append(loads, nil)
				switch a.s.(type) {
				case *kernel.Dot, *kernel.Paste, *kernel.Reduce:
					summed = true
				}
			}
		}
		if len(loads) == 1 && loads[0] != nil {
			if v, ok := copyable(p.k, loads[0]); ok {
				pl.flip = v == kernel.Row && t.Rows > 1
				if p.ahead[loads[0]] && p.stays(t) {
					pl.copies = 2
				}
			}
		}
		if alone && len(loads) > 0 && !summed {
			rounded := !slices.ContainsFunc(dots, func(d *kernel.Dot) bool { return d.Operands != kernel.BF16 })
			exact := true
			for _, l := range loads {
				exact = exact && l != nil && l.Buf.Elem == kernel.BF16
				if l != nil && l.Buf.Elem != kernel.BF16 {
					if _, ok := copyable(p.k, l); ok {
						rounded = false // copied as it is, rounded when read
					}
				}
			}
			pl.exact = exact
			if exact || rounded {
				pl.elem = kernel.BF16
			}
		}
		p.size(t, &pl, dots)
		p.at[t] = pl
	}
}

// stays reports whether a tile is used within one loop alone.
func (p *placer) stays(t *kernel.Tile) bool {
	us := p.uses[t]
	f := us[0].path
	if len(f) == 0 {
		return false
	}
	e := p.ends[f[len(f)-1]]
	return !slices.ContainsFunc(us, func(a access) bool { return a.at < e[0] || a.at > e[1] })
}

// size gives a tile in memory its lines. For products it has whole fragments, and
// lines of a length at which the 8 rows of a matrix, or the 8 x 4 places of a
// fragment of floats, lie in different banks.
func (p *placer) size(t *kernel.Tile, pl *place, dots []*kernel.Dot) {
	rows, cols := t.Rows, t.Cols
	along := false // k runs along a line
	for _, d := range dots {
		sp := p.parts[max(0, p.partOf(t))].spread
		kRows := t == d.A && d.TransA || t == d.B && !d.TransB
		f := streamOf(d, p.at, sp)
		other := 32 * max(1, (16*sp.down+31)/32)
		if p.at[d.Dst].home == atRegs || f.bytes > 0 {
			other = 16 * sp.down
			if t == d.B {
				other = 16 * ((8*sp.across + 15) / 16)
			}
		}
		if t == d.A && t == d.B {
			other = max(32, 16*sp.down, 16*sp.across)
		}
		terms := 16
		if f.bytes > 0 {
			terms = f.k
		}
		if kRows {
			rows, cols = max(rows, up(t.Rows, terms)), max(cols, up(t.Cols, other))
		} else {
			rows, cols = max(rows, up(t.Rows, other)), max(cols, up(t.Cols, terms))
		}
		along = along || kRows == pl.flip
	}
	pl.padded = rows > t.Rows || cols > t.Cols
	pl.lines, pl.ld = rows, cols
	if pl.flip {
		pl.lines, pl.ld = cols, rows
	}
	pl.ld = lineOf(pl.ld, pl.elem, pl.operand, along)
}

// lineOf is the least line of n elements or more without bank conflicts.
func lineOf(n int, e kernel.Elem, operand, along bool) int {
	switch {
	case !operand:
		return n
	case e == kernel.BF16: // 16 bytes an odd number of times
		return up(n, 8) + (up(n, 8)/8+1)%2*8
	}
	n = up(n, 4)
	for along && n%16 != 8 || !along && n%8 != 4 {
		n += 4
	}
	return n
}

func up(n, to int) int { return (n + to - 1) / to * to }

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

// together reports whether two tiles have values that count at one time. One that
// is padded keeps its zeros, and one with two copies is filled ahead of its turn.
func (p *placer) together(a, b *kernel.Tile) bool {
	for _, t := range []*kernel.Tile{a, b} {
		if p.at[t].padded || p.at[t].copies > 1 {
			return true
		}
	}
	al, ah := p.life(a)
	bl, bh := p.life(b)
	return al <= bh && bl <= ah
}

// shrink makes a part's tiles smaller: fewer stages, one copy, the largest tile
// to scratch.
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
		return cmp.Compare(room(a), room(b))
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

// exchange is the room that reductions across warps of a part need.
func (p *placer) exchange(part int) int {
	need := 0
	sp := p.parts[part].spread
	for _, t := range p.k.Tiles {
		for _, a := range p.uses[t] {
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

// divides reports whether an expression is surely a multiple of n: axes and loops
// go in steps.
func divides(e *ints.Expr, n int64, steps map[string]int64) bool {
	if k, ok := e.IsConst(); ok {
		return k%n == 0
	}
	all := func(args []*ints.Expr) bool {
		return !slices.ContainsFunc(args, func(a *ints.Expr) bool { return !divides(a, n, steps) })
	}
	switch e.Op {
	case ints.Var:
		return steps[e.Name]%n == 0 && steps[e.Name] > 0
	case ints.Mul:
		for i, a := range e.Args {
			if k, ok := a.IsConst(); ok && k != 0 {
				for m := n; m > 1; m /= 2 {
					if k%m == 0 {
						return m == n || divides(e.Args[1-i], n/m, steps)
					}
				}
			}
		}
		return divides(e.Args[0], n, steps) || divides(e.Args[1], n, steps)
	case ints.Add, ints.Sub, ints.Min, ints.Max:
		return all(e.Args)
	case ints.Select:
		return all(e.Args[1:])
	case ints.Mod:
		return all(e.Args)
	case ints.Div:
		return false
	}
	return n == 1
}
