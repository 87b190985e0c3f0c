package amd64

import (
	"math"
	"slices"

	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Maps, reductions and stores to panels that follow each other on tiles of one shape
// go by row together, or by column where they read or write panels or reduce rows: each strip of 16 elements stays in registers from one
// statement to the next, and a tile that only these statements read is never
// stored.

// together is the number of statements at the beginning of a list that are
// emitted as one.
func together(body []kernel.Stmt) int {
	if scaling(body) != nil {
		return 2
	}
	return max(1, len(rowRun(body)))
}

// scaling is the first statement of a list if it multiplies a tile's rows by a
// column right before a product is added to them: the product can do both.
func scaling(body []kernel.Stmt) *kernel.Map {
	if len(body) < 2 {
		return nil
	}
	m, ok := body[0].(*kernel.Map)
	d, and := body[1].(*kernel.Dot)
	if !ok || !and || !d.Acc || !summed(d) || d.Dst != m.Dst || turned(d) || m.Dst.Elem != kernel.F32 || m.Dst.Cols == 1 || scaleOf(m) == nil {
		return nil
	}
	return m
}

// summed says that a product surely sums over something: over nothing it would
// leave the rows as they are, unscaled.
func summed(d *kernel.Dot) bool {
	if d.TransA {
		return d.A.ValidRows == nil
	}
	return d.A.ValidCols == nil
}

// scaleOf is the column c of a map t = t * c.
func scaleOf(m *kernel.Map) *kernel.Tile {
	if m.Expr.Op != kernel.Mul {
		return nil
	}
	x, y := m.Expr.Args[0], m.Expr.Args[1]
	if x.Op != kernel.Ref || x.Tile != m.Dst || y.Op != kernel.Ref || y.Tile.Cols != 1 || y.Tile.Rows != m.Dst.Rows || y.Tile.Elem != kernel.F32 {
		return nil
	}
	return y.Tile
}

// rowRun is the longest beginning of a list that can go by row together; empty
// where the first statement does not go by row.
func rowRun(body []kernel.Stmt) []kernel.Stmt {
	var shape *kernel.Tile
	written, stored := map[*kernel.Tile]bool{}, map[*kernel.Tile]bool{} // a store may be done behind the run
	buffers := map[*kernel.Buf]bool{}
	joined := map[*kernel.Tile]bool{} // results of reductions: known at the end of a row, or of all rows
	var reduction *kernel.Reduce
	for i, s := range body {
		t := rowTile(s)
		sums, _ := summing(body[i:])
		if t == nil || scaling(body[i:]) != nil || sums != nil || shape != nil && !sameShape(t, shape) {
			return body[:i]
		}
		w, reads := effects(s)
		for _, r := range reads {
			if joined[r.tile] {
				return body[:i]
			}
		}
		if joined[w] || stored[w] {
			return body[:i]
		}
		switch s := s.(type) {
		case *kernel.Reduce:
			if reduction != nil && reduction.OverRows != s.OverRows {
				return body[:i]
			}
			reduction = s
			joined[w] = true
		case *kernel.Map:
			written[w] = true
		case *kernel.Store:
			if !written[s.Src] || buffers[s.Buf] {
				return body[:i]
			}
			stored[s.Src], buffers[s.Buf] = true, true
		}
		shape = t
	}
	return body
}

// rowTile is the tile through whose rows a statement goes; nil where it does not
// go by row.
func rowTile(s kernel.Stmt) *kernel.Tile {
	var t *kernel.Tile
	switch s := s.(type) {
	case *kernel.Map:
		t = s.Dst
	case *kernel.Reduce:
		t = s.Src
	case *kernel.Store:
		// Rows of a matrix go out one by one behind the run: beside its own reads they
		// are no faster.
		if s.Buf.Panel > 0 && !s.Buf.Elem.Quantised() && s.Src.Cols%lanes == 0 && s.Src.ValidCols == nil {
			t = s.Src
		}
	}
	if t != nil && t.Cols == 1 {
		return nil
	}
	return t
}

func sameShape(a, b *kernel.Tile) bool {
	return a.Rows == b.Rows && a.Cols == b.Cols && sameCount(a.ValidRows, b.ValidRows) && sameCount(a.ValidCols, b.ValidCols)
}

func sameCount(a, b *ints.Expr) bool {
	return a == b || a != nil && b != nil && ints.Equal(a, b)
}

// passing gives the tiles that a run writes and nothing but the run's later
// statements reads, the stores that are done behind it left out.
func (b *block) passing(run []kernel.Stmt, waits map[*kernel.Store]bool) map[*kernel.Tile]bool {
	seen, inside := map[*kernel.Tile]bool{}, map[*kernel.Tile]int{}
	for _, s := range run {
		w, reads := effects(s)
		st, _ := s.(*kernel.Store)
		for _, r := range reads {
			if seen[r.tile] && !waits[st] {
				inside[r.tile]++
			}
		}
		if _, ok := s.(*kernel.Map); ok {
			seen[w] = true
		}
	}
	for t := range seen {
		seen[t] = len(b.uses[t].reads) == inside[t]
	}
	return seen
}

// sweep is a run of statements that go by row, being emitted.
type sweep struct {
	*block
	run     []kernel.Stmt
	shape   *kernel.Tile
	maps    []*mapper              // one for each map of the run, nil for other statements
	joins   []*join                // its reductions
	waits   map[*kernel.Store]bool // its stores that are done behind it
	passing map[*kernel.Tile]bool
	fresh   map[*kernel.Tile]value.Value // what the run has computed of the strip
	exact   bool                         // every strip is full
}

// byRows emits a run of maps, reductions and stores.
func (b *block) byRows(run []kernel.Stmt) {
	w := sweep{block: b, run: run, shape: rowTile(run[0]), maps: make([]*mapper, len(run)), waits: map[*kernel.Store]bool{}, fresh: map[*kernel.Tile]value.Value{}}
	panels := false
	for i, s := range run {
		switch s := s.(type) {
		case *kernel.Map:
			w.maps[i] = b.mapper(s, w.fresh)
		case *kernel.Reduce:
			w.joins = append(w.joins, b.joinOf(s))
		case *kernel.Store:
			if b.storable(s); b.err == nil && (!b.adjacent(s.Buf, s.Idx, kernel.Col) || b.readElsewhere(s, run)) {
				w.waits[s] = true
			}
			panels = panels || !w.waits[s]
		}
		_, reads := effects(s)
		panels = panels || slices.ContainsFunc(reads, func(r read) bool { return b.places[r.tile].panel != nil })
	}
	if b.err != nil {
		return
	}
	w.passing = b.passing(run, w.waits)
	if k, ok := constInt(b.cols(w.shape)); ok {
		w.exact = k%lanes == 0
	}
	b.push()
	for i, s := range run {
		if m := w.maps[i]; m != nil {
			m.before(s.(*kernel.Map).Expr, perBlock)
		}
	}
	switch {
	case len(w.joins) > 0 && w.joins[0].OverRows:
		w.byColumn(panels)
	case len(w.joins) == 0 && panels:
		w.byColumn(true)
	default:
		w.byRow()
	}
	b.pop()
	for _, s := range run {
		if s, ok := s.(*kernel.Store); ok && w.waits[s] {
			b.storeStmt(s)
		}
	}
}

// byRow goes through one row after another.
func (w *sweep) byRow() {
	n := w.cols(w.shape)
	w.eachRow(w.shape, func(r value.Value) {
		w.enter(r)
		acc := make([]value.Value, len(w.joins))
		for i, j := range w.joins {
			acc[i] = j.none
		}
		acc = w.strips(n, acc, func(c value.Value, acc []value.Value) []value.Value { return w.compute(r, c, acc) })
		for i, j := range w.joins {
			d := w.place(j.Dst)
			w.store(w.joined(j.Op, acc[i]), w.rowAt(d, r), c64(0))
		}
	})
}

// byColumn goes through all rows of a few strips, then of the next: those of a panel,
// which is one piece of memory, or else four.
func (w *sweep) byColumn(panels bool) {
	n, wide := w.cols(w.shape), int64(4)
	if panels {
		wide = 2
	}
	down := func(c value.Value, strips int64) {
		start := make([]value.Value, 0, strips*int64(len(w.joins)))
		for range strips {
			for _, j := range w.joins {
				start = append(start, j.none)
			}
		}
		at := func(i int64) value.Value { return w.add(c, c64(i*lanes)) }
		out := w.loop(c64(0), w.rows(w.shape), 1, start, func(r value.Value, acc []value.Value) (next []value.Value) {
			w.bind(kernel.Row, r, ints.Range{Lo: 0, Hi: int64(w.shape.Rows) - 1}, 1, func() {
				w.enter(r)
				for i := range strips {
					w.push()
					next = append(next, w.compute(r, at(i), acc[len(next):])...)
					w.pop()
				}
			})
			return next
		})
		for i := range strips {
			for _, j := range w.joins {
				d := w.place(j.Dst)
				w.store(out[0], d.ptr, w.mul(at(i), c64(d.col)))
				out = out[1:]
			}
		}
	}
	whole := w.bin(and, n, c64(-wide*lanes))
	w.count(c64(0), whole, wide*lanes, func(c value.Value) { down(c, wide) })
	w.count(whole, n, lanes, func(c value.Value) { down(c, 1) })
}

// enter computes what is the same in a whole row, which is bound.
func (w *sweep) enter(r value.Value) {
	for i, s := range w.run {
		if m := w.maps[i]; m != nil {
			m.row = r
			m.before(s.(*kernel.Map).Expr, perRow)
		}
	}
}

// compute runs all statements for 16 elements of a row, and gives what reductions have
// joined then.
func (w *sweep) compute(r, c value.Value, acc []value.Value) (next []value.Value) {
	clear(w.fresh)
	for i, s := range w.run {
		switch s := s.(type) {
		case *kernel.Map:
			m := w.maps[i]
			m.first = c
			w.fresh[s.Dst] = m.eval(s.Expr)
			m.first = nil
			if !w.passing[s.Dst] {
				d := w.place(s.Dst)
				w.store(w.fresh[s.Dst], w.rowAt(d, r), w.mul(c, c64(d.col)))
			}
		case *kernel.Reduce:
			x := w.fresh[s.Src]
			if x == nil {
				x = w.inRow(w.place(s.Src), r, c)
			}
			if j := w.joins[len(next)]; !w.exact && !s.OverRows {
				n := w.cols(w.shape)
				x = w.choose(w.mask(c, n), x, j.none)
			}
			next = append(next, w.join(s.Op, acc[len(next)], x))
		case *kernel.Store:
			if !w.waits[s] {
				w.bind(kernel.Col, c, ints.Range{Lo: 0, Hi: int64(s.Src.Cols)}, lanes, func() {
					at := w.int(w.offset(s.Buf, s.Idx))
					w.block.store(w.narrowed(w.fresh[s.Src], s.Buf.Elem), w.bufs[s.Buf], w.mul(at, c64(int64(s.Buf.Elem.Size()))))
				})
			}
		}
	}
	return next
}

// readElsewhere says that a run reads other elements of a store's buffer than the store
// writes in their place.
func (b *block) readElsewhere(s *kernel.Store, run []kernel.Stmt) bool {
	return slices.ContainsFunc(run, func(other kernel.Stmt) bool {
		_, reads := effects(other)
		return slices.ContainsFunc(reads, func(r read) bool {
			l := b.views[r.tile]
			return l != nil && l.Buf == s.Buf && !slices.EqualFunc(l.Idx, s.Idx, ints.Equal)
		})
	})
}

// unrolled is how many strips a turn of a loop over full strips takes.
const unrolled = 4

// strips runs body for every strip of 16 below n, several in a turn where all
// are full and there are many.
func (b *block) strips(n value.Value, carry []value.Value, body func(c value.Value, carry []value.Value) []value.Value) []value.Value {
	several := func(c value.Value, carry []value.Value, count int64) []value.Value {
		for i := range count {
			b.push()
			carry = body(b.add(c, c64(i*lanes)), carry)
			b.pop()
		}
		return carry
	}
	k, ok := constInt(n)
	switch {
	case ok && k <= unrolled*lanes:
		return several(c64(0), carry, (k+lanes-1)/lanes)
	case ok && k%(unrolled*lanes) == 0:
		return b.loop(c64(0), n, unrolled*lanes, carry, func(c value.Value, carry []value.Value) []value.Value {
			return several(c, carry, unrolled)
		})
	}
	return b.loop(c64(0), n, lanes, carry, body)
}

// join is a reduction being emitted.
type join struct {
	*kernel.Reduce
	none value.Value // what joins without effect
}

func (b *block) joinOf(s *kernel.Reduce) *join {
	rows, cols := s.Src.Rows, 1
	if s.OverRows {
		rows, cols = 1, s.Src.Cols
	}
	if s.Dst.Rows != rows || s.Dst.Cols != cols || s.Dst.Elem != s.Src.Elem {
		b.fail("reduce of %s into %s of another shape", s.Src.Name, s.Dst.Name)
	}
	return &join{Reduce: s, none: neutral(s)}
}

// neutral is what a reduction begins with.
func neutral(s *kernel.Reduce) value.Value {
	t := vectorOf(s.Src.Elem)
	switch {
	case t != vf32 && s.Op == kernel.Sum:
		return vint(t, 0)
	case t != vf32:
		return vint(t, map[kernel.Elem]int64{kernel.I32: -1 << 31, kernel.I64: -1 << 63}[s.Src.Elem])
	case s.Op == kernel.Sum:
		return &literal{vf32, "zeroinitializer"}
	}
	return vnum(float32(math.Inf(-1)))
}

// joined joins the lanes of a vector.
func (b *block) joined(op kernel.Reduction, acc value.Value) value.Value {
	for d := lanes / 2; d > 0; d /= 2 {
		acc = b.join(op, acc, b.shuffle(acc, acc, func(i int) int { return (i + d) % lanes }))
	}
	return b.lane(acc, 0)
}
