package amd64

import (
	"math"

	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Maps and reductions over columns that follow each other on tiles of one shape
// go by row together: each strip of 16 elements stays in registers from one
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
	joined := map[*kernel.Tile]bool{} // results of reductions: a row has them at its end
	for i, s := range body {
		t := rowTile(s)
		if t == nil || scaling(body[i:]) != nil || shape != nil && !sameShape(t, shape) {
			return body[:i]
		}
		w, reads := effects(s)
		for _, r := range reads {
			if joined[r.tile] {
				return body[:i]
			}
		}
		if joined[w] {
			return body[:i]
		}
		if _, ok := s.(*kernel.Reduce); ok {
			joined[w] = true
		}
		shape = t
	}
	return body
}

// rowTile is the tile through whose rows a statement goes; nil where it does not
// go by row.
func rowTile(s kernel.Stmt) *kernel.Tile {
	switch s := s.(type) {
	case *kernel.Map:
		if s.Dst.Cols > 1 {
			return s.Dst
		}
	case *kernel.Reduce:
		if !s.OverRows && s.Src.Cols > 1 {
			return s.Src
		}
	}
	return nil
}

func sameShape(a, b *kernel.Tile) bool {
	return a.Rows == b.Rows && a.Cols == b.Cols && sameCount(a.ValidRows, b.ValidRows) && sameCount(a.ValidCols, b.ValidCols)
}

func sameCount(a, b *ints.Expr) bool {
	return a == b || a != nil && b != nil && ints.Equal(a, b)
}

// passing gives the tiles that a run writes and nothing but the run's later
// statements reads.
func (b *block) passing(run []kernel.Stmt) map[*kernel.Tile]bool {
	seen, inside := map[*kernel.Tile]bool{}, map[*kernel.Tile]int{}
	for _, s := range run {
		w, reads := effects(s)
		for _, r := range reads {
			if seen[r.tile] {
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

// byRows emits a run of maps and reductions.
func (b *block) byRows(run []kernel.Stmt) {
	shape, passing := rowTile(run[0]), b.passing(run)
	fresh := map[*kernel.Tile]value.Value{} // what the run has computed of the strip
	maps := make([]*mapper, len(run))
	var joins []*join
	for i, s := range run {
		switch s := s.(type) {
		case *kernel.Map:
			maps[i] = b.mapper(s, fresh)
		case *kernel.Reduce:
			joins = append(joins, b.joinOf(s))
		}
	}
	if b.err != nil {
		return
	}
	n := b.cols(shape)
	exact := false // every strip is full
	if k, ok := constInt(n); ok {
		exact = k%lanes == 0
	}
	strip := func(c value.Value, acc []value.Value) (next []value.Value) {
		clear(fresh)
		for i, s := range run {
			switch s := s.(type) {
			case *kernel.Map:
				m := maps[i]
				m.first = c
				fresh[s.Dst] = m.eval(s.Expr)
				m.first = nil
				if !passing[s.Dst] {
					d := b.place(s.Dst)
					b.store(fresh[s.Dst], b.rowAt(d, m.row), b.mul(c, c64(d.col)))
				}
			case *kernel.Reduce:
				j := joins[len(next)]
				x := fresh[s.Src]
				if x == nil {
					src := b.place(s.Src)
					x = b.vector(src, b.rowAt(src, j.row), c)
				}
				if !exact {
					x = b.choose(b.mask(c, n), x, j.none)
				}
				next = append(next, b.join(s.Op, acc[len(next)], x))
			}
		}
		return next
	}
	b.push()
	for i, s := range run {
		if m := maps[i]; m != nil {
			m.before(s.(*kernel.Map).Expr, perBlock)
		}
	}
	b.eachRow(shape, func(r value.Value) {
		acc := make([]value.Value, len(joins))
		for i, j := range joins {
			j.row, acc[i] = r, j.none
		}
		for i, s := range run {
			if m := maps[i]; m != nil {
				m.row = r
				m.before(s.(*kernel.Map).Expr, perRow)
			}
		}
		acc = b.strips(n, acc, strip)
		for i, j := range joins {
			d := b.place(j.Dst)
			b.store(b.joined(j.Op, acc[i]), b.rowAt(d, r), c64(0))
		}
	})
	b.pop()
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

// join is a reduction over columns being emitted.
type join struct {
	*kernel.Reduce
	none value.Value // what joins without effect
	row  value.Value // the current row
}

func (b *block) joinOf(s *kernel.Reduce) *join {
	if s.Dst.Rows != s.Src.Rows || s.Dst.Cols != 1 || s.Dst.Elem != s.Src.Elem {
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
