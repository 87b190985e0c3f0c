package amd64

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// place is where a tile's elements lie: in scratch, or in a buffer for a view.
// Element (r, c) is at ptr + r*row + c*col bytes, unless panel is given.
type place struct {
	ptr      value.Value
	elem     kernel.Elem // in memory: bf16 and f16 widen when read
	row, col int64
	panel    *panel
	next     value.Value // bytes from a view to that of the loop's next turn; may be nil
	more     value.Value // whether the next turn may read what lies behind a view; nil where it is none
	stored   bool        // in the buffer that the tile is stored to
}

// panel is the layout of a matrix stored in panels: element (k, n) is at
// ptr + n/size*stride + k*step + n%size*elem bytes. byRow says that n runs over
// the tile's rows.
type panel struct {
	size, stride, step int64
	byRow              bool
}

// role is how a statement reads a tile.
type role uint8

const (
	asRows   role = iota // vectors along a row (along the column of a one-column tile)
	asStrips             // the same, by maps and reductions
	asLeft               // left operand of a product: one element at a time
	asRightC             // right operand, n over the tile's columns
	asRightR             // right operand, n over the tile's rows
)

type read struct {
	tile *kernel.Tile
	role role
}

// effects gives the tiles that a statement writes and reads, not looking into
// loops and conditions.
func effects(s kernel.Stmt) (write *kernel.Tile, reads []read) {
	switch s := s.(type) {
	case *kernel.Load:
		if s.Gather != nil {
			reads = append(reads, read{s.Gather, asRows})
		}
		return s.Dst, reads
	case *kernel.Store:
		return nil, []read{{s.Src, asRows}}
	case *kernel.Map:
		refs(s.Expr, func(t *kernel.Tile) { reads = append(reads, read{t, asStrips}) })
		return s.Dst, reads
	case *kernel.Dot:
		left, right, _, transposed := operands(s)
		reads = []read{{left, asLeft}, {right, asRightC}}
		if transposed {
			reads[1].role = asRightR
		}
		if s.Acc {
			reads = append(reads, read{s.Dst, asRows})
		}
		return s.Dst, reads
	case *kernel.Reduce:
		return s.Dst, []read{{s.Src, asStrips}}
	case *kernel.Transpose:
		return s.Dst, []read{{s.Src, asRows}}
	case *kernel.Slice:
		return s.Dst, []read{{s.Src, asRows}}
	case *kernel.Paste:
		return s.Dst, []read{{s.Src, asRows}}
	}
	return nil, nil
}

// turned says that a product with a column as its result is computed
// transposed, so that the result's elements are the lanes.
func turned(s *kernel.Dot) bool { return s.Dst.Cols == 1 && s.Dst.Rows > 1 }

func refs(v *kernel.Val, yield func(*kernel.Tile)) {
	if v.Op == kernel.Ref {
		yield(v.Tile)
	}
	for _, a := range v.Args {
		refs(a, yield)
	}
}

// statements yields each statement of a list and of the lists within.
func statements(list []kernel.Stmt, yield func(kernel.Stmt)) {
	for _, s := range list {
		yield(s)
		switch s := s.(type) {
		case *kernel.For:
			statements(s.Body, yield)
		case *kernel.When:
			statements(s.Body, yield)
		}
	}
}

// usage is what a part does with one tile.
type usage struct {
	writes int
	reads  []read
	tall   bool // written 16 rows at a time
}

func usages(body []kernel.Stmt) map[*kernel.Tile]*usage {
	u := map[*kernel.Tile]*usage{}
	of := func(t *kernel.Tile) *usage {
		if u[t] == nil {
			u[t] = &usage{}
		}
		return u[t]
	}
	statements(body, func(s kernel.Stmt) {
		w, reads := effects(s)
		if w != nil {
			of(w).writes++
			switch s.(type) {
			case *kernel.Transpose, *kernel.Load:
				of(w).tall = true
			}
		}
		for _, r := range reads {
			of(r.tile).reads = append(of(r.tile).reads, r)
		}
	})
	return u
}

// storesOf counts the statements that write each buffer.
func storesOf(body []kernel.Stmt) map[*kernel.Buf]int {
	n := map[*kernel.Buf]int{}
	statements(body, func(s kernel.Stmt) {
		if s, ok := s.(*kernel.Store); ok {
			n[s.Buf]++
		}
	})
	return n
}

// block emits the statements of one part for one block of its grid.
type block struct {
	*fn
	bufs    map[*kernel.Buf]value.Value
	scratch value.Value
	shape   value.Value // of matrix tiles
	entry   *ir.Block   // of the part: what it computes reaches every statement
	uses    map[*kernel.Tile]*usage
	stores  map[*kernel.Buf]int // how many of the part's statements write a buffer
	lives   map[*kernel.Tile]life
	places  map[*kernel.Tile]place
	views   map[*kernel.Tile]*kernel.Load // tiles that are where they would be loaded from
	turns   map[*kernel.Tile]right        // copies of tiles, transposed, that are up to date
	fixed   map[*kernel.Tile]fixed        // left operands in whole numbers that are up to date
	copies  map[copyKey]copied            // copies in squares or strips that are up to date
	written map[*kernel.Tile]bool         // by a statement that every path here has passed
	sums    map[*kernel.Tile]sum          // sums that have no product yet
	ahead   map[string]*ints.Expr         // what becomes of variables in the next turn of a loop whose loads run ahead
	turn    turn                          // of the loop that is emitted
	pieces  []piece
	after   []kernel.Stmt // behind the statement in its list
	// firstCodes is the right operand of the list's first product with codes.
	firstCodes right
	pos        int  // the statement's position, as lifetimes counts
	rest       span // from the statement to the end of its list
}

func padded(n int64) int64 { return (n + lanes - 1) / lanes * lanes }

// rowBytes is the distance of rows in scratch: padded to whole vectors, and not
// a multiple of 1 KiB, which would map every row to a few cache sets.
func rowBytes(cols int64, size int64) int64 {
	n := padded(cols) * size
	if n%1024 == 0 {
		n += 64
	}
	return n
}

// place gives a tile's place, making room for it in scratch on first use. The
// address is computed in the part's entry, which every use of it comes after.
func (b *block) place(t *kernel.Tile) place {
	if p, ok := b.places[t]; ok {
		return p
	}
	if t == nil || t.Rows < 1 || t.Cols < 1 || t.Rows > 1<<20 || t.Cols > 1<<20 || t.Elem != kernel.F32 && t.Elem != kernel.I32 && t.Elem != kernel.I64 {
		b.fail("tile %+v has no valid shape or type", t)
		return place{ptr: b.scratch, row: 4, col: 4}
	}
	size := int64(t.Elem.Size())
	p := place{elem: t.Elem, row: size, col: size}
	rows := int64(t.Rows)
	if u := b.uses[t]; u != nil && u.tall {
		rows = padded(rows)
	}
	if t.Cols > 1 {
		p.row = rowBytes(int64(t.Cols), size)
		p.ptr = b.near(rows*p.row, b.lives[t].span)
	} else {
		p.ptr = b.near(padded(rows)*size, b.lives[t].span)
	}
	b.places[t] = p
	return p
}

// vectorOf is the vector type in which 16 elements are read from memory.
func vectorOf(e kernel.Elem) *types.VectorType {
	return [...]*types.VectorType{vf32, v16, vf16, v32, v64, v1}[e]
}

// rows and cols are a tile's valid counts, at most its size.
func (b *block) rows(t *kernel.Tile) value.Value { return b.valid(t.ValidRows, t.Rows) }
func (b *block) cols(t *kernel.Tile) value.Value { return b.valid(t.ValidCols, t.Cols) }

func (b *block) valid(e *ints.Expr, all int) value.Value {
	if e == nil {
		return c64(int64(all))
	}
	if e.Interval(b.ranges).Hi <= int64(all) {
		return b.int(e)
	}
	return b.smin(b.int(e), c64(int64(all)))
}

// rowAt is the address of a row.
func (b *block) rowAt(p place, r value.Value) value.Value {
	return b.at(p.ptr, b.mul(r, c64(p.row)))
}

// vector reads 16 elements from column c on, widened to the tile's type.
func (b *block) vector(p place, row, c value.Value) value.Value {
	return b.widened(b.load(vectorOf(p.elem), row, b.mul(c, c64(int64(p.elem.Size())))))
}

// inRow reads 16 elements of row r from column c on, a multiple of 16, as vector does.
func (b *block) inRow(p place, r, c value.Value) value.Value {
	q := p.panel
	if q == nil {
		return b.vector(p, b.rowAt(p, r), c)
	}
	over, _ := b.floorDivConst(c, q.size, true, false)
	_, in := b.floorDivConst(c, q.size, true, true)
	panel := b.at(p.ptr, b.mul(over, c64(q.stride)))
	if p.elem != words {
		return b.vector(p, b.at(panel, b.mul(r, c64(q.step))), in)
	}
	w := b.load(v32, b.at(panel, b.mul(b.bin(lshr, r, c64(1)), c64(q.step))), b.mul(in, c64(4)))
	up := b.sub(c64(16), b.mul(b.bin(and, r, c64(1)), c64(16)))
	return b.float(b.bin(and, b.bin(shl, w, b.splat(b.convert(trunc, up, i32))), vint(v32, -1<<16)))
}

// element reads one element of a tile.
func (b *block) element(p place, r, c value.Value) value.Value {
	off := b.add(b.mul(r, c64(p.row)), b.mul(c, c64(p.col)))
	return b.widened(b.load(elemOf(vectorOf(p.elem)), p.ptr, off))
}

// eachRow runs body for every valid row, with r bound.
func (b *block) eachRow(t *kernel.Tile, body func(r value.Value)) {
	b.rowsBelow(t, b.rows(t), body)
}

// rowsBelow is eachRow for the first n rows.
func (b *block) rowsBelow(t *kernel.Tile, n value.Value, body func(r value.Value)) {
	b.count(c64(0), n, 1, func(r value.Value) {
		b.bind(kernel.Row, r, ints.Range{Lo: 0, Hi: int64(t.Rows) - 1}, 1, func() { body(r) })
	})
}

// eachStrip runs body for every strip of 16 below n.
func (b *block) eachStrip(n value.Value, body func(c value.Value)) {
	b.count(c64(0), n, lanes, body)
}

// mask has the lanes i with first + i < n.
func (b *block) mask(first, n value.Value) value.Value {
	return b.icmp(predicate[ints.Lt], ramp(v32, 1), b.splat(b.convert(trunc, b.sub(n, first), i32)))
}
