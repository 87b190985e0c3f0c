package amd64

import (
	"github.com/llir/llvm/ir/value"
)

// A bf16 operand in words of pairs (pairs.go) also serves exact products: the two numbers of
// a word are an f32 number each, the even k's after a shift and the odd k's under a mask,
// where numbers by themselves have to be spread out first. Sums take ks in the same order.

// exactWords says that a register tile's right operand is in words, and its products exact.
func (k microKey) exactWords() bool { return k.elem == words && !k.pairs }

// tight is how many sums leave a register tile no room for both halves of words: it reads
// them twice, and has two vectors at most.
const tight = 24

// held is how many rows' elements have room in registers beside a tile's sums.
const held = 2

// wordTurn adds the products of two ks, or of the even one alone. p points at B's row of
// words, at every fourth row of A and, where B is left behind, at where to.
func (f *fn) wordTurn(key microKey, p, acc []value.Value, strides [4]value.Value, spans []value.Value, aStep, fetch value.Value, alone bool) []value.Value {
	next := append([]value.Value{}, acc...)
	halves := 2
	if alone {
		halves = 1
	}
	a := func(r, half int) value.Value {
		at := p[1+r/4]
		if half > 0 {
			at = f.at(at, aStep)
		}
		return f.splat(f.load(f32, at, strides[r%4]))
	}
	b := func(v, half int) value.Value {
		w := f.loadOf(v32, f.at(p[0], spans[v/2]), c64(int64(v%2)*lanes*4), half > 0 && key.Rows*key.Vecs >= tight)
		return f.halfOf(w, half)
	}
	for v := range key.Vecs {
		f.prefetch(f.at(f.at(p[0], spans[v/2]), c64(int64(v%2)*lanes*4)), fetch)
	}
	if key.Rows <= held && !key.leave {
		var x [held][2]value.Value
		for r := range key.Rows {
			for half := range halves {
				x[r][half] = a(r, half)
			}
		}
		for v := range key.Vecs {
			for half := range halves {
				y := b(v, half)
				for r := range key.Rows {
					next[r*key.Vecs+v] = f.fma(x[r][half], y, next[r*key.Vecs+v])
				}
			}
		}
		return next
	}
	for half := range halves {
		y := make([]value.Value, key.Vecs)
		for v := range y {
			y[v] = b(v, half)
			if key.leave {
				f.store(y[v], p[len(p)-1], c64(int64(half)*wideRow+int64(v)*lanes*4))
			}
		}
		for r := range key.Rows {
			x := a(r, half)
			for v := range y {
				next[r*key.Vecs+v] = f.fma(x, y[v], next[r*key.Vecs+v])
			}
		}
	}
	return next
}

// halfOf is the numbers at the even ks of words, or at the odd ones.
func (f *fn) halfOf(w value.Value, half int) value.Value {
	if half == 0 {
		return f.float(f.bin(shl, w, vint(v32, 16)))
	}
	return f.float(f.bin(and, w, vint(v32, -1<<16)))
}
