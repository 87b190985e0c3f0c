package kerneltest

import (
	"fmt"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// buffer declares a buffer.
func (g *gen) buffer(e kernel.Elem, f fill, dims ...int) *kernel.Buf {
	b := &kernel.Buf{Name: fmt.Sprintf("b%d", len(g.Kernel.Bufs)), Elem: e, Dims: dims}
	if len(dims) > 1 && g.Intn(3) == 0 {
		b.Panel = pick(g, []int{8, 16, 32})
		b.Pairs = e.Size() == 2 && dims[len(dims)-1]%2 == 0 && g.coin()
	}
	g.Kernel.Bufs = append(g.Kernel.Bufs, b)
	g.fills[b] = f
	return b
}

// index is the place of r or c in a buffer's dimension for d.
func (d *dim) index(v string) *ints.Expr {
	if d.single {
		return ints.C(0)
	}
	if d.base == nil {
		return ints.V(v)
	}
	return ints.Plus(d.base, ints.V(v))
}

func (g *gen) load(r, c *dim) {
	g.loadAs(pick(g, []kernel.Elem{kernel.F32, kernel.F32, kernel.F32, kernel.I32, kernel.I64}), r, c)
}

// loadAs loads a new tile from a new buffer.
func (g *gen) loadAs(e kernel.Elem, r, c *dim) (*tile, bool) {
	if r.extent == 0 && c.extent == 0 {
		return nil, false // a buffer has one open dimension
	}
	t, ok := g.fresh(e, r, c)
	if !ok {
		return nil, false
	}
	s := &kernel.Load{Dst: t.Tile, Note: g.note()}
	from, f := e, fill{kind: numbers}
	switch e {
	case kernel.F32:
		from = pick(g, []kernel.Elem{kernel.F32, kernel.F32, kernel.BF16, kernel.F16, kernel.Q8, kernel.Q4})
		t.bound = bound{b: 2, q: 3}
		if from.Quantised() {
			t.bound.b = codesMost(from)
		}
	default:
		if t.positive = g.coin(); t.positive {
			f.kind = positive
		}
		if e == kernel.I64 && g.coin() {
			from = kernel.I32
		}
	}
	ri, ci := r.index(kernel.Row), c.index(kernel.Col)
	switch {
	case r.extent == 0 && g.Intn(4) == 0: // a ring of rows
		rows := 1 + g.Intn(40)
		s.Buf = g.buffer(from, f, rows, c.extent)
		s.Idx = []*ints.Expr{ints.Rem(ints.Plus(ints.V("p"), ri), ints.C(int64(rows))), ci}
	case r.extent == 0:
		f = rowsIn(f)
		off := g.Intn(4)
		s.Buf = g.buffer(from, f, 0, c.extent+off)
		s.Idx = []*ints.Expr{ri, ints.Plus(ci, ints.C(int64(off)))}
	case c.extent == 0:
		s.Buf = g.buffer(from, rowsIn(f), 0, r.extent)
		s.Idx = []*ints.Expr{ci, ri}
	case c.single && g.coin():
		s.Buf = g.buffer(from, f, r.extent)
		s.Idx = []*ints.Expr{ri}
	case g.Intn(3) == 0: // one of several matrices
		n := 1 + g.Intn(4)
		s.Buf = g.buffer(from, f, n, r.extent, c.extent)
		s.Idx = []*ints.Expr{ints.Rem(g.integer(false, 2), ints.C(int64(n))), ri, ci}
	case g.Intn(3) == 0: // transposed
		s.Buf = g.buffer(from, f, c.extent, r.extent)
		s.Idx = []*ints.Expr{ci, ri}
	default:
		s.Buf = g.buffer(from, f, r.extent, c.extent)
		s.Idx = []*ints.Expr{ri, ci}
	}
	g.emit(s)
	g.define(t)
	return t, true
}

// rowsIn fills n rows only; integers, which have no NaN, all.
func rowsIn(f fill) fill {
	if f.kind == numbers {
		f.kind = rowsOfN
	}
	return f
}

// gather loads rows that another tile numbers.
func (g *gen) gather(r, c *dim) {
	if r.extent == 0 && r != g.i || c.extent == 0 {
		return
	}
	ids, ok := g.fresh(pick(g, []kernel.Elem{kernel.I32, kernel.I64}), r, g.one)
	if !ok {
		return
	}
	rows := 1 + g.Intn(50)
	// Row n and those behind it hold indices too: integers have no NaN.
	f := fill{kind: indices, below: int64(rows)}
	size := r.extent
	b := g.buffer(ids.Elem, f, size)
	g.emit(&kernel.Load{Dst: ids.Tile, Buf: b, Idx: []*ints.Expr{r.index(kernel.Row)}, Note: g.note()})
	g.define(ids)
	t, ok := g.fresh(kernel.F32, r, c)
	if !ok {
		return
	}
	t.bound = bound{b: 2, q: 3}
	from := pick(g, []kernel.Elem{kernel.F32, kernel.BF16, kernel.F16, kernel.Q8})
	if from.Quantised() {
		t.bound.b = codesMost(from)
	}
	table := g.buffer(from, fill{kind: numbers}, rows, c.extent)
	g.emit(&kernel.Load{Dst: t.Tile, Buf: table, Idx: []*ints.Expr{ints.V(kernel.Pick), c.index(kernel.Col)}, Gather: ids.Tile, Note: g.note()})
	g.define(t)
}

// stores stores some tiles, and changes a state in place.
func (g *gen) stores() {
	stored := false
	for _, t := range g.pool {
		if g.Intn(3) == 0 {
			g.store(t)
			stored = true
		}
	}
	if n := len(g.pool); !stored && n > 0 {
		g.store(g.pool[n-1])
	}
	if g.coin() {
		g.state()
	}
}

// store puts a tile where no other block does: at its rows, or at the block's
// own matrix.
func (g *gen) store(t *tile) {
	to := t.Elem
	if to == kernel.F32 && t.bound.b < 60000 {
		to = pick(g, []kernel.Elem{kernel.F32, kernel.F32, kernel.BF16, kernel.F16})
	}
	s := &kernel.Store{Src: t.Tile, Note: g.note()}
	if t.r == g.i && (g.j == nil || t.c == g.j) && t.c.extent > 0 && g.coin() {
		s.Buf = g.buffer(to, fill{}, 0, t.c.extent)
		s.Idx = []*ints.Expr{t.r.index(kernel.Row), t.c.index(kernel.Col)}
	} else {
		s.Buf = g.buffer(to, fill{}, 0, t.r.size, t.c.size)
		s.Idx = []*ints.Expr{g.block, ints.V(kernel.Row), ints.V(kernel.Col)}
	}
	s.Buf.Write = true
	g.tol[s.Buf] = t.bound.tolerance(to)
	g.emit(s)
}

// state loads a block's own matrix, changes it and stores it back.
func (g *gen) state() {
	r, c := pick(g, g.dims), pick(g, g.dims)
	t, ok := g.fresh(kernel.F32, r, c)
	if !ok {
		return
	}
	idx := []*ints.Expr{g.block, ints.V(kernel.Row), ints.V(kernel.Col)}
	b := g.buffer(kernel.F32, fill{kind: numbers}, 0, r.size, c.size)
	b.Write = true
	g.emit(&kernel.Load{Dst: t.Tile, Buf: b, Idx: idx, Note: g.note()})
	t.bound = bound{b: 2, q: 3}
	x, d := g.floatVal(r, c, 2)
	g.emit(&kernel.Map{Dst: t.Tile, Expr: kernel.F(kernel.Sub, kernel.R(t.Tile), x), Note: g.note()})
	t.bound = t.bound.plus(d)
	g.emit(&kernel.Store{Buf: b, Idx: idx, Src: t.Tile, Note: g.note()})
	g.tol[b] = t.bound.tolerance(kernel.F32)
}
