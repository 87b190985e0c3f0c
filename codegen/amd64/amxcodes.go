package amd64

import (
	"fmt"
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Products with codes of Q8 in matrix tiles (AMX-INT8; Intel 64 and IA-32 SDM,
// TDPBSSD): one instruction adds the products of 16 x 64 digits and 64 x 16 codes
// to 16 x 16 sums. A group of codes lies in a panel as a tile wants it, and a digit
// of 16 records is a tile too: nothing is laid out. Digits' sums are exact, so that
// these products have the bits of those in vectors (fixed.go), which take the rows
// and the groups that fill no tile.

// tileRows is how many rows a tile has.
const tileRows = 16

// codePiece is how many groups are computed at a time: 16 rows of their records are to
// stay in the nearest cache while columns go by.
const codePiece = 8

// codeTiles says that products with codes of a type may run in tiles.
func (m Machine) codeTiles(e kernel.Elem) bool { return m.Squares && m.fixes(e) && e == kernel.Q8 }

// codeRoom is what codeProduct needs: the digits' sums of two groups.
func (k quantKey) codeRoom() int64 { return 2 * k.digits * square }

// codeProduct is fixedProduct with tiles: the same parameters, and room of codeRoom
// bytes.
func (m *module) codeProduct(key quantKey) *ir.Func {
	name := fmt.Sprintf("memc.product.%s.%d.%d.tiles", key.elem, key.perPanel*lanes, key.digits)
	if f := m.decls[name]; f != nil {
		return f
	}
	a, pb, dst := ir.NewParam("a", bytePtr), ir.NewParam("b", bytePtr), ir.NewParam("dst", bytePtr)
	aRow, panel, depth, dstRow := ir.NewParam("a.row", i64), ir.NewParam("b.panel", i64), ir.NewParam("k", i64), ir.NewParam("dst.row", i64)
	rows, vecs, acc, next, room := ir.NewParam("rows", i64), ir.NewParam("vecs", i64), ir.NewParam("acc", bit), ir.NewParam("next", bytePtr), ir.NewParam("room", bytePtr)
	f := m.newFunc(name, types.Void, a, aRow, pb, panel, depth, dst, dstRow, rows, vecs, acc, next, room)
	f.private()
	m.decls[name] = f.f
	vectors, group := m.fixedProduct(key), int64(key.elem.Group())
	groups, _ := f.floorDivConst(depth, group, true, false)
	high := f.bin(and, rows, c64(-tileRows))
	high = f.choose(f.icmp(predicate[ints.Lt], c64(0), groups), high, c64(0))
	f.when(f.icmp(predicate[ints.Lt], c64(0), high), func() {
		f.when(f.bin(xor, acc, constant.True), func() { f.clear(dst, dstRow, high, vecs) })
		dot := m.codeDot(key)
		f.count(c64(0), high, tileRows, func(r value.Value) {
			f.count(c64(0), groups, codePiece, func(g value.Value) {
				left, to := f.at(f.at(a, f.mul(r, aRow)), f.mul(g, c64(key.record().bytes()))), f.at(dst, f.mul(r, dstRow))
				right, some := f.at(pb, f.mul(g, c64(key.blockBytes()))), f.smin(f.sub(groups, g), c64(codePiece))
				f.count(c64(0), vecs, 1, func(v value.Value) {
					scales, codes := f.columns(key, right, panel, v)
					f.call(dot, left, aRow, scales, codes, some, f.at(to, f.mul(v, c64(lanes*4))), dstRow, room)
				})
			})
		})
		left := f.sub(depth, f.mul(groups, c64(group)))
		f.when(f.icmp(predicate[ints.Lt], c64(0), left), func() {
			f.call(vectors, f.at(a, f.mul(groups, c64(key.record().bytes()))), aRow, f.at(pb, f.mul(groups, c64(key.blockBytes()))), panel, left, dst, dstRow, high, vecs, constant.True, next)
		})
	})
	f.call(vectors, f.at(a, f.mul(high, aRow)), aRow, pb, panel, depth, f.at(dst, f.mul(high, dstRow)), dstRow, f.sub(rows, high), vecs, acc, next)
	f.ret()
	return f.f
}

// codeDot is the function that adds the product of 16 rows and 16 columns:
//
//	dot(records of a, bytes between its rows, scales and codes of b, groups > 0,
//	    dst, bytes between its rows, room)
//
// While one group's sums are computed, those of the one before are added.
func (m *module) codeDot(key quantKey) *ir.Func {
	name := fmt.Sprintf("memc.tile.%s.%d.%d", key.elem, key.perPanel*lanes, key.digits)
	if f := m.decls[name]; f != nil {
		return f
	}
	pa, aRow, ps, pb := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("scales", bytePtr), ir.NewParam("codes", bytePtr)
	groups, dst, dstRow, room := ir.NewParam("groups", i64), ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64), ir.NewParam("room", bytePtr)
	f := m.newFunc(name, types.Void, pa, aRow, ps, pb, groups, dst, dstRow, room)
	f.private()
	m.decls[name] = f.f
	reg := func(i int) value.Value { return constant.NewInt(i8, int64(i)) }
	step, block := c64(key.record().bytes()), c64(key.blockBytes())
	lies, digits := key.record(), int(key.digits)
	lefts, right := digits, 2*digits // registers; the first are the sums
	multiply := func(a, b, room value.Value) {
		f.intrinsic("llvm.x86.tileloadd64", types.Void, reg(right), b, c64(key.perPanel*wordBytes))
		for d := range digits {
			f.intrinsic("llvm.x86.tilezero", types.Void, reg(d))
			f.intrinsic("llvm.x86.tileloadd64", types.Void, reg(lefts+d), f.at(a, c64(lies.digit(0, int64(d)))), aRow)
			f.intrinsic("llvm.x86.tdpbssd", types.Void, reg(d), reg(lefts+d), reg(right))
		}
		for d := range digits {
			f.intrinsic("llvm.x86.tilestored64", types.Void, reg(d), f.at(room, c64(int64(d)*square)), c64(64))
		}
	}
	rows := make([]value.Value, tileRows)
	for r := range rows {
		rows[r] = f.mul(aRow, c64(int64(r)))
	}
	add := func(a, s, room value.Value, to []value.Value) []value.Value {
		next, scale := make([]value.Value, tileRows), f.widened(f.load(v16, s, c64(0)))
		for r := range next {
			sums := make([]value.Value, digits)
			for d := range sums {
				sums[d] = f.load(v32, room, c64(int64(d)*square+int64(r)*64))
			}
			power := f.splat(f.load(f32, a, f.add(rows[r], c64(lies.word(lies.offsets())))))
			next[r] = f.added(lies, sums, power, scale, to[r])
		}
		return next
	}
	sums := make([]value.Value, tileRows)
	for r := range sums {
		sums[r] = f.load(vf32, dst, f.mul(dstRow, c64(int64(r))))
	}
	multiply(pa, pb, room)
	out := f.loop(c64(1), groups, 1, append([]value.Value{pa, ps, pb, c64(0)}, sums...), func(_ value.Value, c []value.Value) []value.Value {
		a, s, b, half := c[0], c[1], c[2], c[3]
		other := f.bin(xor, half, c64(1))
		at := func(half value.Value) value.Value { return f.at(room, f.mul(half, c64(key.codeRoom()/2))) }
		a2, b2 := f.at(a, step), f.at(b, block)
		multiply(a2, b2, at(other))
		return append([]value.Value{a2, f.at(s, block), b2, other}, add(a, s, at(half), c[4:])...)
	})
	last := f.at(room, f.mul(out[3], c64(key.codeRoom()/2)))
	for r, v := range add(out[0], out[1], last, slices.Clone(out[4:])) {
		f.store(v, dst, f.mul(dstRow, c64(int64(r))))
	}
	f.ret()
	return f.f
}
