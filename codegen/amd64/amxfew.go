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

// Up to 16 rows are one tile high. What they cost is laying out the right operand,
// which nothing else shares: four tiles of 16 columns take their sums through all
// of k, and 32 k of one of them are laid out while the tile before is multiplied.
// Tiles have as many rows as the operand, so that nothing else is read or written,
// and a product of 8 rows takes half the time of one of 16.

// fewRows is the most rows that are computed so.
const fewRows = 16

// fewWide is how many tiles of 16 columns are computed at once.
const fewWide = 4

// fewProduct is the function that computes a product of up to 16 rows, for which
// the tiles are shaped:
//
//	few(left squares, bytes of such a square, right, bytes between its rows of k,
//	    bytes between its panels, k, dst, bytes between its rows, vectors of
//	    columns, add to dst, bytes from what is read of right to what is fetched,
//	    room)
//
// room has pairing.fewRoom bytes.
func (m *module) fewProduct(key squareKey) *ir.Func {
	if f := m.squareFews[key]; f != nil {
		return f
	}
	a, size, b := ir.NewParam("a", bytePtr), ir.NewParam("a.square", i64), ir.NewParam("b", bytePtr)
	bStep, bPanel, depth := ir.NewParam("b.step", i64), ir.NewParam("b.panel", i64), ir.NewParam("k", i64)
	dst, dstRow, vecs, acc := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64), ir.NewParam("vecs", i64), ir.NewParam("acc", bit)
	fetch, room := ir.NewParam("fetch", i64), ir.NewParam("room", bytePtr)
	name := fmt.Sprintf("memc.few.%dx%d.%s.%d", key.left, key.right, key.elem, key.perPanel*lanes)
	if key.ready {
		name = fmt.Sprintf("memc.few.%dx%d", key.left, key.right)
	}
	f := m.newFunc(name, types.Void, a, size, b, bStep, bPanel, depth, dst, dstRow, vecs, acc, fetch, room)
	f.private()
	m.squareFews[key] = f.f
	p := product{fn: f, key: productKey{key.elem, key.perPanel}, b: b, bPanel: bPanel}
	l := laying{f, key.elem, key.right, square, bStep, fetch}
	whole := f.bin(and, depth, c64(-deep))
	reg := func(i int) value.Value { return constant.NewInt(i8, int64(i)) }
	const leftReg, rightReg = 4, 7 // the first are the sums

	strip := func(v value.Value, wide int) {
		var from []value.Value
		for w := range wide {
			switch {
			case key.ready: // two tiles lie side by side
				at := f.mul(f.bin(lshr, f.add(v, c64(int64(w))), c64(1)), f.mul(f.groups(depth), c64(int64(key.right)*2*square)))
				from = append(from, f.at(f.at(b, at), c64(int64(w%2)*square)))
			case w%2 == 1 && key.perPanel%2 == 0: // beside the one before
				from = append(from, f.at(from[w-1], c64(lanes*int64(key.elem.Size()))))
			default:
				from = append(from, p.column(f.add(v, c64(int64(w)))))
			}
		}
		out := f.at(dst, f.mul(v, c64(lanes*4)))
		sums := func(name string) {
			for w := range wide {
				f.intrinsic(name, types.Void, reg(w), f.at(out, c64(int64(w)*lanes*4)), dstRow)
			}
		}
		f.when(acc, func() { sums("llvm.x86.tileloadd64") })
		f.when(f.bin(xor, acc, constant.True), func() {
			for w := range wide {
				f.intrinsic("llvm.x86.tilezero", types.Void, reg(w))
			}
		})
		lefts := func(k value.Value) {
			at := f.at(a, f.mul(f.mul(f.bin(lshr, k, c64(5)), c64(int64(key.left))), size))
			for i := range key.left {
				f.intrinsic("llvm.x86.tileloadd64", types.Void, reg(leftReg+i), f.at(at, f.mul(size, c64(int64(i)))), c64(64))
			}
		}
		// multiply adds the products with tile w, whose parts lie so far apart.
		multiply := func(w int, at value.Value, apart int64) {
			have := -1
			for _, ij := range key.pairs() {
				if ij[1] != have {
					f.intrinsic("llvm.x86.tileloadd64", types.Void, reg(rightReg), f.at(at, c64(int64(ij[1])*apart)), c64(64))
					have = ij[1]
				}
				f.intrinsic("llvm.x86.tdpbf16ps", types.Void, reg(w), reg(leftReg+ij[0]), reg(rightReg))
			}
		}
		if key.ready {
			f.count(c64(0), depth, deep, func(k value.Value) {
				lefts(k)
				for w := range wide {
					multiply(w, f.at(from[w], f.mul(k, c64(int64(key.right)*2*square/deep))), 2*square)
				}
			})
			sums("llvm.x86.tilestored64")
			return
		}
		// Tiles that are laid out together: two share lines of bf16.
		var units [][]int
		for w := 0; w < wide; w++ {
			if key.elem == kernel.BF16 && key.perPanel%2 == 0 && w+1 < wide {
				units = append(units, []int{w, w + 1})
				w++
				continue
			}
			units = append(units, []int{w})
		}
		to := func(w int) value.Value { return f.at(room, c64(int64(w)*int64(key.right)*square)) }
		unit := func(u []int) {
			for _, w := range u {
				multiply(w, to(w), square)
			}
		}
		step := func(k value.Value, there func(lay func(i value.Value, there int))) {
			before := func() {
				f.when(f.icmp(predicate[ints.Lt], c64(0), k), func() { unit(units[len(units)-1]) })
			}
			if len(units) == 1 {
				before()
			}
			for i, u := range units {
				there(func(i value.Value, there int) {
					for j := 0; j < len(u); j++ {
						w := u[j]
						row := f.at(from[w], f.mul(f.add(k, i), bStep))
						at := f.at(to(w), f.mul(i, c64(64)))
						if len(u) == 2 {
							l.two(row, at, there)
							break
						}
						l.one(row, at, there)
					}
				})
				if i > 0 {
					unit(units[i-1])
					continue
				}
				if len(units) > 1 {
					before()
				}
				lefts(k)
			}
		}
		f.count(c64(0), whole, deep, func(k value.Value) {
			step(k, func(lay func(i value.Value, there int)) {
				f.count(c64(0), c64(lanes), fewTurn, func(i value.Value) {
					for j := range int64(fewTurn) {
						lay(f.add(i, c64(j)), 2)
					}
				})
			})
		})
		f.when(f.icmp(predicate[ints.Lt], whole, depth), func() {
			step(whole, func(lay func(i value.Value, there int)) { f.lastRows(f.sub(depth, whole), lay) })
		})
		f.when(f.icmp(predicate[ints.Lt], c64(0), depth), func() { unit(units[len(units)-1]) })
		sums("llvm.x86.tilestored64")
	}
	var done value.Value = c64(0)
	for wide := fewWide; wide > 0; wide /= 2 {
		end := f.add(done, f.bin(and, f.sub(vecs, done), c64(-int64(wide))))
		f.count(done, end, int64(wide), func(v value.Value) { strip(v, wide) })
		done = end
	}
	f.ret()
	return f.f
}

// fewTurn is how many pairs of rows a turn of the loop lays out.
const fewTurn = 4

// fewRoom is the bytes that fewProduct needs.
func (p pairing) fewRoom() int64 { return fewWide * int64(p.right) * square }
