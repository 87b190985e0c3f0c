package sim

import (
	"math"

	"github.com/x448/float16"
)

// semantics gives what each computing instruction makes of its operands. A
// register of 32 bits is the lower half of the value, a predicate 0 or 1.
var semantics = map[string]func(a, b, c uint64) uint64{
	"mov.u32": one(func(a uint32) uint32 { return a }),
	"mov.b32": one(func(a uint32) uint32 { return a }),
	"mov.f32": one(func(a uint32) uint32 { return a }),
	"mov.u64": func(a, _, _ uint64) uint64 { return a },

	"cvta.to.global.u64": func(a, _, _ uint64) uint64 { return a },

	"add.s32":    two(func(a, b int32) int32 { return a + b }),
	"sub.s32":    two(func(a, b int32) int32 { return a - b }),
	"mul.lo.s32": two(func(a, b int32) int32 { return a * b }),
	"mad.lo.s32": func(a, b, c uint64) uint64 { return uint64(uint32(a)*uint32(b) + uint32(c)) },
	"div.s32":    two(func(a, b int32) int32 { return quo(a, b) }),
	"rem.s32":    two(func(a, b int32) int32 { return a - quo(a, b)*b }),
	"div.u32":    two(func(a, b uint32) uint32 { return quoU(a, b) }),
	"min.s32":    two(func(a, b int32) int32 { return min(a, b) }),
	"max.s32":    two(func(a, b int32) int32 { return max(a, b) }),
	"neg.s32":    one(func(a int32) int32 { return -a }),
	"abs.s32":    one(func(a int32) int32 { return max(a, -a) }),
	"and.b32":    two(func(a, b uint32) uint32 { return a & b }),
	"shl.b32":    two(func(a, b uint32) uint32 { return a << b }),
	"shr.u32":    two(func(a, b uint32) uint32 { return a >> b }),
	"shr.s32":    func(a, b, _ uint64) uint64 { return uint64(uint32(int32(a) >> uint32(b))) },

	"add.s64":      func(a, b, _ uint64) uint64 { return a + b },
	"sub.s64":      func(a, b, _ uint64) uint64 { return a - b },
	"mul.lo.s64":   func(a, b, _ uint64) uint64 { return a * b },
	"mad.lo.s64":   func(a, b, c uint64) uint64 { return a*b + c },
	"mad.wide.u32": func(a, b, c uint64) uint64 { return uint64(uint32(a))*uint64(uint32(b)) + c },
	"div.s64":      func(a, b, _ uint64) uint64 { return uint64(quo(int64(a), int64(b))) },
	"rem.s64":      func(a, b, _ uint64) uint64 { return uint64(int64(a) - quo(int64(a), int64(b))*int64(b)) },
	"min.s64":      func(a, b, _ uint64) uint64 { return uint64(min(int64(a), int64(b))) },
	"max.s64":      func(a, b, _ uint64) uint64 { return uint64(max(int64(a), int64(b))) },
	"neg.s64":      func(a, _, _ uint64) uint64 { return -a },
	"abs.s64":      func(a, _, _ uint64) uint64 { return uint64(max(int64(a), -int64(a))) },
	"and.b64":      func(a, b, _ uint64) uint64 { return a & b },
	"xor.b64":      func(a, b, _ uint64) uint64 { return a ^ b },
	"shr.s64":      func(a, b, _ uint64) uint64 { return uint64(int64(a) >> uint32(b)) },

	"add.rn.f32":   float2(func(a, b float32) float32 { return a + b }),
	"sub.rn.f32":   float2(func(a, b float32) float32 { return a - b }),
	"mul.rn.f32":   float2(func(a, b float32) float32 { return a * b }),
	"div.rn.f32":   float2(func(a, b float32) float32 { return a / b }),
	"min.NaN.f32":  float2(func(a, b float32) float32 { return min(a, b) }),
	"max.NaN.f32":  float2(func(a, b float32) float32 { return max(a, b) }),
	"sqrt.rn.f32":  float1(func(a float32) float32 { return float32(math.Sqrt(float64(a))) }),
	"neg.f32":      func(a, _, _ uint64) uint64 { return a ^ 1<<31 },
	"abs.f32":      func(a, _, _ uint64) uint64 { return a &^ (1 << 31) },
	"copysign.f32": func(a, b, _ uint64) uint64 { return a&(1<<31) | b&^(1<<31) },
	"fma.rn.f32": func(a, b, c uint64) uint64 {
		return bits(fma32(float(a), float(b), float(c)))
	},

	"setp.lt.s32": two(func(a, b int32) int32 { return truth(a < b) }),
	"setp.le.s32": two(func(a, b int32) int32 { return truth(a <= b) }),
	"setp.eq.s32": two(func(a, b int32) int32 { return truth(a == b) }),
	"setp.ne.s32": two(func(a, b int32) int32 { return truth(a != b) }),
	"setp.ge.s32": two(func(a, b int32) int32 { return truth(a >= b) }),
	"setp.lt.s64": func(a, b, _ uint64) uint64 { return uint64(truth(int64(a) < int64(b))) },
	"setp.le.s64": func(a, b, _ uint64) uint64 { return uint64(truth(int64(a) <= int64(b))) },
	"setp.eq.s64": func(a, b, _ uint64) uint64 { return uint64(truth(a == b)) },
	"setp.ne.s64": func(a, b, _ uint64) uint64 { return uint64(truth(a != b)) },
	"setp.ge.s64": func(a, b, _ uint64) uint64 { return uint64(truth(int64(a) >= int64(b))) },
	"setp.lt.f32": func(a, b, _ uint64) uint64 { return uint64(truth(float(a) < float(b))) },
	"setp.le.f32": func(a, b, _ uint64) uint64 { return uint64(truth(float(a) <= float(b))) },
	"setp.eq.f32": func(a, b, _ uint64) uint64 { return uint64(truth(float(a) == float(b))) },
	"setp.ge.f32": func(a, b, _ uint64) uint64 { return uint64(truth(float(a) >= float(b))) },
	"and.pred":    func(a, b, _ uint64) uint64 { return a & b },
	"or.pred":     func(a, b, _ uint64) uint64 { return a | b },
	"not.pred":    func(a, _, _ uint64) uint64 { return a ^ 1 },
	"selp.b32":    choose,
	"selp.b64":    choose,
	"selp.f32":    choose,

	"cvt.s64.s32":     func(a, _, _ uint64) uint64 { return uint64(int32(a)) },
	"cvt.u64.u32":     func(a, _, _ uint64) uint64 { return uint64(uint32(a)) },
	"cvt.u32.u64":     func(a, _, _ uint64) uint64 { return uint64(uint32(a)) },
	"cvt.u32.u16":     func(a, _, _ uint64) uint64 { return uint64(uint16(a)) },
	"cvt.rn.f32.s32":  func(a, _, _ uint64) uint64 { return bits(float32(int32(a))) },
	"cvt.rn.f32.s64":  func(a, _, _ uint64) uint64 { return bits(float32(int64(a))) },
	"cvt.rni.s32.f32": func(a, _, _ uint64) uint64 { return uint64(uint32(toInt32(math.RoundToEven(float64(float(a)))))) },
	"cvt.rzi.s32.f32": func(a, _, _ uint64) uint64 { return uint64(uint32(toInt32(float64(float(a))))) },
	"cvt.rzi.s64.f32": func(a, _, _ uint64) uint64 { return uint64(toInt64(float64(float(a)))) },
	"cvt.rni.f32.f32": float1(func(a float32) float32 { return float32(math.RoundToEven(float64(a))) }),
	"cvt.rmi.f32.f32": float1(func(a float32) float32 { return float32(math.Floor(float64(a))) }),
	"cvt.f32.f16":     func(a, _, _ uint64) uint64 { return bits(float16.Frombits(uint16(a)).Float32()) },
	"cvt.rn.f16.f32":  func(a, _, _ uint64) uint64 { return uint64(float16.Fromfloat32(float(a)).Bits()) },
	"cvt.rn.bf16.f32": func(a, _, _ uint64) uint64 { return uint64(bf16(uint32(a))) },
}

type word interface{ int32 | uint32 }

func one[T word](f func(a T) T) func(a, b, c uint64) uint64 {
	return func(a, _, _ uint64) uint64 { return uint64(uint32(f(T(a)))) }
}

func two[T word](f func(a, b T) T) func(a, b, c uint64) uint64 {
	return func(a, b, _ uint64) uint64 { return uint64(uint32(f(T(a), T(b)))) }
}

func float1(f func(a float32) float32) func(a, b, c uint64) uint64 {
	return func(a, _, _ uint64) uint64 { return bits(f(float(a))) }
}

func float2(f func(a, b float32) float32) func(a, b, c uint64) uint64 {
	return func(a, b, _ uint64) uint64 { return bits(f(float(a), float(b))) }
}

func float(a uint64) float32 { return math.Float32frombits(uint32(a)) }
func bits(f float32) uint64  { return uint64(math.Float32bits(f)) }

func choose(a, b, p uint64) uint64 {
	if p != 0 {
		return a
	}
	return b
}

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// quo truncates; what a division by zero gives is not defined, and is -1 here.
func quo[T int32 | int64](a, b T) T {
	if b == 0 {
		return -1
	}
	return a / b
}

func quoU(a, b uint32) uint32 {
	if b == 0 {
		return math.MaxUint32
	}
	return a / b
}

// toInt32 and toInt64 saturate, and give 0 and the least number for a NaN (PTX
// ISA, "cvt").
func toInt32(f float64) int32 {
	switch {
	case f != f:
		return 0
	case f <= math.MinInt32:
		return math.MinInt32
	case f >= math.MaxInt32:
		return math.MaxInt32
	}
	return int32(f)
}

func toInt64(f float64) int64 {
	switch {
	case f != f || f <= math.MinInt64:
		return math.MinInt64
	case f >= -math.MinInt64:
		return math.MaxInt64
	}
	return int64(f)
}

// fma32 rounds a·b + c once. The product is exact in float64; the sum is
// rounded to odd there, which keeps enough for the rounding to float32.
func fma32(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	s := p + q
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	t := s - p
	rest := (p - (s - t)) + (q - t)
	n := math.Float64bits(s)
	if rest != 0 && n&1 == 0 {
		if (rest > 0) == (s > 0) {
			n++
		} else {
			n--
		}
	}
	return float32(math.Float64frombits(n))
}

// bf16 rounds an f32 to nearest even; a NaN is 0x7fff.
func bf16(a uint32) uint16 {
	if a&0x7fffffff > 0x7f800000 {
		return 0x7fff
	}
	return uint16((a + 0x7fff + a>>16&1) >> 16)
}
