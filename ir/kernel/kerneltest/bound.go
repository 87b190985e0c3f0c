package kerneltest

import (
	"math"

	"github.com/memc-lang/memc/ir/kernel"
)

// bound is what is known of a floating value: |v| <= b, and an f32 computation
// is at most e from the real number. Where e is 0, every value is a multiple of
// 2^-q and has at most 24 bits: f32 arithmetic makes no error.
type bound struct {
	b, e float64
	q    int
}

// unit is the error that one operation may make, relative to its largest
// result: 16 half units in the last place, for functions.
const unit = 1.0 / (1 << 20)

// made is the bound of a result with the given error of its operands: exact
// where that is 0 and the bits suffice.
func made(b, e float64, q int) bound {
	if e > 0 || b*math.Exp2(float64(q)) > 1<<24 {
		return bound{b: b, e: e + b*unit}
	}
	return bound{b: b, q: q}
}

func (x bound) exact() bool { return x.e == 0 }

// useful reports whether an error is small enough for others to build on it.
func (x bound) useful() bool { return x.e <= 1e-3 && x.b <= 1e6 }

func (x bound) plus(y bound) bound { return made(x.b+y.b, x.e+y.e, max(x.q, y.q)) }

func (x bound) times(y bound) bound {
	return made(x.b*y.b, x.b*y.e+y.b*x.e+x.e*y.e, x.q+y.q)
}

// rounded is the bound of such a value rounded to bf16: exact values stay so, on
// a coarser grid; others may fall on either side of a step.
func (x bound) rounded() bound {
	if x.exact() {
		return made(x.b*(1+1.0/256), 0, x.q)
	}
	return bound{b: x.b * (1 + 1.0/256), e: x.e + x.b/(1<<7)}
}

// sum is the bound of n such values added up.
func (x bound) sum(n int) bound {
	k := float64(n)
	s := made(k*x.b, k*x.e, x.q)
	if !s.exact() {
		s.e += k * k * x.b * unit / 8
	}
	return s
}

// join is the bound of either value.
func (x bound) join(y bound) bound {
	return bound{max(x.b, y.b), max(x.e, y.e), max(x.q, y.q)}.checked()
}

// checked is x, inexact where it has more bits than an f32.
func (x bound) checked() bound {
	if x.exact() {
		return made(x.b, 0, x.q)
	}
	return x
}

// through is the bound of a function's result: at most b, with the slope at
// most slope.
func (x bound) through(b, slope float64) bound {
	return bound{b: b, e: slope*x.e + b*unit}
}

// tolerance is how far two computations may be apart in a buffer of type e.
func (x bound) tolerance(e kernel.Elem) float64 {
	if x.exact() {
		return 0
	}
	t := 2 * x.e
	switch e {
	case kernel.BF16:
		t += x.b / (1 << 7)
	case kernel.F16:
		t += x.b/(1<<10) + 1e-7
	}
	return t
}
