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

// Left operands that are codes of Q8 themselves, rows of a buffer. Their products with
// codes are summed exactly, as in fixed.go, but of one digit, which is the code; the
// sum of a group is added times both scales.

// codesView is view for rows of codes that products read as left operands, and no
// other statement does: from a group's start on, along k.
func (b *block) codesView(l *kernel.Load) bool {
	last := len(l.Buf.Dims) - 1
	if l.Buf.Elem != kernel.Q8 || !b.machine.fixes(l.Buf.Elem) || last < 0 || len(l.Idx) != last+1 {
		return false
	}
	for _, r := range b.uses[l.Dst].reads {
		if r.role != asLeft {
			return false
		}
	}
	from := slices.Clone(l.Idx)
	col, k0, ok := l.Idx[last].Coeff(kernel.Col)
	if !ok || col != 1 || k0.Has(kernel.Row) || b.multiple(k0)%int64(l.Buf.Elem.Group()) != 0 {
		return false
	}
	from[last] = k0
	var row int64
	if last > 0 {
		if row, from[last-1], ok = l.Idx[last-1].Coeff(kernel.Row); !ok {
			return false
		}
	}
	for _, e := range from[:last] {
		if e.Has(kernel.Row) || e.Has(kernel.Col) {
			return false
		}
	}
	c, ok := b.codes(l.Buf, from)
	if !ok {
		return false
	}
	b.places[l.Dst] = place{ptr: b.at(b.bufs[l.Buf], b.int(c.scale)), elem: l.Buf.Elem, row: row * l.Buf.Elem.RowBytes(int64(l.Buf.Dims[last]))}
	return true
}

// wide runs body with a left operand of codes as f32, where what it multiplies is none.
func (b *block) wide(t *kernel.Tile, body func()) {
	view := b.places[t]
	delete(b.places, t)
	row := rowBytes(int64(t.Cols), 4)
	b.places[t] = place{ptr: b.near(padded(int64(t.Rows))*row, span{b.pos, b.pos}), elem: kernel.F32, row: row, col: 4}
	b.loadQuantised(b.views[t])
	body()
	b.places[t] = view
}

// fixCodes is fixRow for rows of codes, with the same parameters; records are those for
// products with codes of a type.
func (m *module) fixCodes(e kernel.Elem) *ir.Func {
	name := "memc.fix." + e.String() + ".codes"
	if f := m.decls[name]; f != nil {
		return f
	}
	a, step, depth, line, to := ir.NewParam("a", bytePtr), ir.NewParam("a.step", i64), ir.NewParam("k", i64), ir.NewParam("room", bytePtr), ir.NewParam("to", bytePtr)
	f := m.newFunc(name, types.Void, a, step, depth, line, to)
	f.private()
	m.decls[name] = f.f
	from, lies := kernel.Q8, record{e, 1}
	group, part := int64(from.Group()), int64(e.Group())
	f.count(c64(0), depth, group, func(k value.Value) {
		n := f.smin(f.sub(depth, k), c64(group))
		g := f.bin(udiv, k, c64(group))
		block := f.at(a, f.mul(g, c64(from.BlockBytes())))
		scale := f.widened(f.load(i16, block, c64(0)))
		codes := f.at(block, c64(2))
		whole := f.icmp(predicate[ints.Eq], n, c64(group))
		f.when(f.bin(xor, whole, constant.True), func() {
			f.store(vint(v32, 0), line, c64(0))
			f.count(c64(0), n, 1, func(i value.Value) { f.store(f.load(i8, codes, i), line, i) })
		})
		codes = f.choose(whole, codes, line)
		bytes, words := types.NewVector(uint64(part), i8), types.NewVector(uint64(part/4), i32)
		for i := range group / part {
			f.when(f.icmp(predicate[ints.Lt], c64(i*part), n), func() {
				digits := f.load(bytes, codes, c64(i*part))
				if e == kernel.Q4 {
					digits = f.shuffle(digits, digits, func(l int) int { return l/8*8 + l%4*2 + l/4%2 })
				}
				// Four codes to a lane are summed as products with 1.
				sum := f.intrinsic(fmt.Sprintf("llvm.x86.avx512.vpdpbusd.%d", 8*part), words, vint(words, 0), vint(words, 0x01010101), f.as(digits, words))
				for d := 1; int64(d) < part/4; d *= 2 {
					sum = f.add(sum, f.shuffle(sum, sum, func(l int) int { return l ^ d }))
				}
				at := f.at(to, f.add(f.mul(g, c64(group/part*lies.bytes())), c64(i*lies.bytes())))
				f.store(digits, at, c64(0))
				f.store(f.mul(f.lane(sum, 0), c32(-fixedBias(e))), at, c64(lies.word(0)))
				f.store(scale, at, c64(lies.word(1)))
			})
		}
	})
	f.ret()
	return f.f
}
