package amd64

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Products of bf16 operands by VDPBF16PS (AVX512-BF16; Intel 64 and IA-32 SDM), which
// adds two products to each of 16 sums: those of the elements at an odd k and, to what
// this gives, those at the even k before. It takes words, each of a pair of adjacent k:
// the even one's bf16 number in the lower half. A last k without a neighbour has 0 there.
//
// The loops are those of product.go, with register tiles that go by pairs. The left
// operand is copied in words, once for all columns. The right one is read as it lies in
// a buffer with pairs; of any other the first register tile of rows leaves words to the
// others. Denormal numbers and denormal sums are taken as 0.

// words stands for words of pairs where a register tile's right operand has a type.
const words = kernel.I32

// inWords is the parts of a copyKey that names a copy in words.
const inWords = -1

// paired says that a product runs in pairs. Its rows' order of sums then is that of
// pairs, which the statement must allow.
func (m Machine) paired(s *kernel.Dot) bool {
	return m.Pairs != "" && s.Operands == kernel.BF16 && !m.squared(s) && (s.Group >= depthOf(s) || s.Group > 0 && s.Group%2 == 0)
}

// pairedLeft gives a left operand in words, copying it where that is not up to date.
func (b *block) pairedLeft(t *kernel.Tile, trans bool) left {
	p := b.place(t)
	m, k, rows, depth := int64(t.Rows), int64(t.Cols), b.rows(t), b.cols(t)
	if trans {
		m, k, rows, depth = k, m, depth, rows
		p.row, p.col = p.col, p.row
	}
	if p.elem != kernel.F32 || p.panel != nil {
		b.fail("left operand %s is not f32 rows", t.Name)
		return left{b.scratch, 4, 4}
	}
	key := copyKey{tile: t, trans: trans, parts: inWords}
	made, done := b.copies[key]
	if p.col == 4 { // rows of k
		row := rowBytes(k, 2)
		if done {
			return left{made.ptr, row, 4}
		}
		out := b.near(m*row, b.rest)
		b.copies[key] = copied{out, constant.True}
		b.count(c64(0), rows, 1, func(r value.Value) {
			from, to := b.at(p.ptr, b.mul(r, c64(p.row))), b.at(out, b.mul(r, c64(row)))
			b.count(c64(0), depth, lanes, func(c value.Value) {
				x := b.choose(b.mask(c, depth), b.load(vf32, from, b.mul(c, c64(4))), vnum(0))
				b.store(b.toBF16(x), to, b.mul(c, c64(2)))
			})
		})
		return left{out, row, 4}
	}
	row := rowBytes(m, 4)
	if done {
		return left{made.ptr, 4, row}
	}
	out := b.near((k+1)/2*row, b.rest)
	b.copies[key] = copied{out, constant.True}
	b.count(c64(0), depth, 2, func(k value.Value) {
		from, to := b.at(p.ptr, b.mul(k, c64(p.col))), b.at(out, b.mul(b.bin(lshr, k, c64(1)), c64(row)))
		both := b.icmp(predicate[ints.Lt], b.add(k, c64(1)), depth)
		second := b.choose(both, c64(p.col), c64(0))
		b.count(c64(0), rows, lanes, func(m value.Value) {
			at := b.mul(m, c64(4))
			x, y := b.load(vf32, from, at), b.load(vf32, b.at(from, second), at)
			b.store(b.wordsOf(x, b.choose(both, y, vnum(0))), to, at)
		})
	})
	return left{out, 4, row}
}

// addPairs adds to each sum the products of one pair.
func (f *fn) addPairs(sum, a, b value.Value) value.Value {
	return f.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", vf32, sum, a, b)
}

// wordsOf gives words of two rows' elements, rounded to bf16.
func (f *fn) wordsOf(even, odd value.Value) value.Value {
	both := f.intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", v512, odd, even)
	return f.as(f.shuffle(both, both, func(i int) int { return i/2 + i%2*lanes }), v32)
}

// pairedRows reads two rows of B, of which the second may be missing, as words, and asks
// for what comes so many bytes later.
func (f *fn) pairedRows(key microKey, b, step value.Value, spans []value.Value, fetch value.Value, alone bool) []value.Value {
	out, size := make([]value.Value, key.Vecs), int64(key.elem.Size())
	for v := 0; v < key.Vecs; v++ {
		in := int64(v%2) * lanes * size
		even := f.at(f.at(b, spans[v/2]), c64(in))
		odd := f.at(even, step)
		if in%64 == 0 {
			f.prefetch(even, fetch)
			if !alone {
				f.prefetch(odd, fetch)
			}
		}
		read := func(t *types.VectorType) (x, y value.Value) {
			x = f.load(t, even, c64(0))
			if alone {
				return x, &literal{t, "zeroinitializer"}
			}
			return x, f.load(t, odd, c64(0))
		}
		switch {
		case key.elem == kernel.BF16 && v%2 == 0 && v+1 < key.Vecs: // both vectors of a pair
			x, y := read(v512)
			for half := range 2 {
				out[v+half] = f.as(f.shuffle(x, y, func(i int) int { return i/2 + i%2*2*lanes + half*lanes }), v32)
			}
			v++
		case key.elem == kernel.BF16:
			x, y := read(v16)
			out[v] = f.bin(or, f.convert(zext, x, i32), f.bin(shl, f.convert(zext, y, i32), vint(v32, 16)))
		default:
			x, y := read(vectorOf(key.elem))
			out[v] = f.wordsOf(f.widened(x), f.widened(y))
		}
	}
	return out
}

// byPairs runs body for each whole pair of depth > 0 steps, and for a last step alone,
// with pointers that take a step each time.
func (f *fn) byPairs(depth value.Value, heads, steps, carry []value.Value, body func(heads, carry []value.Value, alone bool) []value.Value) []value.Value {
	all, n := append(append([]value.Value{}, heads...), carry...), len(heads)
	for _, part := range []struct {
		turns value.Value
		alone bool
	}{{f.bin(lshr, depth, c64(1)), false}, {f.bin(and, depth, c64(1)), true}} {
		all = f.loop(c64(0), part.turns, 1, all, func(_ value.Value, c []value.Value) (next []value.Value) {
			for i, p := range c[:n] {
				next = append(next, f.at(p, steps[i]))
			}
			return append(next, body(c[:n], c[n:], part.alone)...)
		})
	}
	return all[n:]
}
