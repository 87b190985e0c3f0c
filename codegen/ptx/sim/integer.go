package sim

import (
	"math"
	"math/bits"
	"strings"
)

// opcodes compile the instructions, by the first part of the mnemonic.
var opcodes map[string]func(x *build)

func init() {
	opcodes = map[string]func(x *build){
		"mov": (*build).mov, "cvta": (*build).cvta, "cvt": (*build).cvt, "selp": (*build).selp, "setp": (*build).setp,
		"add": (*build).add, "sub": (*build).sub, "mul": (*build).mul, "mad": (*build).mad, "fma": (*build).fma,
		"div": (*build).div, "rem": (*build).rem, "min": (*build).extreme, "max": (*build).extreme, "neg": (*build).neg, "abs": (*build).abs,
		"and": (*build).logic, "or": (*build).logic, "xor": (*build).logic, "not": (*build).logic,
		"shl": (*build).shift, "shr": (*build).shift, "shf": (*build).funnel,
		"bfe": (*build).bfe, "bfi": (*build).bfi, "lop3": (*build).lop3, "prmt": (*build).prmt,
		"popc": (*build).count, "clz": (*build).count, "brev": (*build).count, "dp4a": (*build).dp4a,
		"copysign": (*build).copysign, "rcp": (*build).special1, "sqrt": (*build).special1, "rsqrt": (*build).special1, "ex2": (*build).special1,
		"lg2": (*build).special1, "sin": (*build).special1, "cos": (*build).special1, "tanh": (*build).special1,
		"ld": (*build).load, "st": (*build).store, "prefetch": (*build).prefetch, "prefetchu": (*build).prefetch,
		"bra": (*build).bra, "ret": (*build).ret, "exit": (*build).ret, "trap": (*build).trap,
		"bar": (*build).bar, "barrier": (*build).bar, "membar": (*build).fence, "fence": (*build).fence,
		"shfl": (*build).shfl, "vote": (*build).vote, "redux": (*build).redux, "activemask": (*build).activemask,
		"mma": (*build).mma, "ldmatrix": (*build).ldmatrix, "stmatrix": (*build).stmatrix, "cp": (*build).cp,
	}
}

// ints2 makes an instruction of two operands of a type.
func (x *build) ints2(t dataType, f func(a, b uint32) uint32, g func(a, b uint64) uint64) {
	x.plain()
	if !x.wants(3) {
		return
	}
	x.in.d, x.in.a, x.in.b = x.dst(0, t.class), x.src(1, t.class), x.src(2, t.class)
	x.in.f2, x.in.g2, x.in.run = f, g, each2
	if t.class == bits64 {
		x.in.run = long2
	}
}

func (x *build) ints1(t dataType, f func(a uint32) uint32, g func(a uint64) uint64) {
	x.plain()
	if !x.wants(2) {
		return
	}
	x.in.d, x.in.a = x.dst(0, t.class), x.src(1, t.class)
	x.in.f1, x.in.g1, x.in.run = f, g, each1
	if t.class == bits64 {
		x.in.run = long1
	}
}

func (x *build) ints3(t dataType, f func(a, b, c uint32) uint32, g func(a, b, c uint64) uint64) {
	x.plain()
	if !x.wants(4) {
		return
	}
	x.in.d, x.in.a, x.in.b, x.in.c = x.dst(0, t.class), x.src(1, t.class), x.src(2, t.class), x.src(3, t.class)
	x.in.f3, x.in.g3, x.in.run = f, g, each3
	if t.class == bits64 {
		x.in.run = long3
	}
}

// intType takes a type of an integer of 16, 32 or 64 bits.
func (x *build) intType(name string) dataType {
	t, ok := dataTypes[name]
	if !ok || t.float || t.bytes < 2 || name[0] == 'b' {
		x.unknown()
	}
	return t
}

// bitType takes a type without a meaning: b16, b32 or b64.
func (x *build) bitType(name string) dataType {
	t, ok := dataTypes[name]
	if !ok || name[0] != 'b' || t.float || t.bytes < 2 {
		x.unknown()
	}
	return t
}

func (x *build) add() {
	name := x.last()
	if dataTypes[name].float {
		x.floats2(name, func(a, b float32) float32 { return a + b })
		return
	}
	t := x.intType(name)
	x.ints2(t, func(a, b uint32) uint32 { return a + b }, func(a, b uint64) uint64 { return a + b })
	if t.class != bits64 {
		x.in.run = adds
	}
}

func (x *build) sub() {
	name := x.last()
	if dataTypes[name].float {
		x.floats2(name, func(a, b float32) float32 { return a - b })
		return
	}
	x.ints2(x.intType(name), func(a, b uint32) uint32 { return a - b }, func(a, b uint64) uint64 { return a - b })
}

// high is the upper half of a product.
func high(t dataType) (func(a, b uint32) uint32, func(a, b uint64) uint64) {
	if t.class == bits16 {
		return func(a, b uint32) uint32 { return uint32(wideProduct(t, uint64(a), uint64(b)) >> 16) }, nil
	}
	if t.signed {
		return func(a, b uint32) uint32 { return uint32(int64(int32(a)) * int64(int32(b)) >> 32) },
			func(a, b uint64) uint64 {
				h, _ := bits.Mul64(a, b)
				if int64(a) < 0 {
					h -= b
				}
				if int64(b) < 0 {
					h -= a
				}
				return h
			}
	}
	return func(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) >> 32) },
		func(a, b uint64) uint64 { h, _ := bits.Mul64(a, b); return h }
}

// wideProduct multiplies two integers of 16 or 32 bits whole.
func wideProduct(t dataType, a, b uint64) uint64 {
	switch {
	case t.bytes == 2 && t.signed:
		return uint64(int64(int16(a)) * int64(int16(b)))
	case t.bytes == 2:
		return uint64(uint16(a)) * uint64(uint16(b))
	case t.signed:
		return uint64(int64(int32(a)) * int64(int32(b)))
	}
	return uint64(uint32(a)) * uint64(uint32(b))
}

func (x *build) mul() {
	name := x.last()
	if dataTypes[name].float {
		x.floats2(name, func(a, b float32) float32 { return a * b })
		return
	}
	t := x.intType(name)
	switch {
	case x.has("lo"):
		x.ints2(t, func(a, b uint32) uint32 { return a * b }, func(a, b uint64) uint64 { return a * b })
	case x.has("hi"):
		f, g := high(t)
		x.ints2(t, f, g)
	case x.has("wide") && t.class == bits32:
		x.plain()
		if x.wants(3) {
			x.in.d, x.in.a, x.in.b = x.dst(0, bits64), x.src(1, bits32), x.src(2, bits32)
			x.in.g2, x.in.run = func(a, b uint64) uint64 { return wideProduct(t, a, b) }, wide2
		}
	default:
		x.unknown()
	}
}

func (x *build) mad() {
	name := x.last()
	if dataTypes[name].float {
		x.unknown() // mad.f32 does not say how often it rounds
		return
	}
	t := x.intType(name)
	switch {
	case x.has("lo"):
		x.ints3(t, func(a, b, c uint32) uint32 { return a*b + c }, func(a, b, c uint64) uint64 { return a*b + c })
		if t.class != bits64 {
			x.in.run = madds
		}
	case x.has("hi"):
		f, g := high(t)
		x.ints3(t, func(a, b, c uint32) uint32 { return f(a, b) + c }, func(a, b, c uint64) uint64 { return g(a, b) + c })
	case x.has("wide") && t.class == bits32:
		x.plain()
		if x.wants(4) {
			x.in.d, x.in.a, x.in.b, x.in.c = x.dst(0, bits64), x.src(1, bits32), x.src(2, bits32), x.src(3, bits64)
			x.in.g3, x.in.run = func(a, b, c uint64) uint64 { return wideProduct(t, a, b) + c }, wide3
		}
	default:
		x.unknown()
	}
}

func (x *build) div() {
	name := x.last()
	if dataTypes[name].float {
		x.floatDiv(name)
		return
	}
	t := x.intType(name)
	switch {
	case t.class == bits16:
		x.unknown()
	case t.signed:
		x.ints2(t, func(a, b uint32) uint32 { return uint32(quo(int32(a), int32(b))) }, func(a, b uint64) uint64 { return uint64(quo(int64(a), int64(b))) })
	default:
		x.ints2(t, func(a, b uint32) uint32 { return quo(a, b) }, func(a, b uint64) uint64 { return quo(a, b) })
	}
}

func (x *build) rem() {
	t := x.intType(x.last())
	switch {
	case t.class == bits16:
		x.unknown()
	case t.signed:
		x.ints2(t, func(a, b uint32) uint32 { return a - uint32(quo(int32(a), int32(b)))*b }, func(a, b uint64) uint64 { return a - uint64(quo(int64(a), int64(b)))*b })
	default:
		x.ints2(t, func(a, b uint32) uint32 { return a - quo(a, b)*b }, func(a, b uint64) uint64 { return a - quo(a, b)*b })
	}
}

// quo truncates; what a division by zero gives is not defined, and is all ones
// here.
func quo[T int32 | int64 | uint32 | uint64](a, b T) T {
	if b == 0 {
		return ^T(0)
	}
	return a / b
}

// extreme is min and max.
func (x *build) extreme() {
	name, least := x.last(), x.name == "min"
	if dataTypes[name].float {
		x.floatExtreme(name, least)
		return
	}
	t := x.intType(name)
	pick := func(less bool, a, b uint64) uint64 {
		if less == least {
			return a
		}
		return b
	}
	switch {
	case t.class == bits16 && t.signed:
		x.ints2(t, func(a, b uint32) uint32 { return uint32(pick(int16(a) < int16(b), uint64(a), uint64(b))) }, nil)
	case t.class == bits16:
		x.ints2(t, func(a, b uint32) uint32 { return uint32(pick(uint16(a) < uint16(b), uint64(a), uint64(b))) }, nil)
	case t.signed:
		x.ints2(t, func(a, b uint32) uint32 { return uint32(pick(int32(a) < int32(b), uint64(a), uint64(b))) }, func(a, b uint64) uint64 { return pick(int64(a) < int64(b), a, b) })
	default:
		x.ints2(t, func(a, b uint32) uint32 { return uint32(pick(a < b, uint64(a), uint64(b))) }, func(a, b uint64) uint64 { return pick(a < b, a, b) })
	}
}

func (x *build) neg() {
	name := x.last()
	if dataTypes[name].float {
		x.floatSign(name, func(a, sign uint32) uint32 { return a ^ sign })
		return
	}
	x.ints1(x.intType(name), func(a uint32) uint32 { return -a }, func(a uint64) uint64 { return -a })
}

func (x *build) abs() {
	name := x.last()
	if dataTypes[name].float {
		x.floatSign(name, func(a, sign uint32) uint32 { return a &^ sign })
		return
	}
	t := x.intType(name)
	if t.class == bits16 || !t.signed {
		x.unknown()
	}
	x.ints1(t, func(a uint32) uint32 { return uint32(max(int32(a), -int32(a))) }, func(a uint64) uint64 { return uint64(max(int64(a), -int64(a))) })
}

// logic is and, or, xor and not, of bits and of predicates.
func (x *build) logic() {
	name, op := x.last(), x.name
	f := map[string]func(a, b uint64) uint64{
		"and": func(a, b uint64) uint64 { return a & b }, "or": func(a, b uint64) uint64 { return a | b },
		"xor": func(a, b uint64) uint64 { return a ^ b }, "not": func(a, _ uint64) uint64 { return ^a },
	}[op]
	if name == "pred" {
		x.plain()
		n := 3
		if op == "not" {
			n = 2
		}
		if !x.wants(n) {
			return
		}
		x.in.d, x.in.a = x.dst(0, predicate), x.src(1, predicate)
		x.in.b = x.in.a
		if n == 3 {
			x.in.b = x.src(2, predicate)
		}
		x.in.run = func(w *warp, in *inst, m uint32) {
			v := uint32(f(uint64(w.preds[in.a]), uint64(w.preds[in.b])))
			w.preds[in.d] = w.preds[in.d]&^m | v&m
		}
		return
	}
	t := x.bitType(name)
	if op == "not" {
		x.ints1(t, func(a uint32) uint32 { return ^a }, func(a uint64) uint64 { return ^a })
		return
	}
	x.ints2(t, func(a, b uint32) uint32 { return uint32(f(uint64(a), uint64(b))) }, f)
}

// shift: amounts beyond the width give what remains then, 0 or the sign.
func (x *build) shift() {
	name, left := x.last(), x.name == "shl"
	t, ok := dataTypes[name]
	if !ok || t.float || t.bytes < 2 || left && name[0] != 'b' {
		x.unknown()
	}
	x.plain()
	if !x.wants(3) {
		return
	}
	x.in.d, x.in.a, x.in.b = x.dst(0, t.class), x.src(1, t.class), x.src(2, bits32)
	x.in.run = each2
	switch {
	case t.class == bits64:
		x.in.run = longShift
		x.in.g2 = func(a, b uint64) uint64 { return a >> b }
		if left {
			x.in.g2 = func(a, b uint64) uint64 { return a << b }
		} else if t.signed {
			x.in.g2 = func(a, b uint64) uint64 { return uint64(int64(a) >> b) }
		}
	case left:
		x.in.f2 = func(a, b uint32) uint32 { return a << b }
	case t.class == bits16 && t.signed:
		x.in.f2 = func(a, b uint32) uint32 { return uint32(int16(a) >> b) }
	case t.class == bits16:
		x.in.f2 = func(a, b uint32) uint32 { return uint32(uint16(a) >> b) }
	case t.signed:
		x.in.f2 = func(a, b uint32) uint32 { return uint32(int32(a) >> b) }
	default:
		x.in.f2 = func(a, b uint32) uint32 { return a >> b }
	}
}

// funnel is shf: 32 bits of two registers, shifted as one of 64.
func (x *build) funnel() {
	left, right := x.has("l"), x.has("r")
	clamp, wrap := x.has("clamp"), x.has("wrap")
	t := x.bitType(x.last())
	if left == right || clamp == wrap || t.class != bits32 {
		x.unknown()
	}
	x.ints3(t, func(a, b, c uint32) uint32 {
		if wrap {
			c &= 31
		} else {
			c = min(c, 32)
		}
		v := uint64(b)<<32 | uint64(a)
		if left {
			return uint32(v << c >> 32)
		}
		return uint32(v >> c)
	}, nil)
}

// bfe takes bits out; those beyond the number repeat the sign.
func (x *build) bfe() {
	t := x.intType(x.last())
	x.plain()
	if t.class != bits32 {
		x.unknown()
	}
	x.ints3(t, func(a, b, c uint32) uint32 {
		pos, n := b&0xff, c&0xff
		var v uint64 = uint64(a)
		if t.signed {
			v = uint64(int64(int32(a)))
		}
		if n == 0 {
			return 0
		}
		v = uint64(int64(v) >> min(pos, 63))
		if n >= 32 {
			return uint32(v)
		}
		if t.signed {
			if pos+n > 32 {
				return uint32(v)
			}
			return uint32(int64(v<<(64-n)) >> (64 - n))
		}
		return uint32(v & (1<<n - 1))
	}, nil)
}

func (x *build) bfi() {
	t := x.bitType(x.last())
	x.plain()
	if t.class != bits32 || !x.wants(5) {
		x.unknown()
		return
	}
	x.in.d = x.dst(0, bits32)
	x.in.regs = []int32{x.src(1, bits32), x.src(2, bits32), x.src(3, bits32), x.src(4, bits32)}
	x.in.run = func(w *warp, in *inst, m uint32) {
		for l := range lanes {
			if m>>l&1 != 0 {
				a, b, pos, n := w.r32[in.regs[0]][l], w.r32[in.regs[1]][l], w.r32[in.regs[2]][l]&0xff, w.r32[in.regs[3]][l]&0xff
				field := uint32((1<<min(n, 32) - 1) << min(pos, 32))
				w.r32[in.d][l] = b&^field | a<<pos&field
			}
		}
	}
}

// lop3: bit i of the table, for i of the three operands' bits, a's the highest.
func (x *build) lop3() {
	t := x.bitType(x.last())
	x.plain()
	if t.class != bits32 || !x.wants(5) {
		x.unknown()
		return
	}
	table := x.operand(4)
	if table.kind != isInt || table.value > 255 {
		x.fail("%s is no table of 8 bits", table.text)
	}
	x.ops = x.ops[:4]
	x.ints3(t, func(a, b, c uint32) uint32 {
		var v uint32
		for i := range uint32(8) {
			if table.value>>i&1 == 0 {
				continue
			}
			p, q, r := a, b, c
			if i&4 == 0 {
				p = ^p
			}
			if i&2 == 0 {
				q = ^q
			}
			if i&1 == 0 {
				r = ^r
			}
			v |= p & q & r
		}
		return v
	}, nil)
}

// prmt picks four of eight bytes; bit 3 of a choice repeats the byte's sign. The
// other modes of the ISA are not known.
func (x *build) prmt() {
	t := x.bitType(x.last())
	if t.class != bits32 {
		x.unknown()
	}
	x.ints3(t, func(a, b, c uint32) uint32 {
		v := uint64(b)<<32 | uint64(a)
		var out uint32
		for i := range 4 {
			k := c >> (4 * i)
			picked := uint32(byte(v >> (8 * (k & 7))))
			if k&8 != 0 {
				picked = uint32(uint8(int8(picked) >> 7))
			}
			out |= picked << (8 * i)
		}
		return out
	}, nil)
}

func (x *build) count() {
	t, op := x.bitType(x.last()), x.name
	x.plain()
	if t.class == bits16 || op == "brev" && t.class == bits64 {
		x.unknown()
		return
	}
	if !x.wants(2) {
		return
	}
	x.in.d, x.in.a, x.in.wide = x.dst(0, bits32), x.src(1, t.class), t.class == bits64
	x.in.run = changes
	switch op {
	case "popc":
		x.in.g1 = func(a uint64) uint64 { return uint64(bits.OnesCount64(a)) }
	case "clz":
		pad := 64 - 8*t.bytes
		x.in.g1 = func(a uint64) uint64 { return uint64(bits.LeadingZeros64(a) - pad) }
	default:
		x.in.g1 = func(a uint64) uint64 { return uint64(bits.Reverse32(uint32(a))) }
	}
}

// dp4a adds four products of bytes to c.
func (x *build) dp4a() {
	bt, at := x.last(), x.last()
	x.plain()
	if at != "s32" && at != "u32" || bt != "s32" && bt != "u32" {
		x.unknown()
	}
	part := func(t string, v uint32, i int) int32 {
		b := byte(v >> (8 * i))
		if t == "s32" {
			return int32(int8(b))
		}
		return int32(b)
	}
	x.ints3(dataTypes["b32"], func(a, b, c uint32) uint32 {
		for i := range 4 {
			c += uint32(part(at, a, i) * part(bt, b, i))
		}
		return c
	}, nil)
}

func (x *build) selp() {
	t, ok := dataTypes[x.last()]
	x.plain()
	if !ok || t.bytes < 2 {
		x.unknown()
		return
	}
	if !x.wants(4) {
		return
	}
	x.in.d, x.in.a, x.in.b = x.dst(0, t.class), x.src(1, t.class), x.src(2, t.class)
	p, not := x.pred(3)
	x.in.c, x.in.run = p, chooses32
	if not {
		x.fail("selp takes no negated predicate")
	}
	if t.class == bits64 {
		x.in.run = chooses64
	}
}

// setp: a comparison, joined with a predicate or not, and its opposite where two
// predicates are written.
func (x *build) setp() {
	name := x.last()
	t, ok := dataTypes[name]
	if !ok || t.bytes < 2 || len(x.mods) == 0 {
		x.unknown()
		return
	}
	ftz := x.has("ftz")
	cmp := x.mods[0]
	x.mods = x.mods[1:]
	x.in.e = -1
	n := 3
	for i, join := range []string{"and", "or", "xor"} {
		if x.has(join) {
			x.in.flags, n = uint8(joinsAnd+i), 4
		}
	}
	x.plain()
	if !x.wants(n) {
		return
	}
	d := x.operand(0)
	x.in.d = x.write(d, predicate)
	if d.second != nil {
		x.in.e = x.write(*d.second, predicate)
	}
	x.in.a, x.in.b, x.in.run = x.src(1, t.class), x.src(2, t.class), tests32
	if n == 4 {
		x.in.c, x.in.signed = x.pred(3)
	}
	switch {
	case t.float:
		x.floatTest(name, cmp, ftz)
	case ftz:
		x.unknown()
	case t.class == bits64:
		x.in.run = tests64
		x.in.q2 = order[uint64](cmp)
		if t.signed {
			if q := order[int64](cmp); q != nil {
				x.in.q2 = func(a, b uint64) bool { return q(int64(a), int64(b)) }
			}
		}
	case t.signed:
		if q := order[int32](cmp); q != nil && t.bytes == 2 {
			x.in.p2 = func(a, b uint32) bool { return q(int32(int16(a)), int32(int16(b))) }
		} else if q != nil {
			x.in.p2 = func(a, b uint32) bool { return q(int32(a), int32(b)) }
		}
	default:
		if q := order[uint32](cmp); q != nil && t.bytes == 2 {
			x.in.p2 = func(a, b uint32) bool { return q(a&0xffff, b&0xffff) }
		} else {
			x.in.p2 = q
		}
	}
	if x.in.p2 == nil && x.in.q2 == nil {
		x.unknown()
	}
}

// order is a comparison of integers by its name.
func order[T int32 | int64 | uint32 | uint64](name string) func(a, b T) bool {
	switch name {
	case "lt", "lo":
		return func(a, b T) bool { return a < b }
	case "le", "ls":
		return func(a, b T) bool { return a <= b }
	case "gt", "hi":
		return func(a, b T) bool { return a > b }
	case "ge", "hs":
		return func(a, b T) bool { return a >= b }
	case "eq":
		return func(a, b T) bool { return a == b }
	case "ne":
		return func(a, b T) bool { return a != b }
	}
	return nil
}

// mov copies a register, a number or a variable's address, or takes a register
// apart or together (vectors of two halves).
func (x *build) mov() {
	t, ok := dataTypes[x.last()]
	x.plain()
	if !ok || !x.wants(2) || t.class != predicate && t.bytes < 2 {
		x.unknown()
		return
	}
	half := bits16
	if t.class == bits64 {
		half = bits32
	}
	switch {
	case x.ops[0].kind == isVector:
		x.in.regs = x.vector(0, 2, half, true)
		x.in.a, x.in.wide = x.src(1, t.class), half == bits32
		x.in.run = func(w *warp, in *inst, m uint32) {
			for l := range lanes {
				if m>>l&1 == 0 {
					continue
				}
				if in.wide {
					v := w.r64[in.a][l]
					w.r32[in.regs[0]][l], w.r32[in.regs[1]][l] = uint32(v), uint32(v>>32)
				} else {
					v := w.r32[in.a][l]
					w.r32[in.regs[0]][l], w.r32[in.regs[1]][l] = v&0xffff, v>>16
				}
			}
		}
	case x.ops[1].kind == isVector:
		x.in.regs = x.vector(1, 2, half, false)
		x.in.d, x.in.wide = x.dst(0, t.class), half == bits32
		x.in.run = func(w *warp, in *inst, m uint32) {
			for l := range lanes {
				if m>>l&1 == 0 {
					continue
				}
				lo, hi := w.r32[in.regs[0]][l], w.r32[in.regs[1]][l]
				if in.wide {
					w.r64[in.d][l] = uint64(hi)<<32 | uint64(lo)
				} else {
					w.r32[in.d][l] = hi<<16 | lo&0xffff
				}
			}
		}
	case t.class == predicate:
		x.in.d, x.in.a = x.dst(0, predicate), x.src(1, predicate)
		x.in.run = func(w *warp, in *inst, m uint32) {
			w.preds[in.d] = w.preds[in.d]&^m | w.preds[in.a]&m
		}
	default:
		x.in.d, x.in.a, x.in.run = x.dst(0, t.class), x.src(1, t.class), moves
		if t.class == bits64 {
			x.in.run = movesLong
		}
	}
}

// cvta: a global address is its own generic one, shared ones lie in a window.
func (x *build) cvta() {
	to := x.has("to")
	if t := x.last(); t != "u64" {
		x.unknown()
	}
	space := strings.Join(x.mods, ".")
	x.mods = nil
	var add uint64
	switch space {
	case "global", "const":
	case "shared", "shared::cta":
		add = sharedWindow
		if to {
			add = math.MaxUint64 - sharedWindow + 1
		}
	default:
		x.unknown()
	}
	x.ints1(dataTypes["b64"], nil, func(a uint64) uint64 { return a + add })
}
