package amd64

import (
	"fmt"
	"math"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Products with codes in whole numbers. The elements of the left operand
// that meet one group of codes are brought to one power of two: whole numbers of
// 24 bits, of which those of the largest elements are exact. Their products with
// the codes are summed exactly, in 32 bits for each digit; the digits' sums become
// one f32 (joined), which is added times the power and the group's scale, as
// quant.go does with its sums.
// A whole number is three digits to the base 256, each from -128 to 127, and a
// product of four digits and four codes is one instruction. It wants the codes
// without a sign: they are taken as so much larger (fixedBias).
//
// A row of the left operand is turned into records, one a group, before the columns
// go by. A record of Q8 has a group's lowest digits, those of the middle, the highest,
// and then words: what to add to each digit's sum for the codes being larger, and the
// power's exponent. A record of Q4 has these for every four steps of k, 12 digits and a
// word; its steps stand in the order in which instructions take codes: the even ones
// of a word and then the odd ones. Rows that are codes themselves (codedleft.go) have
// one digit, and their scale for the power.

const (
	fixedDigits  = 3
	fixedSteps   = 4       // of k, for which an instruction multiplies
	fixedMargin  = 1.004   // keeps the highest digit below 128: at least 2^23 / 0x7f7f7f
	fixedAhead   = 4 << 10 // bytes of a panel that are fetched before their use
	fixedLargest = 22      // the largest element's exponent, brought up to this, gives its whole number
)

// fixedBias is what codes are larger by where they are multiplied.
func fixedBias(e kernel.Elem) int64 {
	if e == kernel.Q4 {
		return 8 // as they are stored
	}
	return 128
}

// record is how a group of the left operand's elements lies for a product with codes
// of a type: as so many digits.
type record struct {
	elem   kernel.Elem
	digits int64
}

// mixed says that digits and words take turns.
func (r record) mixed() bool { return r.elem == kernel.Q4 && r.digits == fixedDigits }

// offsets is how many of the words more are offsets: of Q4, whose sums fit 32 bits with
// all their digits, one serves all three. The power is the next.
func (r record) offsets() int64 {
	if r.elem == kernel.Q4 {
		return 1
	}
	return r.digits
}

func (r record) bytes() int64 {
	if r.digits == fixedDigits {
		return 4 * int64(r.elem.Group())
	}
	return r.word(r.offsets()) + 4
}

// digit is where a record has a digit of four steps, and word where a word.
func (r record) digit(four, digit int64) int64 {
	if r.mixed() {
		return four*16 + digit*fixedSteps
	}
	return digit*int64(r.elem.Group()) + four*fixedSteps
}

func (r record) word(i int64) int64 {
	if r.mixed() {
		return i*16 + fixedDigits*fixedSteps
	}
	return r.digits*int64(r.elem.Group()) + 4*i
}

// shapes are the register tiles of such products, as Machine.Coded. One row goes by
// four panels side by side: from so many places memory is read fastest.
func (r record) shapes() []Shape {
	switch {
	case !r.held():
		return []Shape{{4, 2}, {2, 4}, {1, 8}}
	case r.elem == kernel.Q4:
		return []Shape{{6, 2}, {4, 2}, {2, 4}, {1, 8}}
	}
	return []Shape{{7, 2}, {4, 2}, {2, 4}, {1, 8}}
}

// held says that there are registers for the result's elements beside a group's sums.
func (r record) held() bool { return r.digits == 1 }

var bytes64 = types.NewVector(4*lanes, i8)

// fixes reports whether products with codes of a type run in whole numbers.
func (m Machine) fixes(e kernel.Elem) bool { return e.Quantised() && m.Bytes != "" }

// byteTiles is the feature that is tdpbssd.
const byteTiles = "amx-int8"

// as reads a vector's bits as another type.
func (f *fn) as(v value.Value, t types.Type) value.Value {
	i := ir.NewBitCast(v, t)
	f.emit(i)
	return i
}

// fixed is a left operand in records.
type fixed struct {
	record
	trans bool
	ptr   value.Value
	row   int64 // bytes between rows
}

// fixedFor is a left operand for products with codes of a type; what is made for one
// product serves those behind it.
func (b *block) fixedFor(t *kernel.Tile, e kernel.Elem, trans bool) fixed {
	x := b.fixed[t]
	if x.ptr == nil || x.elem != e || x.trans != trans {
		x = b.fix(t, e, trans, b.rest)
		b.fixed[t] = x
	}
	return x
}

// fix turns the left operand of a product with codes of a type into records, in
// scratch memory for a time.
func (b *block) fix(t *kernel.Tile, e kernel.Elem, trans bool, alive span) fixed {
	p := b.place(t)
	a, m, k, rows, depth := left{p.ptr, p.row, p.col}, t.Rows, t.Cols, b.rows, b.cols
	if trans {
		a.row, a.step, m, k, rows, depth = a.step, a.row, k, m, depth, rows
	}
	group := int64(e.Group())
	to, one := fixed{record: record{e, fixedDigits}, trans: trans}, b.fixRow
	if p.elem.Quantised() {
		to.digits, one = 1, b.fixCodes
	}
	to.row = (int64(k) + group - 1) / group * to.bytes()
	to.ptr = b.near(int64(m)*to.row, alive)
	line, fix, n := b.near(group*4, span{b.pos, b.pos}), one(e), depth(t)
	b.count(c64(0), rows(t), 1, func(r value.Value) {
		b.call(fix, b.at(a.ptr, b.mul(r, c64(a.row))), c64(a.step), n, line, b.at(to.ptr, b.mul(r, c64(to.row))))
	})
	return to
}

// fixAhead turns the left operands of products in a loop into records before the
// loop, where the loop does not change them.
func (b *block) fixAhead(loop *kernel.For) {
	coded := map[*kernel.Tile]kernel.Elem{}
	statements(loop.Body, func(s kernel.Stmt) {
		switch s := s.(type) {
		case *kernel.Load:
			if b.machine.fixes(s.Buf.Elem) && s.Buf.Panel > 0 {
				coded[s.Dst] = s.Buf.Elem
			}
		case *kernel.Dot:
			t, r, trans, _ := operands(s)
			if e, ok := coded[r]; ok && b.written[t] && b.inScope(t.ValidRows) && b.inScope(t.ValidCols) && !writes(loop.Body, t) {
				b.fixedFor(t, e, trans)
			}
		}
	})
}

// fixRow is the function that turns one row into records:
//
//	fix(a, bytes between its columns, k, room for a group, records)
func (m *module) fixRow(e kernel.Elem) *ir.Func {
	name := "memc.fix." + e.String()
	if f := m.decls[name]; f != nil {
		return f
	}
	a, step, depth, line, to := ir.NewParam("a", bytePtr), ir.NewParam("a.step", i64), ir.NewParam("k", i64), ir.NewParam("room", bytePtr), ir.NewParam("to", bytePtr)
	f := m.newFunc(name, types.Void, a, step, depth, line, to)
	f.private()
	m.decls[name] = f.f
	group, lies := int64(e.Group()), record{e, fixedDigits}
	strips := group / lanes
	f.count(c64(0), depth, group, func(k value.Value) {
		n := f.smin(f.sub(depth, k), c64(group))
		from := f.at(a, f.mul(k, step))
		adjacent := f.bin(and, f.icmp(predicate[ints.Eq], step, c64(4)), f.icmp(predicate[ints.Eq], n, c64(group)))
		f.when(f.bin(xor, adjacent, constant.True), func() {
			for i := range strips {
				f.store(vnum(0), line, c64(i*lanes*4))
			}
			f.count(c64(0), n, 1, func(i value.Value) { f.store(f.load(f32, from, f.mul(i, step)), line, f.mul(i, c64(4))) })
		})
		from = f.choose(adjacent, from, line)
		x := make([]value.Value, strips)
		for i := range x {
			x[i] = f.load(vf32, from, c64(int64(i)*lanes*4))
		}
		// The bits of magnitudes are ordered as they are, with NaN on top.
		var most value.Value
		for i := range x {
			size := f.bin(and, f.bits(x[i]), vint(v32, 0x7fffffff))
			if most == nil {
				most = size
			} else {
				most = f.smax(most, size)
			}
		}
		for d := 1; d < lanes; d *= 2 {
			most = f.smax(most, f.shuffle(most, most, func(l int) int { return l ^ d }))
		}
		most = f.float(most)
		// Denormal numbers have the exponent of the least others.
		exponent := f.smax(f.bin(lshr, f.bits(f.bin(fmul, most, vnum(fixedMargin))), vint(v32, 23)), vint(v32, 1))
		up := f.convert(sitofp, f.sub(vint(v32, fixedLargest+127), exponent), f32)
		var sums [fixedDigits]value.Value // of Q4 the first is the whole numbers'
		for i := range sums {
			sums[i] = vint(v32, 0)
		}
		at := f.at(to, f.mul(f.bin(udiv, k, c64(group)), c64(lies.bytes())))
		for i := range x {
			x := x[i]
			if e == kernel.Q4 {
				x = f.shuffle(x, x, func(l int) int { return l/8*8 + l%4*2 + l/4%2 })
			}
			whole := f.intrinsic("llvm.x86.avx512.mask.cvtps2dq.512", v32, f.scaled(x, up), vint(v32, 0), mask16, c32(4))
			digits := f.bin(xor, f.add(whole, vint(v32, 0x808080)), vint(v32, 0x808080))
			if e == kernel.Q4 {
				sums[0] = f.add(sums[0], whole)
			} else {
				for d := range sums {
					sums[d] = f.add(sums[d], f.bin(ashr, f.bin(shl, digits, vint(v32, int64(24-8*d))), vint(v32, 24)))
				}
			}
			if e == kernel.Q4 {
				bytes := f.as(digits, bytes64)
				f.store(f.shuffle(bytes, bytes, func(l int) int { return l/16*16 + l%4*4 + l/4%4 }), at, c64(int64(i)*4*lanes))
				continue
			}
			for d := range int64(fixedDigits) {
				f.store(f.convert(trunc, f.bin(lshr, digits, vint(v32, 8*d)), i8), at, c64(lies.digit(int64(i)*lanes/fixedSteps, d)))
			}
		}
		for i := range lies.offsets() {
			sum := sums[i]
			for d := 1; d < lanes; d *= 2 {
				sum = f.add(sum, f.shuffle(sum, sum, func(l int) int { return l ^ d }))
			}
			f.store(f.mul(f.lane(sum, 0), c32(-fixedBias(e))), at, c64(lies.word(i)))
		}
		finite := f.fcmp(enum.FPredOLE, most, vnum(math.MaxFloat32))
		f.store(f.lane(f.choose(finite, f.bin(fsub, vnum(0), up), f.float(vint(v32, 0x7fc00000))), 0), at, c64(lies.word(lies.offsets())))
	})
	f.ret()
	return f.f
}

// fixedProduct is the function that computes such a product:
//
//	product(records of a, bytes between its rows, b, bytes between its panels, k,
//	        dst, bytes between its rows, rows, vectors of columns, add to dst,
//	        what will be b next)
func (m *module) fixedProduct(key quantKey) *ir.Func {
	if f := m.quants[key]; f != nil {
		return f
	}
	a, pb, dst := ir.NewParam("a", bytePtr), ir.NewParam("b", bytePtr), ir.NewParam("dst", bytePtr)
	aRow, panel, depth, dstRow := ir.NewParam("a.row", i64), ir.NewParam("b.panel", i64), ir.NewParam("k", i64), ir.NewParam("dst.row", i64)
	rows, vecs, acc, next := ir.NewParam("rows", i64), ir.NewParam("vecs", i64), ir.NewParam("acc", bit), ir.NewParam("next", bytePtr)
	f := m.newFunc(fmt.Sprintf("memc.product.%s.%d.%d", key.elem, key.perPanel*lanes, key.digits), types.Void, a, aRow, pb, panel, depth, dst, dstRow, rows, vecs, acc, next)
	f.private()
	m.quants[key] = f.f
	f.when(f.bin(xor, acc, constant.True), func() { f.clear(dst, dstRow, rows, vecs) })
	f.heights(key.record().shapes(), rows, func(s Shape, row, end value.Value) {
		var v value.Value = c64(0)
		for w := s.Vecs; w > 0; w /= 2 {
			to := f.bin(and, vecs, c64(-int64(w)))
			micro := m.fixedMicro(quantKey{Shape{s.Rows, w}, key.elem, key.perPanel, false, key.digits})
			f.count(v, to, int64(w), func(v value.Value) {
				scales, codes := f.columns(key, pb, panel, v)
				beside, _ := f.columns(key, pb, panel, f.add(v, c64(int64(w))))
				next := f.choose(f.icmp(predicate[ints.Lt], f.add(v, c64(int64(w))), vecs), beside, value.Value(next))
				f.count(row, end, int64(s.Rows), func(r value.Value) {
					f.call(micro, f.at(a, f.mul(r, aRow)), aRow, scales, codes, panel, depth, f.at(f.at(dst, f.mul(v, c64(lanes*4))), f.mul(r, dstRow)), dstRow, next)
				})
			})
			v = to
		}
	})
	f.ret()
	return f.f
}

// then is where the codes begin that are multiplied behind r: those of the loop's next
// turn, or of the list's next product, or behind its last one those of the first for the
// grid's next columns.
func (b *block) then(r right, vecs value.Value) value.Value {
	if r.next != nil {
		return b.at(r.ptr, r.next)
	}
	if b.firstCodes.ptr == nil {
		b.firstCodes = r
	}
	for i, s := range b.after {
		if d, ok := s.(*kernel.Dot); ok {
			_, t, _, _ := operands(d)
			if p, ok := b.codesLie(t, b.after[:i]); ok && p.elem == r.elem && p.panel.stride == r.panel {
				return p.ptr
			}
		}
	}
	if b.firstCodes.elem == r.elem && b.firstCodes.panel == r.panel {
		r = b.firstCodes
	}
	panels, _ := b.floorDivConst(vecs, r.perPanel, true, false)
	return b.at(r.ptr, b.mul(panels, c64(r.panel)))
}

// codesLie is the place of a right operand of codes that is loaded already, or by a
// statement of before.
func (b *block) codesLie(t *kernel.Tile, before []kernel.Stmt) (p place, ok bool) {
	if p, ok = b.places[t]; ok {
		return p, p.panel != nil && p.elem.Quantised()
	}
	for _, s := range before {
		if l, is := s.(*kernel.Load); is && l.Dst == t && l.Buf.Panel > 0 && l.Buf.Elem.Quantised() && b.panelView(l) {
			p = b.places[t]
			delete(b.places, t)
			return p, true
		}
	}
	return place{}, false
}

// fixedMicro is the function that adds the product of one register tile:
//
//	micro(records of a, bytes between its rows, scales and codes of b,
//	      bytes between its panels, k, dst, bytes between its rows, what will be the
//	      scales next)
func (m *module) fixedMicro(key quantKey) *ir.Func {
	if f := m.quantMicros[key]; f != nil {
		return f
	}
	pa, aRow := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64)
	ps, pb, panel, depth := ir.NewParam("scales", bytePtr), ir.NewParam("codes", bytePtr), ir.NewParam("b.panel", i64), ir.NewParam("k", i64)
	dst, dstRow, then := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64), ir.NewParam("next", bytePtr)
	f := m.newFunc(fmt.Sprintf("memc.dot%dx%d.%s.%d.%d", key.Rows, key.Vecs*lanes, key.elem, key.perPanel*lanes, key.digits), types.Void, pa, aRow, ps, pb, panel, depth, dst, dstRow, then)
	f.private()
	m.quantMicros[key] = f.f
	rows, vecs := key.Rows, key.Vecs
	group := int64(key.elem.Group())
	word, perWord := key.perPanel*wordBytes, codedOf(key.elem).steps
	lies, digits := key.record(), int(key.digits)
	scaleAt, codeAt := make([]value.Value, vecs), make([]value.Value, vecs)
	for v := range vecs {
		scale, code := key.spread(int64(v))
		span := f.mul(panel, c64(int64(v)/key.perPanel))
		scaleAt[v], codeAt[v] = f.add(span, c64(scale)), f.add(span, c64(code))
	}
	starts, ends := make([]value.Value, rows), make([]value.Value, rows)
	for r := range rows {
		starts[r], ends[r] = f.mul(aRow, c64(int64(r))), f.mul(dstRow, c64(int64(r)))
	}
	// begin gives the sums of a group before its first word, by row, vector and digit.
	begin := func(a value.Value) (sums []value.Value) {
		for r := range rows {
			first := make([]value.Value, digits)
			for i := range first {
				first[i] = vint(v32, 0)
				if int64(i) < lies.offsets() {
					first[i] = f.splat(f.load(i32, a, f.add(starts[r], c64(lies.word(int64(i))))))
				}
			}
			for range vecs {
				sums = append(sums, first...)
			}
		}
		return sums
	}
	add := func(a, b value.Value, sums []value.Value) []value.Value {
		next := append([]value.Value{}, sums...)
		parts := make([][]value.Value, vecs) // codes of four steps each
		read := func(v int) {
			codes := f.load(v32, b, codeAt[v])
			if key.elem == kernel.Q4 {
				low := vint(v32, 0x0f0f0f0f)
				parts[v] = []value.Value{f.bin(and, codes, low), f.bin(and, f.bin(lshr, codes, vint(v32, 4)), low)}
			} else {
				parts[v] = []value.Value{f.bin(xor, codes, vint(v32, -0x7f7f7f80))}
			}
		}
		multiply := func(r, part, digit, v int) {
			x := f.splat(f.load(i32, a, f.add(starts[r], c64(lies.digit(int64(part), int64(digit))))))
			i := (r*vecs+v)*digits + digit
			next[i] = f.intrinsic("llvm.x86.avx512.vpdpbusd.512", v32, next[i], parts[v][part], x)
		}
		// One row of Q4 goes vector by vector: beside its sums there is no room for the codes
		// of all. Those of Q8, which are half as many, come from memory faster side by side.
		if rows == 1 && key.elem == kernel.Q4 {
			for v := range vecs {
				read(v)
				for part := range int(perWord / fixedSteps) {
					for digit := range digits {
						multiply(0, part, digit, v)
					}
				}
			}
			return next
		}
		for v := range vecs {
			read(v)
		}
		for r := range rows {
			for digit := range digits {
				for part := range int(perWord / fixedSteps) {
					for v := range vecs {
						multiply(r, part, digit, v)
					}
				}
			}
		}
		return next
	}
	at := func(r, v int) value.Value { return f.add(ends[r], c64(int64(v)*lanes*4)) }
	// finish adds a group's sums to the result's elements, which are in memory or, where
	// one digit leaves room for them, in registers.
	finish := func(a, s value.Value, sums, results []value.Value) []value.Value {
		next := make([]value.Value, len(results))
		for v := range vecs {
			scale := f.widened(f.load(v16, s, scaleAt[v]))
			for r := range rows {
				power := f.splat(f.load(f32, a, f.add(starts[r], c64(lies.word(lies.offsets())))))
				if i := r*vecs + v; lies.held() {
					next[i] = f.added(lies, sums[i:], power, scale, results[i])
				} else {
					f.store(f.added(lies, sums[i*digits:], power, scale, f.load(vf32, dst, at(r, v))), dst, at(r, v))
				}
			}
		}
		return next
	}
	var results []value.Value
	for i := range rows * vecs {
		if lies.held() {
			results = append(results, f.load(vf32, dst, at(i/vecs, i%vecs)))
		}
	}
	whole, _ := f.floorDivConst(depth, group, true, false)
	// Some groups ahead, and behind the panels' ends in what comes next.
	ahead := fixedAhead/key.blockBytes() + 1
	last := f.smax(f.sub(whole, c64(ahead)), c64(0))
	out := f.loop(c64(0), whole, 1, append([]value.Value{pa, ps, pb}, results...), func(g value.Value, c []value.Value) []value.Value {
		a, s, b := c[0], c[1], c[2]
		fetch := f.choose(f.icmp(predicate[ints.Lt], g, last), f.at(s, c64(ahead*key.blockBytes())), f.at(then, f.mul(f.sub(g, last), c64(key.blockBytes()))))
		sums, line, words := begin(a), int64(0), group/perWord
		for w := range words {
			// Evenly, and not into the nearest cache: the processor has room for few lines on
			// their way, and for fewest there.
			for ; line*words < (w+1)*key.blockBytes(); line += 64 {
				for v := int64(0); v < int64(vecs); v += key.perPanel {
					f.prefetchFar(fetch, f.add(scaleAt[v], c64(line)))
				}
			}
			sums = add(f.at(a, c64(lies.digit(w*perWord/fixedSteps, 0))), f.at(b, c64(w*word)), sums)
		}
		next := finish(a, s, sums, c[3:])
		return append([]value.Value{f.at(a, c64(lies.bytes())), f.at(s, c64(key.blockBytes())), f.at(b, c64(key.blockBytes()))}, next...)
	})
	store := func(results []value.Value) {
		for i, x := range results {
			f.store(x, dst, at(i/vecs, i%vecs))
		}
	}
	// The last group may have fewer words: what lies behind them is no code.
	left := f.sub(depth, f.mul(whole, c64(group)))
	some := f.icmp(predicate[ints.Lt], c64(0), left)
	f.when(some, func() {
		words, _ := f.floorDivConst(f.add(left, c64(perWord-1)), perWord, true, false)
		sums := f.loop(c64(0), words, 1, begin(out[0]), func(w value.Value, sums []value.Value) []value.Value {
			return add(f.at(out[0], f.mul(w, c64(lies.digit(perWord/fixedSteps, 0)))), f.at(out[2], f.mul(w, c64(word))), sums)
		})
		store(finish(out[0], out[1], sums, out[3:]))
	})
	f.when(f.bin(xor, some, constant.True), func() { store(out[3:]) })
	f.ret()
	return f.f
}

// added is a sum and what a group's sums of digits add to it: their f32 times the
// elements' power and the codes' scale. Two scales of codes have a product without an
// error.
func (f *fn) added(lies record, digits []value.Value, power, scale, sum value.Value) value.Value {
	if lies.digits == 1 {
		return f.fma(f.convert(sitofp, digits[0], f32), f.bin(fmul, power, scale), sum)
	}
	return f.fma(f.scaled(f.joined(lies.elem, digits), power), scale, sum)
}

// joined is the f32 that three digits' sums of a group make: of Q4 their exact sum,
// rounded; of Q8, whose sum is wider than 32 bits, that of the lower two, rounded,
// plus the highest, rounded again.
func (f *fn) joined(e kernel.Elem, digits []value.Value) value.Value {
	up := func(v value.Value) value.Value { return f.bin(shl, v, vint(v32, 8)) }
	if e == kernel.Q4 {
		return f.convert(sitofp, f.add(up(f.add(up(digits[2]), digits[1])), digits[0]), f32)
	}
	low := f.convert(sitofp, f.add(up(digits[1]), digits[0]), f32)
	return f.fma(f.convert(sitofp, digits[2], f32), vnum(1<<16), low)
}

// clear sets a product's result to 0.
func (f *fn) clear(dst, dstRow, rows, vecs value.Value) {
	f.count(c64(0), rows, 1, func(r value.Value) {
		row := f.at(dst, f.mul(r, dstRow))
		f.count(c64(0), vecs, 1, func(v value.Value) { f.store(vnum(0), row, f.mul(v, c64(lanes*4))) })
	})
}
