package amd64

import (
	"fmt"
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/kernel"
)

// A row alone fills a sixteenth of a matrix tile, and laying out weights for it
// costs more than reading them from memory. So, unless a loop tells what to fetch
// for its next turn, it is computed in vectors, operation by
// operation as TDPBF16PS is defined: in each group of 32 k, for each pair of parts,
// one chain of fused multiply-adds over the first 16 and one over the others, from
// 0, whose sum is added to the result; denormal numbers count as 0. The bits are
// the same.

// squareRow is the function that computes a product of one row:
//
//	row(a, b, bytes between its rows of k, bytes between its panels, k > 0,
//	    dst, vectors of columns, add to dst, bytes from what is read of b to
//	    what is fetched, room)
//
// room has pairing.rowRoom bytes. It is called with flushed set.
func (m *module) squareRow(key squareKey) *ir.Func {
	if f := m.squareRows[key]; f != nil {
		return f
	}
	a, b, bStep, bPanel := ir.NewParam("a", bytePtr), ir.NewParam("b", bytePtr), ir.NewParam("b.step", i64), ir.NewParam("b.panel", i64)
	depth, dst, vecs, acc := ir.NewParam("k", i64), ir.NewParam("dst", bytePtr), ir.NewParam("vecs", i64), ir.NewParam("acc", bit)
	fetch, room := ir.NewParam("fetch", i64), ir.NewParam("room", bytePtr)
	f := m.newFunc(fmt.Sprintf("memc.row.%dx%d.%s.%d", key.left, key.right, key.elem, key.perPanel*lanes), types.Void,
		a, b, bStep, bPanel, depth, dst, vecs, acc, fetch, room)
	f.private()
	m.squareRows[key] = f.f
	pairs := key.pairs()

	// The row's parts, as f32.
	length := f.bin(and, f.add(depth, c64(lanes-1)), c64(-lanes))
	parts := make([]value.Value, key.left)
	for i := range parts {
		parts[i] = f.at(room, f.mul(length, c64(int64(i)*4)))
	}
	f.count(c64(0), depth, lanes, func(k value.Value) {
		for i, y := range f.floatParts(f.first(a, k, depth), key.left) {
			f.store(y, parts[i], f.mul(k, c64(4)))
		}
	})

	p := product{fn: f, key: productKey{elem: key.elem, perPanel: key.perPanel}, b: b, bPanel: bPanel}
	// columns computes so many vectors from one on.
	columns := func(v value.Value, wide int) {
		var from []value.Value
		for w := range wide {
			if w%2 == 1 && key.perPanel%2 == 0 { // beside the one before
				from = append(from, f.at(from[w-1], c64(lanes*int64(key.elem.Size()))))
				continue
			}
			from = append(from, p.column(f.add(v, c64(int64(w)))))
		}
		out := f.at(dst, f.mul(v, c64(lanes*4)))
		// A word holds two columns of bf16: two instructions make f32 of 32 columns,
		// the even ones and the odd ones, which the sums keep apart until the end.
		mixed := key.elem == kernel.BF16 && wide%2 == 0 && key.perPanel%2 == 0
		// half adds up the products of so many ks: a chain for each vector and pair.
		half := func(k, n value.Value) []value.Value {
			chains := make([]value.Value, len(pairs)*wide)
			for i := range chains {
				chains[i] = vnum(0)
			}
			return f.loop(c64(0), n, 1, chains, func(j value.Value, chains []value.Value) (next []value.Value) {
				k := f.add(k, j)
				var x []value.Value
				for i := range parts {
					x = append(x, f.splat(f.load(f32, parts[i], f.mul(k, c64(4)))))
				}
				var y []value.Value // of the vector, and of the next one where they lie mixed
				for w := range wide {
					switch row := f.at(from[w], f.mul(k, bStep)); {
					case mixed && w%2 == 1:
						y = y[1:]
					case mixed:
						f.prefetch(row, fetch)
						x := f.load(v32, row, c64(0))
						y = []value.Value{f.float(f.bin(shl, x, vint(v32, 16))), f.float(f.bin(and, x, vint(v32, -1<<16)))}
					default:
						f.prefetch(row, fetch)
						y = f.floatsOf(f.load(vectorOf(key.elem), row, c64(0)), key.right)
					}
					for n, ij := range pairs {
						next = append(next, f.fma(x[ij[0]], y[ij[1]], chains[w*len(pairs)+n]))
					}
				}
				return next
			})
		}
		group := func(k, first, second value.Value, sums []value.Value) []value.Value {
			a, b := half(k, first), half(f.add(k, c64(lanes)), second)
			next := slices.Clone(sums)
			for i := range a {
				next[i/len(pairs)] = f.bin(fadd, next[i/len(pairs)], f.bin(fadd, a[i], b[i]))
			}
			return next
		}
		sums := make([]value.Value, wide)
		for w := range sums {
			sums[w] = f.merge(acc, func() value.Value { return f.load(vf32, out, c64(int64(w)*lanes*4)) }, vnum(0))
		}
		if mixed {
			for w := 0; w < wide; w += 2 {
				a, b := sums[w], sums[w+1]
				sums[w], sums[w+1] = f.shuffle(a, b, func(i int) int { return 2 * i }), f.shuffle(a, b, func(i int) int { return 2*i + 1 })
			}
		}
		whole := f.bin(and, depth, c64(-deep))
		sums = f.loop(c64(0), whole, deep, sums, func(k value.Value, sums []value.Value) []value.Value {
			return group(k, c64(lanes), c64(lanes), sums)
		})
		// What is behind the last whole group: a loop of one turn, or none.
		rest := f.sub(depth, whole)
		sums = f.loop(whole, depth, deep, sums, func(k value.Value, sums []value.Value) []value.Value {
			return group(k, f.smin(rest, c64(lanes)), f.smax(f.sub(rest, c64(lanes)), c64(0)), sums)
		})
		if mixed {
			for w := 0; w < wide; w += 2 {
				a, b := sums[w], sums[w+1]
				weave := func(i int) int { return i/2 + i%2*lanes }
				sums[w], sums[w+1] = f.shuffle(a, b, weave), f.shuffle(a, b, func(i int) int { return lanes/2 + weave(i) })
			}
		}
		for w, s := range sums {
			f.store(s, out, c64(int64(w)*lanes*4))
		}
	}
	// Several panels at a time: memory gives more to several readers in turn.
	var done value.Value = c64(0)
	for _, wide := range []int{min(8, 24/len(pairs)), 2, 1} {
		end := f.add(done, f.bin(and, f.sub(vecs, done), c64(-int64(wide))))
		f.count(done, end, int64(wide), func(v value.Value) { columns(v, wide) })
		done = end
	}
	f.ret()
	return f.f
}

// floatsOf gives the parts of 16 elements of a right operand as f32.
func (f *fn) floatsOf(x value.Value, parts int) []value.Value {
	if elemOf(x.Type()).Equal(i16) {
		return []value.Value{f.widened(x)}
	}
	return f.floatParts(f.widened(x), parts)
}

// floatParts gives so many parts of f32 as f32: what is left over for the last of
// several is bf16 as it is.
func (f *fn) floatParts(x value.Value, parts int) (ys []value.Value) {
	for i, w := range f.bitsOf(x, parts) {
		if i == 0 || i < parts-1 {
			w = f.bin(and, w, vint(v32, -1<<16))
		}
		ys = append(ys, f.float(w))
	}
	return ys
}

// rowRoom is the bytes that squareRow needs for so many k.
func (p pairing) rowRoom(k int64) int64 { return padded(k) * 4 * int64(p.left) }

// flushed runs body with denormal operands and results taken as 0 (SDM, MXCSR:
// FTZ and DAZ), as matrix tiles take them.
func (b *block) flushed(body func()) {
	was := b.near(8, span{b.pos, b.pos})
	now := b.at(was, c64(4))
	b.intrinsic("llvm.x86.sse.stmxcsr", types.Void, was)
	b.store(b.bin(or, b.load(i32, was, c64(0)), c32(0x8040)), now, c64(0))
	b.intrinsic("llvm.x86.sse.ldmxcsr", types.Void, now)
	body()
	b.intrinsic("llvm.x86.sse.ldmxcsr", types.Void, was)
}
