package amd64

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// The loops of a product over register tiles. A tile's rows of A stay near while
// B's columns go by in one sequence; of a B that is not f32 the first tile leaves
// a widened copy to those of other rows.

// blockK is how many steps of k a tile takes before the next one: a tile's rows
// of A, and B's columns for all rows, should stay in L2.
const blockK = 1024

// wideRow is the bytes of a row of a widened copy of B: two vectors.
const wideRow = 2 * lanes * 4

// ahead is how many steps of k B is fetched before its use: it comes from L2, in
// one sequence, which the processor's own prefetching follows too late. Few rows
// have it from farther away, and fetch what suits the processor (plan.NativeHost);
// in a loop they are done with B too soon for that, and what they fetch is what the
// next turn reads in its place.
const ahead = 12

// besideTurn is the bytes of one turn's B beside which those of the next surely have
// room in the nearest cache.
const besideTurn = 16 << 10

// productKey names a product by the right operand's type in memory, the vectors in its
// panels, whether it runs in pairs (pairs.go), and how many rows of its bands have the
// same bounds, 0 where it has no band; nothing else of it is constant.
type productKey struct {
	elem     kernel.Elem
	perPanel int64
	pairs    bool
	in, out  int64
}

// copied is the type of the widened copy of B.
func (k productKey) copied() kernel.Elem {
	if k.pairs {
		return words
	}
	return kernel.F32
}

// product is the function that computes a product of operands in place:
//
//	product(a, bytes between its rows, bytes between its columns,
//	        bytes between its strips of as many rows as the tallest register tile has,
//	        b, bytes between its rows, bytes between its panels, k,
//	        dst, bytes between its rows, rows, vectors of columns, add to dst,
//	        what dst's rows are multiplied by first or null,
//	        bytes from what is read of b to what is fetched,
//	        room for blockK rows of two widened vectors unless b is f32,
//	        the bounds of the bands that there are)
//
// In pairs, a's columns are words. b's rows are words where b is in words; k is as
// otherwise.
func (m *module) product(key productKey) *ir.Func {
	if f := m.products[key]; f != nil {
		return f
	}
	p := product{key: key}
	param := func(name string, t types.Type) *ir.Param { return ir.NewParam(name, t) }
	pa, pb, dst := param("a", bytePtr), param("b", bytePtr), param("dst", bytePtr)
	aRow, aStep, aStrip := param("a.row", i64), param("a.step", i64), param("a.strip", i64)
	bStep, bPanel := param("b.step", i64), param("b.panel", i64)
	depth, dstRow, rows, vecs, acc := param("k", i64), param("dst.row", i64), param("rows", i64), param("vecs", i64), param("acc", bit)
	keep, fetch, wide := param("keep", bytePtr), param("fetch", i64), param("wide", bytePtr)
	name := fmt.Sprintf("memc.product.%s.%d", key.elem, key.perPanel*lanes)
	if key.pairs {
		name += ".pairs"
	}
	params := []*ir.Param{pa, aRow, aStep, aStrip, pb, bStep, bPanel, depth, dst, dstRow, rows, vecs, acc, keep, fetch, wide}
	limit := func(what string, per int64) *limits {
		if per == 0 {
			return nil
		}
		name += fmt.Sprintf(".%s%d", what, per)
		lo, hi := param(what+".lo", i64), param(what+".hi", i64)
		params = append(params, lo, hi)
		return &limits{lo, hi, per}
	}
	in, out := limit("in", key.in), limit("out", key.out)
	f := m.newFunc(name, types.Void, params...)
	f.private()
	m.products[key] = f.f
	p.fn, p.aRow, p.aStep, p.aStrip, p.bStep, p.bPanel = f, aRow, aStep, aStrip, bStep, bPanel
	p.dst, p.dstRow, p.rows, p.vecs = dst, dstRow, rows, vecs
	p.fetch, p.in, p.out = fetch, in, out

	p.from = c64(0)
	piece := func(turn value.Value, tiles func()) {
		f.carryOn(depth, turn, func(k value.Value) {
			p.a = f.at(pa, f.mul(p.leftAt(k), aStep))
			p.b = f.at(pb, f.mul(p.rightAt(key.elem, k), bStep))
			p.depth = f.smin(f.sub(depth, k), turn)
			if in != nil {
				p.in = &limits{f.sub(in.lo, k), f.sub(in.hi, k), in.per}
			}
			later := f.icmp(predicate[ints.Ne], k, c64(0))
			p.acc = f.bin(or, acc, later)
			p.keep = f.choose(later, constant.NewNull(bytePtr), keep)
			tiles()
		})
	}
	// Two tiles of rows are enough to share a widened copy of B.
	if tall := int64(2 * m.machine.Micro[0].Rows); key.elem != key.copied() && key.perPanel%2 == 0 {
		p.from = f.merge(f.icmp(predicate[ints.Le], c64(tall), rows), func() value.Value {
			piece(c64(blockK), func() { p.wideTiles(wide) })
			return f.bin(and, vecs, c64(-2))
		}, c64(0))
	}
	// One tile of rows reads B once however k is cut: then it is not cut.
	few := f.icmp(predicate[ints.Le], rows, c64(int64(m.machine.Micro[0].Rows)))
	piece(f.choose(few, depth, c64(blockK)), p.tiles)
	f.nothing(depth, acc, dst, dstRow, rows, vecs)
	f.ret()
	return f.f
}

// nothing makes the result of a product over nothing: 0, or what was there.
func (f *fn) nothing(depth, acc, dst, dstRow, rows, vecs value.Value) {
	empty := f.bin(and, f.icmp(predicate[ints.Le], depth, c64(0)), f.bin(xor, acc, constant.True))
	f.when(empty, func() {
		f.count(c64(0), rows, 1, func(r value.Value) {
			row := f.at(dst, f.mul(r, dstRow))
			f.count(c64(0), vecs, 1, func(v value.Value) { f.store(vnum(0), row, f.mul(v, c64(lanes*4))) })
		})
	})
}

// product emits the loops over register tiles for a part of k.
type product struct {
	*fn
	key                                 productKey
	a, aRow, aStep, aStrip              value.Value
	b, bStep, bPanel                    value.Value
	depth, dst, dstRow, rows, vecs, acc value.Value
	from                                value.Value // the first vector of columns
	keep                                value.Value // scales of rows, or null
	fetch                               value.Value // bytes to what is fetched of b
	in, out                             *limits     // of the ks from a and b on, and of columns; nil without a band
}

// leftAt is which column of A, as it lies in memory, holds that of k.
func (p *product) leftAt(k value.Value) value.Value {
	if p.key.pairs {
		return p.bin(lshr, k, c64(1))
	}
	return k
}

// rightAt is which row of a B of such elements holds that of k.
func (p *product) rightAt(e kernel.Elem, k value.Value) value.Value {
	if e == words {
		return p.bin(lshr, k, c64(1))
	}
	return k
}

// wideTiles covers pairs of vectors of columns. The first register tile of each
// leaves a widened copy of B to those of the other rows.
func (p *product) wideTiles(wide value.Value) {
	tallest := p.machine.Micro[0]
	p.count(c64(0), p.bin(and, p.vecs, c64(-2)), 2, func(v value.Value) {
		dst := p.at(p.dst, p.mul(v, c64(lanes*4)))
		for w := 0; w < 2; w += tallest.Vecs {
			side := c64(int64(w) * lanes * 4)
			first := p.micro(microKey{Shape: tallest, elem: p.key.elem, leave: true, pairs: p.key.pairs})
			p.call(first, p.a, p.aRow, p.aStep, p.column(p.add(v, c64(int64(w)))), p.bStep, p.depth, p.at(dst, side), p.dstRow, c64(0), p.acc, p.keep, p.fetch, p.at(wide, side))
		}
		p.bands(func(s Shape, from, to value.Value) {
			if s == tallest {
				from = c64(int64(s.Rows))
			}
			micro := p.micro(microKey{Shape: Shape{s.Rows, min(s.Vecs, 2)}, elem: p.key.copied(), pairs: p.key.pairs})
			for w := 0; w < 2; w += min(s.Vecs, 2) {
				side := c64(int64(w) * lanes * 4)
				p.count(from, to, int64(s.Rows), func(r value.Value) {
					p.asked(r, s, p.add(v, c64(int64(w))), func() {
						k, depth := p.ks(r, s)
						right := p.at(wide, p.mul(p.rightAt(p.key.copied(), k), c64(wideRow)))
						p.call(micro, p.leftFrom(r, k), p.aRow, p.aStep, p.at(right, side), c64(wideRow), depth, p.at(p.at(dst, side), p.mul(r, p.dstRow)), p.dstRow, c64(0), p.acc, p.keepAt(r), c64(0))
					})
				})
			}
		})
	})
}

// leftFrom is where row r of A has its k.
func (p *product) leftFrom(r, k value.Value) value.Value {
	return p.at(p.left(r), p.mul(p.leftAt(k), p.aStep))
}

// left is where row r of A begins.
func (p *product) left(r value.Value) value.Value {
	height := int64(p.machine.Micro[0].Rows)
	q, _ := p.floorDivConst(r, height, true, false)
	_, in := p.floorDivConst(r, height, true, true)
	return p.at(p.a, p.add(p.mul(q, p.aStrip), p.mul(in, p.aRow)))
}

// keepAt is where the scales of the rows from r on are; null where there are none.
func (p *product) keepAt(r value.Value) value.Value {
	return p.choose(p.none(p.keep), p.keep, p.at(p.keep, p.mul(r, c64(4))))
}

// column is where the columns of a vector begin in B.
func (p *product) column(v value.Value) value.Value { return p.at(p.b, p.columnAt(v)) }

// columnAt is column in bytes from where B begins.
func (p *product) columnAt(v value.Value) value.Value {
	q, _ := p.floorDivConst(v, p.key.perPanel, true, false)
	_, in := p.floorDivConst(v, p.key.perPanel, true, true)
	return p.add(p.mul(q, p.bPanel), p.mul(in, c64(lanes*int64(p.key.elem.Size()))))
}

// bands yields the rows that register tiles of each height cover: the tallest as
// many as they fill, then lower ones.
func (p *product) bands(yield func(s Shape, from, to value.Value)) {
	var row value.Value = c64(0)
	for _, s := range p.machine.Micro {
		q, _ := p.floorDivConst(p.sub(p.rows, row), int64(s.Rows), true, false)
		end := p.add(row, p.mul(q, c64(int64(s.Rows))))
		p.when(p.icmp(predicate[ints.Lt], row, end), func() { yield(s, row, end) })
		row = end
	}
}

// tiles covers the result with register tiles.
func (p *product) tiles() {
	p.when(p.icmp(predicate[ints.Lt], p.from, p.vecs), func() { p.bands(p.band) })
}

// band covers rows [from, to) with register tiles of one height, the widest
// first. The tile's rows of A stay near while B's columns go by.
func (p *product) band(s Shape, from, to value.Value) {
	v := p.from
	for w := s.Vecs; w > 0; w /= 2 {
		// A tile of more than two vectors takes them in pairs at one distance.
		if int64(w) > p.key.perPanel && p.key.perPanel != 2 {
			continue
		}
		if w > 2 && s.Rows*w >= tight && p.key.elem == words && !p.key.pairs {
			continue
		}
		span := p.bPanel
		if p.key.perPanel != 2 {
			span = c64(2 * lanes * int64(p.key.elem.Size()))
		}
		end := p.add(p.from, p.bin(and, p.sub(p.vecs, p.from), c64(-int64(w))))
		first := v
		p.count(from, to, int64(s.Rows), func(r value.Value) {
			k, depth := p.ks(r, s)
			left, right, dst, keep := p.leftFrom(r, k), p.mul(p.rightAt(p.key.elem, k), p.bStep), p.at(p.dst, p.mul(r, p.dstRow)), p.keepAt(r)
			p.covered(r, Shape{s.Rows, w}, first, end, func(s Shape, v value.Value) {
				micro := p.micro(microKey{Shape: s, elem: p.key.elem, pairs: p.key.pairs})
				p.call(micro, left, p.aRow, p.aStep, p.at(p.column(v), right), p.bStep, depth, p.at(dst, p.mul(v, c64(lanes*4))), p.dstRow, span, p.acc, keep, p.fetch)
			})
		})
		v = end
	}
}
