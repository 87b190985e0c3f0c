package amd64

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/kernel"
)

// A product runs in register tiles: Rows x Vecs accumulators, for every k one
// broadcast of each row's element of A times Vecs vectors of B's row k. Every
// element is one chain of fused multiply-adds over k in ascending order.

// microKey names a register tile and the type of B in memory.
type microKey struct {
	Shape
	elem  kernel.Elem
	leave bool // what was read of B is left behind, as f32 or in words
	pairs bool // goes by pairs of k (pairs.go)
}

// micro is the function that computes one register tile:
//
//	micro(a, bytes between its rows, bytes between its columns,
//	      b, bytes between its rows, k > 0, dst, bytes between its rows,
//	      bytes between pairs of vectors of b, add to dst, what dst's rows are
//	      multiplied by first or null, bytes from what is read of b to what is
//	      fetched, and, if it is left behind, where to, in rows of wideRow bytes)
//
// No stride is a constant, so that one function serves every product.
func (m *module) micro(key microKey) *ir.Func {
	if f := m.micros[key]; f != nil {
		return f
	}
	pa, aRow, aStep := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("a.step", i64)
	pb, bStep, depth := ir.NewParam("b", bytePtr), ir.NewParam("b.step", i64), ir.NewParam("k", i64)
	dst, dstRow := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64)
	span, acc, keep, fetch := ir.NewParam("b.span", i64), ir.NewParam("acc", bit), ir.NewParam("keep", bytePtr), ir.NewParam("fetch", i64)
	name, params := fmt.Sprintf("memc.dot%dx%d.%s", key.Rows, key.Vecs*lanes, key.elem), []*ir.Param{pa, aRow, aStep, pb, bStep, depth, dst, dstRow, span, acc, keep, fetch}
	wide := ir.NewParam("wide", bytePtr)
	if key.pairs {
		name += ".pairs"
	}
	if key.leave {
		name, params = name+".wide", append(params, wide)
	}
	f := m.newFunc(name, types.Void, params...)
	f.private()
	m.micros[key] = f.f
	rows, vecs := key.Rows, key.Vecs

	// The accumulators begin as 0, or as the result's elements, scaled or not.
	zero := &literal{vf32, "zeroinitializer"}
	pre, load, scaled, start := f.cur, f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	pre.Term = ir.NewCondBr(acc, load, start)
	f.cur = load
	old, begin := make([]value.Value, rows*vecs), make([]value.Value, rows*vecs)
	for r := range rows {
		row := f.at(dst, f.mul(dstRow, c64(int64(r))))
		for v := range vecs {
			old[r*vecs+v] = f.load(vf32, row, c64(int64(v)*lanes*4))
		}
	}
	load.Term = ir.NewCondBr(f.none(keep), start, scaled)
	f.cur = scaled
	for r := range rows {
		x := f.splat(f.load(f32, keep, c64(int64(r)*4)))
		for v := range vecs {
			i := r*vecs + v
			begin[i] = ir.NewPhi(ir.NewIncoming(zero, pre), ir.NewIncoming(old[i], load), ir.NewIncoming(f.bin(fmul, old[i], x), scaled))
		}
	}
	scaled.Term = ir.NewBr(start)
	f.cur = start
	for _, p := range begin {
		f.emit(p.(*ir.InstPhi))
	}

	// A pointer serves four rows: at 0, 1, 2 and 3 strides from it.
	strides := [4]value.Value{c64(0), aRow, f.mul(aRow, c64(2)), f.mul(aRow, c64(3))}
	heads := []value.Value{pb}
	steps := []value.Value{bStep}
	for r := 0; r < rows; r += 4 {
		heads = append(heads, f.at(pa, f.mul(aRow, c64(int64(r)))))
		steps = append(steps, aStep)
	}
	if key.leave {
		heads, steps = append(heads, wide), append(steps, c64(wideRow))
	}
	spans := []value.Value{c64(0)}
	for v := 2; v < vecs; v += 2 {
		spans = append(spans, f.mul(span, c64(int64(v/2))))
	}
	// turn adds what a row of B gives, or a pair of rows, of which the second may be missing.
	turn := func(p, acc []value.Value, alone bool) []value.Value {
		var b []value.Value
		if key.pairs && key.elem != words {
			b = f.pairedRows(key, p[0], bStep, spans, fetch, alone)
		} else {
			b = f.row(key, p[0], spans, fetch)
		}
		if key.leave {
			for v := range b {
				f.store(b[v], p[len(p)-1], c64(int64(v)*lanes*4))
			}
		}
		next := make([]value.Value, rows*vecs)
		for r := range rows {
			if key.pairs {
				x := f.splat(f.load(i32, p[1+r/4], strides[r%4]))
				for v := range vecs {
					next[r*vecs+v] = f.addPairs(acc[r*vecs+v], b[v], x)
				}
				continue
			}
			x := f.splat(f.load(f32, p[1+r/4], strides[r%4]))
			for v := range vecs {
				next[r*vecs+v] = f.fma(x, b[v], acc[r*vecs+v])
			}
		}
		return next
	}
	var out []value.Value
	switch {
	case key.exactWords():
		for i := 1; i < len(steps); i++ {
			steps[i] = f.mul(steps[i], c64(2))
		}
		out = f.byPairs(depth, heads, steps, begin, func(p, acc []value.Value, alone bool) []value.Value {
			return f.wordTurn(key, p, acc, strides, spans, aStep, fetch, alone)
		})
	case key.pairs && key.elem != words:
		steps[0] = f.mul(bStep, c64(2))
		out = f.byPairs(depth, heads, steps, begin, turn)
	default:
		turns := value.Value(depth)
		if key.pairs {
			turns = f.bin(lshr, f.add(depth, c64(1)), c64(1))
		}
		out = f.advance(turns, heads, steps, begin, func(p, acc []value.Value) []value.Value { return turn(p, acc, false) })
	}
	for r := range rows {
		row := f.at(dst, f.mul(dstRow, c64(int64(r))))
		for v := range vecs {
			f.store(out[r*vecs+v], row, c64(int64(v)*lanes*4))
		}
	}
	f.ret()
	return f.f
}

// row reads a row of B, widened, and asks for what comes so many bytes later.
func (f *fn) row(key microKey, b value.Value, spans []value.Value, fetch value.Value) []value.Value {
	out, size := make([]value.Value, key.Vecs), int64(key.elem.Size())
	for v := range out {
		at, in := f.at(b, spans[v/2]), int64(v%2)*lanes*size
		if in%64 == 0 {
			f.prefetch(f.at(at, c64(in)), fetch)
		}
		out[v] = f.widened(f.load(vectorOf(key.elem), at, c64(in)))
	}
	return out
}
