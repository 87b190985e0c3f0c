package amd64

import (
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/kernel"
)

// Copies of a product's operands, rounded to bf16, for products of bf16 operands
// that run in vectors: they have the multiply-adds of f32, and its registers.

// roundLeft copies an operand of up to m x k elements.
func (b *block) roundLeft(a left, m, k int64, rows, depth value.Value) left {
	along := &a.step // the direction in which elements are adjacent
	if a.step != 4 {
		along, m, k, rows, depth = &a.row, k, m, depth, rows
	}
	across := a.row + a.step - *along
	if m == 1 {
		across = 0
	}
	row := rowBytes(k, 4)
	out := b.near(m*row, span{b.pos, b.pos})
	b.count(c64(0), rows, 1, func(r value.Value) {
		from, to := b.at(a.ptr, b.mul(r, c64(across))), b.at(out, b.mul(r, c64(row)))
		b.count(c64(0), depth, lanes, func(c value.Value) {
			b.store(b.float(b.bitsOf(b.load(vf32, from, b.mul(c, c64(4))), 1)[0]), to, b.mul(c, c64(4)))
		})
	})
	if along == &a.step {
		return left{out, row, 4}
	}
	return left{out, 4, row}
}

// roundRight copies an operand of up to k x n elements.
func (b *block) roundRight(r right, k, n int64, depth, vecs value.Value) right {
	row := rowBytes(n, 4)
	out := b.near(k*row, span{b.pos, b.pos})
	p := product{fn: b.fn, key: productKey{elem: r.elem, perPanel: r.perPanel}, b: r.ptr, bPanel: c64(r.panel)}
	b.count(c64(0), vecs, 1, func(v value.Value) {
		from, to := p.column(v), b.at(out, b.mul(v, c64(lanes*4)))
		b.count(c64(0), depth, 1, func(k value.Value) {
			x := b.widened(b.load(vectorOf(r.elem), from, b.mul(k, c64(r.step))))
			b.store(b.float(b.bitsOf(x, 1)[0]), to, b.mul(k, c64(row)))
		})
	})
	return rows(out, kernel.F32, row)
}
