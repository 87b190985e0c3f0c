package kerneltest

import (
	"fmt"
	"math/rand"
	"slices"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// dim is a dimension of tiles. Tiles that share one agree in size and count.
type dim struct {
	size   int
	valid  *ints.Expr // nil: all
	most   int        // the largest count
	base   *ints.Expr // where index 0 lies in a buffer; nil: 0
	extent int        // the buffer's size of it; 0: open, n rows
	single bool       // the dimension of one row or column
	whole  bool       // all are valid, always
	empty  bool       // the count may be 0
	ofJ    bool       // a piece of the second axis
}

// tile is a defined tile with what is known of its values.
type tile struct {
	*kernel.Tile
	r, c     *dim
	bound    bound
	positive bool // integers above 0
	frozen   int  // above 0: it keeps its value in the body that is being made
}

// gen makes one kernel.
type gen struct {
	*rand.Rand
	*Case
	bytes int // of all tiles

	// Of the part:
	dims   []*dim
	one    *dim
	pool   []*tile    // what may be read here
	vars   []string   // Ints, axes and loops
	block  *ints.Expr // the block's number
	i      *dim       // the rows of the block
	j      *dim       // its columns, or nil
	body   *[]kernel.Stmt
	nested int
}

// maxBytes bounds the tiles of a kernel, so that a small near memory holds them.
const maxBytes = 96 << 10

var sizes = []int{1, 2, 3, 5, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40}

// Random draws a kernel of one or two parts with Ints n and p.
func Random(r *rand.Rand) *Case {
	c := &Case{Kernel: &kernel.Kernel{Name: "random", Ints: []string{"n", "p"}}, fills: map[*kernel.Buf]fill{}, tol: map[*kernel.Buf]float64{}}
	g := &gen{Rand: r, Case: c}
	for range 1 + r.Intn(5)/4 {
		g.part()
	}
	return c
}

func (g *gen) coin() bool { return g.Intn(2) == 0 }

func pick[T any](g *gen, of []T) T { return of[g.Intn(len(of))] }

func (g *gen) emit(s kernel.Stmt) { *g.body = append(*g.body, s) }

func (g *gen) note() string {
	if g.Intn(3) == 0 {
		return ""
	}
	return fmt.Sprintf("random.spec:%d local.v%d", 1+g.Intn(99), g.Intn(10))
}

func (g *gen) part() {
	pt := kernel.Part{}
	g.pool, g.vars, g.block, g.j = nil, []string{"n", "p"}, ints.C(0), nil
	g.one = &dim{size: 1, most: 1, extent: 1, single: true, whole: true}
	rows := pick(g, sizes)
	g.i = &dim{size: rows, most: rows, valid: ints.Least(ints.C(int64(rows)), ints.V("n")), empty: true}
	if g.Intn(5) > 0 {
		pt.Grid = append(pt.Grid, kernel.Axis{Var: "i", Extent: ints.V("n"), Step: rows})
		g.vars = append(g.vars, "i")
		g.i.base, g.i.empty = ints.V("i"), false
		g.i.valid = ints.Least(ints.C(int64(rows)), ints.Minus(ints.V("n"), ints.V("i")))
		g.block = ints.Quo(ints.V("i"), ints.C(int64(rows)))
	}
	g.dims = []*dim{g.i}
	if g.Intn(3) == 0 {
		g.secondAxis(&pt)
	}
	for range 2 {
		n := pick(g, sizes)
		g.dims = append(g.dims, &dim{size: n, most: n, extent: n, whole: true})
	}
	if g.Intn(3) == 0 { // a constant count
		n := 2 + g.Intn(20)
		k := 1 + g.Intn(n)
		g.dims = append(g.dims, &dim{size: n, valid: ints.C(int64(k)), most: k, extent: k})
	}
	if g.Intn(4) == 0 { // a count that is often 0
		g.dims = append(g.dims, &dim{size: 9, valid: ints.Most(ints.C(0), ints.Least(ints.C(9), ints.Minus(ints.V("n"), ints.C(17)))), most: 9, extent: 9, empty: true})
	}
	g.body = &pt.Body
	for range 3 {
		g.load(pick(g, g.dims), pick(g, g.dims))
	}
	for range 4 + g.Intn(12) {
		g.statement()
	}
	g.stores()
	g.Kernel.Parts = append(g.Kernel.Parts, pt)
}

func (g *gen) secondAxis(pt *kernel.Part) {
	step := pick(g, sizes)
	extent := step + g.Intn(2*step+1)
	blocks := (extent + step - 1) / step
	pt.Grid = append(pt.Grid, kernel.Axis{Var: "j", Extent: ints.C(int64(extent)), Step: step})
	g.vars = append(g.vars, "j")
	g.j = &dim{size: step, most: step, base: ints.V("j"), extent: extent, ofJ: true, valid: ints.Least(ints.C(int64(step)), ints.Minus(ints.C(int64(extent)), ints.V("j")))}
	g.dims = append(g.dims, g.j)
	g.block = ints.Plus(ints.Times(g.block, ints.C(int64(blocks))), ints.Quo(ints.V("j"), ints.C(int64(step))))
}

// fresh declares a tile; false where the kernel's tiles take enough already.
func (g *gen) fresh(e kernel.Elem, r, c *dim) (*tile, bool) {
	bytes := r.size * c.size * e.Size()
	if g.bytes+bytes > maxBytes {
		return nil, false
	}
	g.bytes += bytes
	t := g.Kernel.NewTile(fmt.Sprintf("t%d", len(g.Kernel.Tiles)), e, r.size, c.size)
	t.ValidRows, t.ValidCols = r.valid, c.valid
	return &tile{Tile: t, r: r, c: c}, true
}

// define makes the tile readable from here on.
func (g *gen) define(t *tile) { g.pool = append(g.pool, t) }

// tiles are the readable ones for which ok holds.
func (g *gen) tiles(ok func(*tile) bool) []*tile {
	var out []*tile
	for _, t := range g.pool {
		if ok(t) {
			out = append(out, t)
		}
	}
	return out
}

// float gives a readable floating tile of these dimensions, a new one at need.
func (g *gen) float(r, c *dim) (*tile, bool) {
	if ts := g.tiles(func(t *tile) bool { return t.Elem == kernel.F32 && t.r == r && t.c == c && t.bound.useful() }); len(ts) > 0 && g.Intn(4) > 0 {
		return pick(g, ts), true
	}
	if g.coin() && !(r.extent == 0 && c.extent == 0) {
		return g.loadAs(kernel.F32, r, c)
	}
	return g.mapped(kernel.F32, r, c)
}

func (g *gen) statement() {
	r, c := pick(g, g.dims), pick(g, g.dims)
	if g.Intn(4) == 0 {
		c = g.one
	}
	if g.Intn(6) == 0 {
		r = g.one
	}
	switch g.Intn(14) {
	case 0, 1:
		g.load(r, c)
	case 2:
		g.gather(r, c)
	case 3, 4:
		g.mapped(pick(g, []kernel.Elem{kernel.F32, kernel.F32, kernel.F32, kernel.I32, kernel.I64}), r, c)
	case 5:
		g.remap()
	case 6, 7:
		g.dot(r, c)
	case 8:
		g.reduce(r, c)
	case 9:
		g.transpose()
	case 10:
		g.slice()
	case 11:
		g.paste()
	case 12:
		if g.nested < 2 {
			g.loop()
		}
	case 13:
		if g.nested < 2 {
			g.when()
		}
	}
}

// dot gives a new tile one product or the sum of two.
func (g *gen) dot(r, c *dim) {
	t, ok := g.fresh(kernel.F32, r, c)
	if !ok {
		return
	}
	var out *kernel.Band
	if g.Intn(4) == 0 {
		out = g.band()
	}
	if t.bound, ok = g.product(t, false, out); !ok {
		return
	}
	if more, ok := g.product(t, true, out); ok {
		t.bound = t.bound.plus(more)
	}
	if out != nil {
		g.emit(&kernel.Map{Dst: t.Tile, Expr: inside(out, kernel.Row, kernel.Col, t.Tile), Note: g.note()})
	}
	g.define(t)
}

// band draws a band, which may be empty.
func (g *gen) band() *kernel.Band {
	b := &kernel.Band{Lo: ints.C(int64(g.Intn(40) - 24)), Per: 1 + g.Intn(4)}
	if g.coin() {
		b.Lo = ints.Plus(b.Lo, ints.Rem(ints.V(pick(g, g.vars)), ints.C(16)))
	}
	b.Hi = ints.Plus(b.Lo, ints.C(int64(g.Intn(32)-2)))
	return b
}

// inside is a tile, 0 outside a band of which r and c are the row and the column.
func inside(b *kernel.Band, r, c string, t *kernel.Tile) *kernel.Val {
	at := ints.Minus(ints.V(c), ints.Quo(ints.V(r), ints.C(int64(b.Per))))
	in := ints.Bin(ints.And, ints.Bin(ints.Le, b.Lo, at), ints.Bin(ints.Le, at, b.Hi))
	return kernel.F(kernel.Choose, kernel.TestOf(in), kernel.R(t), kernel.N(0))
}

// product emits a dot into t and gives the bound of what it adds.
func (g *gen) product(t *tile, acc bool, out *kernel.Band) (bound, bool) {
	k := pick(g, g.dims)
	s := &kernel.Dot{Dst: t.Tile, Acc: acc, TransA: g.coin(), TransB: g.coin(), Out: out, Note: g.note()}
	ar, ac, br, bc := t.r, k, k, t.c
	if s.TransA {
		ar, ac = ac, ar
	}
	if s.TransB {
		br, bc = bc, br
	}
	a, ok := g.float(ar, ac)
	if !ok {
		return bound{}, false
	}
	b, ok := g.float(br, bc)
	if !ok {
		return bound{}, false
	}
	s.A, s.B = a.Tile, b.Tile
	if g.Intn(4) == 0 {
		masked, ok := g.fresh(kernel.F32, ar, ac)
		if !ok {
			return bound{}, false
		}
		s.A, s.In = masked.Tile, g.band()
		r, c := kernel.Row, kernel.Col
		if s.TransA {
			r, c = c, r
		}
		g.emit(&kernel.Map{Dst: masked.Tile, Expr: inside(s.In, r, c, a.Tile), Note: g.note()})
	}
	x, y := a.bound, b.bound
	if g.Intn(3) == 0 { // the whole sum is in the tile, or blocks of one
		s.Group = k.size
		if g.coin() {
			s.Group = 8
		}
		if g.Intn(3) == 0 {
			s.Operands = kernel.BF16
			x, y = x.rounded(), y.rounded()
		}
	}
	g.emit(s)
	return x.times(y).sum(k.most), true
}

func (g *gen) reduce(r, c *dim) {
	s := &kernel.Reduce{OverRows: g.coin(), Note: g.note()}
	src, ok := g.float(r, c)
	if !ok {
		return
	}
	over := c
	dr, dc := r, g.one
	if s.OverRows {
		over, dr, dc = r, g.one, c
	}
	dst, ok := g.fresh(kernel.F32, dr, dc)
	if !ok {
		return
	}
	dst.bound = src.bound.sum(over.most)
	// The largest of no elements is -inf, which has no bound.
	if !over.empty && g.coin() {
		s.Op, dst.bound = kernel.Largest, src.bound
	}
	s.Dst, s.Src = dst.Tile, src.Tile
	g.emit(s)
	g.define(dst)
}

func (g *gen) transpose() {
	src := pick(g, g.pool0())
	dst, ok := g.fresh(src.Elem, src.c, src.r)
	if !ok {
		return
	}
	dst.bound, dst.positive = src.bound, src.positive
	g.emit(&kernel.Transpose{Dst: dst.Tile, Src: src.Tile, Note: g.note()})
	g.define(dst)
}

// pool0 is the pool, with a tile in it.
func (g *gen) pool0() []*tile {
	for len(g.pool) == 0 {
		if t, ok := g.fresh(kernel.F32, g.one, g.one); ok {
			g.emit(&kernel.Map{Dst: t.Tile, Expr: kernel.N(0.5)})
			t.bound = bound{b: 0.5, q: 1}
			g.define(t)
		} else {
			g.bytes = 0
		}
	}
	return g.pool
}

// piece draws a part of a dimension: itself at 0, or a smaller one within what
// is surely valid.
func (g *gen) piece(d *dim) (*dim, int) {
	sure := d.most
	if d.valid != nil {
		if _, ok := d.valid.IsConst(); !ok {
			sure = 0
		}
	}
	if sure == 0 || g.Intn(3) == 0 {
		return d, 0
	}
	n := 1 + g.Intn(sure)
	return &dim{size: n, most: n, extent: n, whole: true}, g.Intn(sure - n + 1)
}

func (g *gen) slice() {
	src := pick(g, g.pool0())
	r, row := g.piece(src.r)
	c, col := g.piece(src.c)
	dst, ok := g.fresh(src.Elem, r, c)
	if !ok {
		return
	}
	dst.bound, dst.positive = src.bound, src.positive
	g.emit(&kernel.Slice{Dst: dst.Tile, Src: src.Tile, Row: row, Col: col, Note: g.note()})
	g.define(dst)
}

func (g *gen) paste() {
	ts := g.tiles(func(t *tile) bool { return t.Elem == kernel.F32 && t.frozen == 0 })
	if len(ts) == 0 {
		return
	}
	dst := pick(g, ts)
	r, row := g.piece(dst.r)
	c, col := g.piece(dst.c)
	src, ok := g.mapped(kernel.F32, r, c)
	if !ok {
		return
	}
	g.emit(&kernel.Paste{Dst: dst.Tile, Src: src.Tile, Row: row, Col: col, Note: g.note()})
	dst.bound = dst.bound.join(src.bound)
}

// inner makes a body of some statements and those of last. Tiles that exist
// outside keep their values in it but for what last does; tiles that it makes
// are gone behind it.
func (g *gen) inner(body *[]kernel.Stmt, last func()) {
	outer, pool := g.body, slices.Clone(g.pool)
	for _, t := range pool {
		t.frozen++
	}
	g.body = body
	g.nested++
	for range g.Intn(4) {
		g.statement()
	}
	last()
	g.nested--
	g.body, g.pool = outer, pool
	for _, t := range pool {
		t.frozen--
	}
}

// loop emits a For over n rows or a constant count, which adds to a tile.
func (g *gen) loop() {
	step := pick(g, sizes[3:])
	name := []string{"s", "t"}[g.nested]
	v := ints.V(name)
	s := &kernel.For{Var: name, Lo: ints.C(0), Step: step, Stages: g.Intn(4)}
	d := &dim{size: step, most: step, base: v}
	most := (100 + step - 1) / step
	if g.coin() {
		s.Hi = ints.V("n")
	} else {
		d.extent = step + g.Intn(2*step)
		s.Hi = ints.C(int64(d.extent))
		most = (d.extent + step - 1) / step
	}
	d.valid = ints.Least(ints.C(int64(step)), ints.Minus(s.Hi, v))
	sum, ok := g.mapped(kernel.F32, pick(g, g.dims), pick(g, g.dims))
	if !ok {
		return
	}
	g.emit(s)
	g.vars, g.dims = append(g.vars, name), append(g.dims, d)
	g.hide(sum)
	added := bound{}
	g.inner(&s.Body, func() {
		if g.coin() {
			added, _ = g.product(sum, true, nil)
			return
		}
		x, b := g.floatVal(sum.r, sum.c, 3)
		g.emit(&kernel.Map{Dst: sum.Tile, Expr: kernel.F(kernel.Add, kernel.R(sum.Tile), x), Note: g.note()})
		added = b
	})
	g.vars, g.dims = g.vars[:len(g.vars)-1], g.dims[:len(g.dims)-1]
	sum.bound = sum.bound.plus(added.sum(most))
	g.define(sum)
}

// hide takes a tile out of the pool.
func (g *gen) hide(t *tile) {
	g.pool = slices.DeleteFunc(slices.Clone(g.pool), func(x *tile) bool { return x == t })
}

// when emits a When that gives a tile another value.
func (g *gen) when() {
	t, ok := g.mapped(kernel.F32, pick(g, g.dims), pick(g, g.dims))
	if !ok {
		return
	}
	s := &kernel.When{Cond: g.condition(false)}
	g.emit(s)
	g.hide(t)
	var b bound
	g.inner(&s.Body, func() {
		var x *kernel.Val
		x, b = g.floatVal(t.r, t.c, 3)
		g.emit(&kernel.Map{Dst: t.Tile, Expr: x, Note: g.note()})
	})
	t.bound = t.bound.join(b)
	g.define(t)
}
