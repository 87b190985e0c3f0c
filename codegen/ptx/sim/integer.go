package sim

import "math/bits"

// Arithmetic of integers (PTX ISA, "Integer Arithmetic Instructions").

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
