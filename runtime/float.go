package runtime

import (
	"math"

	"github.com/x448/float16"
)

// toBrain rounds to bfloat16, the upper half of an f32, to nearest even. A NaN
// keeps its sign and upper bits and stays one.
func toBrain(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func fromBrain(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// toHalf rounds to IEEE binary16, to nearest even.
func toHalf(f float32) uint16 { return float16.Fromfloat32(f).Bits() }

func fromHalf(b uint16) float32 { return float16.Frombits(b).Float32() }

// toOdd rounds an f64 to f32 so that rounding the result once more, to a
// narrower type, is as good as rounding the f64 itself: what is inexact gets an
// odd last bit (Boldo and Melquiond, "Emulation of a FMA and correctly rounded
// sums", 2008).
func toOdd(d float64) float32 {
	f := float32(d)
	if float64(f) == d || d != d {
		return f
	}
	b := math.Float32bits(f)
	if math.IsInf(float64(f), 0) {
		return math.Float32frombits(b - 1) // the largest finite value, which is odd
	}
	if b&1 == 1 {
		return f
	}
	// f is even: its odd neighbour on d's side, towards zero or away from it.
	if math.Abs(float64(f)) > math.Abs(d) {
		return math.Float32frombits(b - 1)
	}
	return math.Float32frombits(b + 1)
}
