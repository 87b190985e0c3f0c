package sim

import "math"

// Conversions (PTX ISA, "cvt").

// rounding is how a conversion rounds.
type rounding uint8

const (
	nearest  rounding = iota // to even
	toZero                   //
	downward                 //
	upward                   //
	away                     // to nearest, ties away from 0
)

var roundings = map[string]rounding{"rn": nearest, "rz": toZero, "rm": downward, "rp": upward, "rna": away}
var integerRoundings = map[string]rounding{"rni": nearest, "rzi": toZero, "rmi": downward, "rpi": upward}

func (r rounding) whole(v float64) float64 {
	switch r {
	case toZero:
		return math.Trunc(v)
	case downward:
		return math.Floor(v)
	case upward:
		return math.Ceil(v)
	}
	return math.RoundToEven(v)
}

func fromBF16(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }

// toBF16 rounds to nearest even, or to zero; a NaN is 0x7fff.
func toBF16(f float32, r rounding) uint16 {
	a := math.Float32bits(f)
	switch {
	case f != f:
		return 0x7fff
	case r == toZero:
		return uint16(a >> 16)
	}
	return uint16((a + 0x7fff + a>>16&1) >> 16)
}

func fromF16(v uint16) float32 {
	sign, e, frac := uint32(v>>15)<<31, int(v>>10&31), uint32(v&0x3ff)
	switch e {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0:
		f := float32(frac) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | uint32(e+112)<<23 | frac<<13)
}

// toF16 rounds to nearest even, or to zero; a NaN is 0x7fff.
func toF16(f float32, r rounding) uint16 {
	if f != f {
		return 0x7fff
	}
	sign := uint16(math.Float32bits(f) >> 31 << 15)
	v := math.Abs(float64(f))
	// The distance of neighbours is 2^(e-10) for numbers from 2^e on, and 2⁻²⁴
	// below 2⁻¹⁴.
	_, e := math.Frexp(v)
	ulp := math.Ldexp(1, max(e-1, -14)-10)
	switch {
	case v == 0:
		return sign
	case math.IsInf(v, 0):
		return sign | 0x7c00
	case r == toZero:
		v = math.Trunc(v/ulp) * ulp
	default:
		v = math.RoundToEven(v/ulp) * ulp
	}
	if v >= 65536 {
		if r == toZero {
			return sign | 0x7bff
		}
		return sign | 0x7c00
	}
	if v < 0x1p-14 {
		return sign | uint16(v*0x1p24)
	}
	_, e = math.Frexp(v)
	return sign | uint16(e-1+15)<<10 | uint16(math.Ldexp(v, 11-e))&0x3ff
}

// toTF32 rounds to 10 bits behind the first, to nearest with ties away from 0
// or to even. The lower 13 bits are 0 here; the ISA leaves them undefined.
func toTF32(f float32, r rounding) uint32 {
	a := math.Float32bits(f)
	switch {
	case f != f:
		return quiet &^ 0x1fff
	case math.IsInf(float64(f), 0):
		return a
	case r == toZero:
		return a &^ 0x1fff
	case r == nearest:
		return (a + 0xfff + a>>13&1) &^ 0x1fff
	}
	return (a + 0x1000) &^ 0x1fff
}

// cvt compiles conversions between integers, between floats, and of one to the
// other; and those of two f32 to a pair, the first one to the upper half.
func (x *build) cvt() {
	from := x.last()
	to := x.last()
	src, ok := dataTypes[from]
	dst, ok2 := dataTypes[to]
	if to == "tf32" {
		dst, ok2 = dataTypes["b32"], true
		dst.float = true
	}
	if !ok || !ok2 || src.class == predicate || dst.class == predicate {
		x.unknown()
		return
	}
	ftz, sat, relu := x.has("ftz"), x.has("sat"), x.has("relu")
	round, rounds := nearest, false
	whole, integral := nearest, false
	for name, r := range roundings {
		if x.has(name) {
			round, rounds = r, true
		}
	}
	for name, r := range integerRoundings {
		if x.has(name) {
			whole, integral = r, true
		}
	}
	x.plain()
	if dst.float && dst.class == bits32 && to != "f32" && to != "tf32" {
		x.pairs(to, from, round, rounds && !ftz && !sat && !integral, relu)
		return
	}
	if !x.wants(2) {
		return
	}
	var f func(uint64) uint64
	switch {
	case !src.float && !dst.float:
		if rounds || integral || ftz || relu || from[0] == 'b' || to[0] == 'b' {
			x.unknown()
		}
		f = func(v uint64) uint64 { return extend(dst, extend(src, v)) }
		if sat {
			f = func(v uint64) uint64 { return clampInt(src, dst, extend(src, v)) }
		}
	case dst.float && !src.float: // an integer to a float
		if to != "f32" || !rounds || round == away || integral || relu || from[0] == 'b' || sat {
			x.unknown()
		}
		f = func(v uint64) uint64 { return uint64(bitsOf(intToFloat(src, extend(src, v), round))) }
	case !dst.float: // a float to an integer
		if from != "f32" || !integral || rounds || relu || to[0] == 'b' || dst.bytes < 4 {
			x.unknown()
		}
		f = func(v uint64) uint64 {
			if ftz {
				v = uint64(flushed(uint32(v)))
			}
			return floatToInt(dst, whole.whole(float64(float(uint32(v)))))
		}
	default:
		f = x.floatToFloat(from, to, ftz, sat, relu, round, rounds, whole, integral)
	}
	x.in.g1, x.in.run = f, changes
	x.in.a, x.in.wide = x.roomy(1, src, false)
	x.in.d, x.in.long = x.roomy(0, dst, true)
}

// roomy is operand i in a register that has at least a type's bits.
func (x *build) roomy(i int, t dataType, write bool) (reg int32, long bool) {
	o, c := x.operand(i), t.class
	if t.bytes == 1 {
		c = bits16
	}
	if o.kind == isReg && !t.float && o.reg.class > c {
		c = o.reg.class
	}
	if write {
		return x.dst(i, c), c == bits64
	}
	if o.kind != isReg {
		x.fail("%s is no register", o.text)
	}
	return x.src(i, c), c == bits64
}

// extend makes an integer of a type one of 64 bits.
func extend(t dataType, v uint64) uint64 {
	n := 64 - 8*t.bytes
	if t.signed {
		return uint64(int64(v<<n) >> n)
	}
	return v << n >> n
}

// clampInt is an integer's nearest one in a type (.sat).
func clampInt(from, to dataType, v uint64) uint64 {
	n := 8 * to.bytes
	if !from.signed {
		top := ^uint64(0) >> (64 - n)
		if to.signed {
			top >>= 1
		}
		return min(v, top)
	}
	lo, hi := int64(0), int64(math.MaxInt64)
	if to.signed {
		lo, hi = -1<<(n-1), 1<<(n-1)-1
	} else if n < 64 {
		hi = 1<<n - 1
	}
	return uint64(min(max(int64(v), lo), hi))
}

// intToFloat rounds an integer to f32.
func intToFloat(t dataType, v uint64, r rounding) float32 {
	var f float32
	var above, below bool // f lies above or below the integer
	if t.signed {
		i := int64(v)
		f = float32(i)
		above, below = float64(f) >= 0x1p63 || int64(f) > i, float64(f) < 0x1p63 && int64(f) < i
	} else {
		f = float32(v)
		above, below = float64(f) >= 0x1p64 || uint64(f) > v, float64(f) < 0x1p64 && uint64(f) < v
	}
	down := above && (r == downward || r == toZero && f > 0)
	up := below && (r == upward || r == toZero && f < 0)
	switch {
	case down:
		return math.Nextafter32(f, float32(math.Inf(-1)))
	case up:
		return math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// floatToInt clamps a whole number to a type. A NaN is 0, but the least number
// of 64 bits there.
func floatToInt(t dataType, v float64) uint64 {
	n := 8 * t.bytes
	lo, hi := 0.0, math.Ldexp(1, n)
	least, most := uint64(0), ^uint64(0)>>(64-n)
	if t.signed {
		lo, hi = -math.Ldexp(1, n-1), math.Ldexp(1, n-1)
		least, most = uint64(math.MaxUint64)<<(n-1), most>>1
	}
	switch {
	case v != v && t.bytes == 8:
		return 1 << 63
	case v != v:
		return 0
	case v <= lo:
		return least
	case v >= hi:
		return most
	case t.signed:
		return uint64(int64(v))
	}
	return uint64(v)
}

// floatToFloat converts between f32, f16, bf16 and tf32.
func (x *build) floatToFloat(from, to string, ftz, sat, relu bool, round rounding, rounds bool, whole rounding, integral bool) func(uint64) uint64 {
	read := func(v uint64) float32 { return float(uint32(v)) }
	if h := halves[from]; h.read != nil {
		read = func(v uint64) float32 { return h.read(uint16(v)) }
	}
	write := bitsOf
	narrower := false
	switch to {
	case "f16":
		write, narrower = func(f float32) uint32 { return uint32(toF16(f, round)) }, true
	case "bf16":
		write, narrower = func(f float32) uint32 { return uint32(toBF16(f, round)) }, true
	case "tf32":
		write, narrower = func(f float32) uint32 { return toTF32(f, round) }, true
	}
	switch {
	case from != "f32" && (to != "f32" || rounds || ftz), // halves widen, without rounding
		narrower && (!rounds || integral || ftz || sat || round == downward || round == upward || round == away && to != "tf32"),
		to == "f32" && (rounds || relu || from != "f32" && (integral || sat)):
		x.unknown()
	}
	return func(v uint64) uint64 {
		f := read(v)
		if ftz {
			f = float(flushed(math.Float32bits(f)))
		}
		if integral {
			f = float32(whole.whole(float64(f)))
		}
		if relu && !(f > 0) && f == f {
			f = 0
		}
		out := write(f)
		if sat {
			out = saturated(out)
		}
		return uint64(out)
	}
}

// pairs converts two f32 to a pair of 16 bits, the first to the upper half.
func (x *build) pairs(to, from string, round rounding, fine, relu bool) {
	write := toF16
	if to == "bf16x2" {
		write = toBF16
	}
	if from != "f32" || !fine || round != nearest && round != toZero || to != "bf16x2" && to != "f16x2" {
		x.unknown()
		return
	}
	if !x.wants(3) {
		return
	}
	x.in.d, x.in.a, x.in.b = x.dst(0, bits32), x.src(1, bits32), x.src(2, bits32)
	x.in.run = each2
	one := func(a uint32) uint32 {
		f := float(a)
		if relu && !(f > 0) && f == f {
			f = 0
		}
		return uint32(write(f, round))
	}
	x.in.f2 = func(a, b uint32) uint32 { return one(a)<<16 | one(b) }
}
