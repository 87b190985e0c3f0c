package passes

import (
	"fmt"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// block writes the program of one kind of block: which tile holds which part of
// which value. Values are asked for by the dimensions that should run down and
// along the tile, and computed when first asked for.
//
// With a sequential dimension the program has three parts: what does not depend
// on it, the loop, and what depends on sums over it.
type block struct {
	k    *kernelBuilder
	sc   *scope
	lay  *layout
	in   map[*ir.Node]bool // computed here
	seq  string
	base map[string]*ints.Expr // a grid or sequential dimension's first index in this block
	grid []kernel.Axis
	pack *pack

	code   [3][]kernel.Stmt
	tiles  map[tileKey]*kernel.Tile
	when   map[*ir.Node]phase
	uses   map[*ir.Node]int
	stores []kernel.Stmt // the block ends with them
}

// pack lays several elements of one dimension under each row of a tile: row r
// has element r mod each of dim in a group of so many, and row r div each of rows.
type pack struct {
	rows, dim string
	each      int64
}

type phase int

const (
	before phase = iota
	during
	after
)

type tileKey struct {
	n      *ir.Node
	rd, cd string
}

func (sc *scope) block(k *kernelBuilder, l *layout, in map[*ir.Node]bool, seq string) *block {
	b := &block{k: k, sc: sc, lay: l, in: in, base: map[string]*ints.Expr{}, tiles: map[tileKey]*kernel.Tile{}, when: map[*ir.Node]phase{}, uses: map[*ir.Node]int{}}
	for i := range l.axes {
		a := &l.axes[i]
		switch a.kind {
		case axisOne, axisRows, axisCols:
			if a.dim.Static() && a.dim.Size == 1 {
				a.kind = axisOne
				b.base[a.dim.Name] = ints.C(0)
				continue
			}
			step := 1
			if a.kind != axisOne {
				if a.dim.Static() {
					a.step = min(a.step, a.dim.Size)
				}
				step = a.step
			}
			v := fmt.Sprintf("g%d", len(b.grid))
			extent, base := b.extent(a.dim), ints.V(v)
			if sc.ending && a.dim.Clock != nil {
				last, skip := sc.lastRows(k)
				extent, base = last, ints.Plus(base, skip)
			}
			b.grid = append(b.grid, kernel.Axis{Var: v, Extent: extent, Step: step})
			b.base[a.dim.Name] = base
		case axisSeq:
			b.seq = seq
			b.base[a.dim.Name] = ints.V("s")
		}
	}
	if sc.run && !k.inRun && !sc.ending {
		b.grid = append([]kernel.Axis{{Var: runVar, Extent: k.slot("runs"), Step: 1}}, b.grid...)
	}
	var first *ir.Node // that has a place in the spec
	for n := range in {
		for _, a := range n.Args {
			b.uses[a]++
		}
		if len(n.Pos()) > 0 && (first == nil || n.ID < first.ID) {
			first = n
		}
	}
	if k.note == "" && first != nil {
		k.note = first.Pos()[0].String()
	}
	return b
}

// extent is the number of elements that a dimension has in this launch.
func (b *block) extent(d ir.Dim) *ints.Expr {
	switch {
	case d.Clock != nil:
		return b.sc.rowCount(b.k, d.Clock)
	case d.Len != nil:
		return b.k.expr(d.Len)
	}
	return ints.C(int64(d.Size))
}

// span gives a dimension's size in a tile and how much of it is valid.
func (b *block) span(d ir.Dim) (int, *ints.Expr) {
	a := b.lay.find(d.Name)
	if a == nil || a.kind == axisLocal {
		return d.Size, nil
	}
	if a.kind == axisOne {
		return 1, nil
	}
	rows := a.step
	if b.pack != nil && b.pack.rows == d.Name {
		rows *= int(b.pack.each)
	}
	extent := b.extent(d)
	if n, ok := extent.IsConst(); ok && n%int64(a.step) == 0 && !b.sc.ending {
		return rows, nil
	}
	return rows, b.valid(a, ints.Minus(extent, b.base[d.Name]))
}

// valid is how much of a tile is valid along an axis of which so much is left.
func (b *block) valid(a *axis, left *ints.Expr) *ints.Expr {
	n := ints.Least(ints.C(int64(a.step)), left)
	if b.pack != nil && b.pack.rows == a.dim.Name {
		n = ints.Times(n, ints.C(b.pack.each))
	}
	return n
}

// wide gives n's dimensions that have more than one element in a tile.
func (b *block) wide(n *ir.Node) []ir.Dim {
	var out []ir.Dim
	for _, d := range n.Type.Dims {
		if a := b.lay.find(d.Name); a != nil && a.kind == axisOne || d.Static() && d.Size == 1 {
			continue
		}
		out = append(out, d)
	}
	return out
}

// orient says which dimension of n runs down a tile and which along it where
// nobody asks for anything else.
func (b *block) orient(n *ir.Node) (rd, cd string) {
	w := b.wide(n)
	switch len(w) {
	case 0:
		return "", ""
	case 1:
		if a := b.lay.find(w[0].Name); a != nil && (a.kind == axisRows || a.kind == axisSeq) {
			return w[0].Name, ""
		}
		return "", w[0].Name
	case 2:
		if a := b.lay.find(w[1].Name); a != nil && (a.kind == axisRows || a.kind == axisSeq) {
			return w[1].Name, w[0].Name
		}
		return w[0].Name, w[1].Name
	}
	fail(n, "internal: %s does not fit a tile", n.Type)
	return "", ""
}

func dimOf(n *ir.Node, name string) ir.Dim { return n.Type.Dims[n.Type.Find(name)] }

func (b *block) has(n *ir.Node, name string) bool {
	if name == "" {
		return false
	}
	for _, d := range b.wide(n) {
		if d.Name == name {
			return true
		}
	}
	return false
}

// fresh declares a tile for n in that orientation.
func (b *block) fresh(n *ir.Node, rd, cd string) *kernel.Tile {
	rows, cols := 1, 1
	var vr, vc *ints.Expr
	if rd != "" {
		rows, vr = b.span(dimOf(n, rd))
	}
	if cd != "" {
		cols, vc = b.span(dimOf(n, cd))
	}
	return b.k.tile(tileElem(n.Type.Elem), rows, cols, vr, vc)
}

func tileElem(e elem.Type) elem.Type {
	switch e {
	case elem.I32, elem.I64:
		return e
	}
	return elem.F32
}

// phaseOf says in which part of the program a value is known.
func (b *block) phaseOf(n *ir.Node) phase {
	if b.seq == "" {
		return before
	}
	if p, ok := b.when[n]; ok {
		return p
	}
	p := before
	if b.in[n] {
		for _, a := range n.Args {
			p = max(p, b.phaseOf(a))
		}
		if p == during && n.Type.Find(b.seq) < 0 {
			p = after
		}
	} else if n.Type.Find(b.seq) >= 0 {
		p = during
	}
	b.when[n] = p
	return p
}

func (b *block) emit(p phase, s kernel.Stmt) { b.code[p] = append(b.code[p], s) }

// indices gives the index of each dimension of n for element (r, c) of a tile.
func (b *block) indices(n *ir.Node, rd, cd string) map[string]*ints.Expr {
	idx := map[string]*ints.Expr{}
	for _, d := range n.Type.Dims {
		e := ints.C(0)
		if v, ok := b.base[d.Name]; ok {
			e = v
		}
		row := ints.V(kernel.Row)
		if p := b.pack; p != nil {
			each := ints.C(p.each)
			if d.Name == p.dim {
				e = ints.Plus(ints.Times(e, each), ints.Rem(row, each))
			}
			if rd == p.rows {
				row = ints.Quo(row, each)
			}
		}
		switch d.Name {
		case rd:
			e = ints.Plus(e, row)
		case cd:
			e = ints.Plus(e, ints.V(kernel.Col))
		}
		idx[d.Name] = e
	}
	return idx
}

// columns reports whether c occurs in exactly one index (or in none, where
// there are no columns), with factor 1.
func columns(idx []*ints.Expr, want bool) bool {
	found := 0
	for _, e := range idx {
		if !e.Has(kernel.Col) {
			continue
		}
		if c, _, ok := e.Coeff(kernel.Col); !ok || c != 1 {
			return false
		}
		found++
	}
	return found == 1 || found == 0 && !want
}

// tile gives the tile of n with rd down and cd along it ("" : one element).
func (b *block) tile(n *ir.Node, rd, cd string) *kernel.Tile {
	key := tileKey{n, rd, cd}
	if t, ok := b.tiles[key]; ok {
		return t
	}
	if t, ok := b.tiles[tileKey{n, cd, rd}]; ok && b.in[n] {
		return b.transposed(key, t)
	}
	var t *kernel.Tile
	if b.in[n] {
		t = b.compute(n, rd, cd)
	} else {
		t = b.load(n, rd, cd)
	}
	b.tiles[key] = t
	return t
}

func (b *block) transposed(key tileKey, from *kernel.Tile) *kernel.Tile {
	t := b.fresh(key.n, key.rd, key.cd)
	b.emit(b.phaseOf(key.n), &kernel.Transpose{Dst: t, Src: from, Note: note(key.n)})
	b.tiles[key] = t
	return t
}

// note is a statement's provenance.
func note(n *ir.Node) string {
	if len(n.Pos()) == 0 {
		return n.Op.Name
	}
	p := n.Pos()[0]
	return fmt.Sprintf("%s:%d %s", p.File, p.Line, n.Op.Name)
}

// load reads a stored value, or makes a repeated constant.
func (b *block) load(n *ir.Node, rd, cd string) *kernel.Tile {
	if v, ok := constantBelow(n); ok {
		t := b.fresh(n, rd, cd)
		b.emit(b.phaseOf(n), &kernel.Map{Dst: t, Expr: kernel.N(float32(v)), Note: note(n)})
		return t
	}
	if n.Op.Name == "index" { // numbers that lie nowhere
		t := b.fresh(n, rd, cd)
		b.emit(b.phaseOf(n), &kernel.Map{Dst: t, Expr: b.value(n, rd, cd), Note: note(n)})
		return t
	}
	s, idx := b.sc.address(b.k, n, b.indices(n, rd, cd))
	if cd != "" && !columns(idx, true) {
		if rd == "" || b.loads(n, cd, rd) {
			key := tileKey{n, cd, rd}
			t, ok := b.tiles[key]
			if !ok {
				t = b.load(n, cd, rd)
				b.tiles[key] = t
			}
			return b.transposed(tileKey{n, rd, cd}, t)
		}
		fail(n, "internal: %s cannot be read as a tile of %s by %s", n.Type, rd, cd)
	}
	t := b.fresh(n, rd, cd)
	b.emit(b.phaseOf(n), &kernel.Load{Dst: t, Buf: b.k.buf(s, false), Idx: idx, Note: note(n)})
	return t
}

// constantBelow gives the floating constant that a value repeats, seen through
// other ways to address it.
func constantBelow(n *ir.Node) (float64, bool) {
	for alias(n) && n.Op.Name != "keep" && n.Op.Name != "result" || n.Op.Name == "expand" || n.Op.Name == "slice" {
		n = n.Args[0]
	}
	return n.Attr.Value, n.Op.Name == "const" && n.Type.Elem.Float()
}

// loadFrom reads n, a window of the stored value x that begins at start along dim.
func (b *block) loadFrom(n, x *ir.Node, dim string, start *ints.Expr, rd, cd string) *kernel.Tile {
	at := func(rd, cd string) (*store, []*ints.Expr) {
		idx := b.indices(n, rd, cd)
		idx[dim] = ints.Plus(idx[dim], start)
		return b.sc.address(b.k, x, idx)
	}
	s, idx := at(rd, cd)
	if cd != "" && !columns(idx, true) {
		s, idx = at(cd, rd)
		t := b.fresh(n, cd, rd)
		b.emit(b.phaseOf(n), &kernel.Load{Dst: t, Buf: b.k.buf(s, false), Idx: idx, Note: note(n)})
		return b.transposed(tileKey{n, rd, cd}, t)
	}
	t := b.fresh(n, rd, cd)
	b.emit(b.phaseOf(n), &kernel.Load{Dst: t, Buf: b.k.buf(s, false), Idx: idx, Note: note(n)})
	return t
}

// loads reports whether memory holds n so that cd can run along a tile.
func (b *block) loads(n *ir.Node, rd, cd string) bool {
	if _, ok := constantBelow(n); ok || cd == "" {
		return true
	}
	_, idx := b.sc.address(b.k, n, b.indices(n, rd, cd))
	return columns(idx, true)
}

// out computes a node and stores it wherever it is wanted.
func (b *block) out(n *ir.Node) {
	for _, s := range b.sc.destination(n, b.wholeRows(n)) {
		b.storeTo(n, s)
	}
}

// wholeRows reports whether n's last dimension runs along its tile, all of it.
func (b *block) wholeRows(n *ir.Node) bool {
	if len(n.Type.Dims) == 0 {
		return true
	}
	last := n.Type.Dims[len(n.Type.Dims)-1].Name
	if a := b.lay.find(last); a != nil && a.kind != axisLocal {
		return false
	}
	_, cd := b.orient(n)
	return cd == last || !b.has(n, last)
}

// storeTo stores a value to a place; it happens after everything was computed.
func (b *block) storeTo(n *ir.Node, s *store) {
	rd, cd := b.orient(n)
	if r, c, ok := s.along(n.Type); ok && rd == c && cd == r {
		rd, cd = cd, rd
	}
	idx := b.sc.index(b.k, s, n.Type, b.indices(n, rd, cd))
	if cd != "" && !columns(idx, true) {
		rd, cd = cd, rd
		idx = b.sc.index(b.k, s, n.Type, b.indices(n, rd, cd))
		if cd != "" && !columns(idx, true) {
			fail(n, "internal: %s cannot be stored", n.Type)
		}
	}
	t := b.tile(n, rd, cd)
	if s.limit != nil {
		for i := range b.grid {
			if a := b.lay.find(n.Type.Dims[0].Name); a != nil && ints.Equal(b.base[a.dim.Name], ints.V(b.grid[i].Var)) {
				limit := b.k.expr(s.limit)
				b.grid[i].Extent = limit
				t.ValidRows = b.valid(a, ints.Minus(limit, ints.V(b.grid[i].Var)))
			}
		}
	}
	p := b.phaseOf(n)
	st := &kernel.Store{Buf: b.k.buf(s, true), Idx: idx, Src: t, Note: note(n)}
	if p == during {
		b.emit(during, st)
		return
	}
	b.last(st)
}

// along gives the dimensions down and along the tiles that are stored where states in
// panels lie alike.
func (s *store) along(t ir.Type) (rd, cd string, ok bool) {
	last := len(t.Dims) - 1
	if !s.alike || s.panel == 0 {
		return "", "", false
	}
	return t.Dims[last].Name, t.Dims[last-1].Name, true
}

func (b *block) last(s kernel.Stmt) { b.stores = append(b.stores, s) }

// end adds the block's program to the kernel.
func (b *block) end() {
	b.k.k.Parts = append(b.k.k.Parts, kernel.Part{Grid: b.grid, Body: b.program()})
}

func (b *block) program() []kernel.Stmt {
	body := b.code[before]
	if b.seq != "" {
		a, stages := b.lay.find(b.seq), 1
		if len(b.in) == 1 { // its turn begins with the loads of what it sums
			stages = 2
		}
		body = append(body, &kernel.For{Var: "s", Lo: ints.C(0), Hi: b.extent(a.dim), Step: a.step, Stages: stages, Body: b.code[during]})
		body = append(body, b.code[after]...)
	}
	return append(body, b.stores...)
}
