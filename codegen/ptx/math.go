package ptx

import (
	"math"

	"github.com/memc-lang/memc/ir/kernel"
)

// functions are the operators of a map that are more than one instruction.
// Powers of two and reciprocals are the special function unit's, which are off by
// 2⁻²²·⁵ and 2⁻²³ of their values at most (PTX ISA, ex2 and rcp); all else is correctly
// rounded arithmetic. TestFunctionsAreAccurate bounds the errors: 1 unit in the last place
// for log, 3 for exp, 6 at most for the others (for silu as long as e^-|a| is a
// normal number). A NaN gives a NaN.
var functions = map[kernel.ValOp]func(c *code, a operand) operand{
	kernel.Exp:      (*code).exp,
	kernel.Exp2:     (*code).exp2,
	kernel.Log:      (*code).log,
	kernel.Rsqrt:    (*code).rsqrt,
	kernel.Sigmoid:  (*code).sigmoid,
	kernel.Silu:     (*code).silu,
	kernel.Softplus: (*code).softplus,
	kernel.Tanh:     (*code).tanh,
	kernel.CosTurn:  (*code).cosTurn,
	kernel.SinTurn:  (*code).sinTurn,
}

func (c *code) add(a, b operand) operand    { return c.f("add.rn.f32", a, b) }
func (c *code) sub(a, b operand) operand    { return c.f("sub.rn.f32", a, b) }
func (c *code) mul(a, b operand) operand    { return c.f("mul.rn.f32", a, b) }
func (c *code) div(a, b operand) operand    { return c.f("div.rn.f32", a, b) }
func (c *code) fma(a, b, d operand) operand { return c.f("fma.rn.f32", a, b, d) }

// poly is the polynomial with these coefficients, that of the highest power
// first, at x.
func (c *code) poly(x operand, coeffs ...float64) operand {
	sum := num(float32(coeffs[0]))
	for _, k := range coeffs[1:] {
		sum = c.fma(x, sum, num(float32(k)))
	}
	return sum
}

// split2 is a constant as the sum of a short float, whose products with small
// integers are exact, and a float with what remains.
func split2(v float64) (hi, lo operand) {
	h := math.Float32frombits(math.Float32bits(float32(v)) &^ 0xfff)
	return num(h), num(float32(v - float64(h)))
}

// exp: e^a = 2^t·2^r with t = a·log2(e), rounded, and r what it lacks, up to 2⁻¹⁸,
// where 2^r is 1 + r·ln 2. Below -105 the result is 0 and above 89 it overflows: a is
// kept there, as r of an infinity is a NaN.
func (c *code) exp(a operand) operand { return c.falling(c.f("min.NaN.f32", a, num(89))) }

// falling is exp of a number that is at most 89.
func (c *code) falling(a operand) operand {
	a = c.f("max.NaN.f32", a, num(-105))
	log2e := float32(math.Log2E)
	t := c.mul(a, num(log2e))
	r := c.fma(a, num(log2e), c.f("neg.f32", t))
	r = c.fma(a, num(float32(math.Log2E-float64(log2e))), r)
	return c.mul(c.f("ex2.approx.f32", t), c.fma(r, num(math.Ln2), num(1)))
}

// exp2: where the result is no normal float it is 0.
func (c *code) exp2(a operand) operand { return c.f("ex2.approx.ftz.f32", a) }

// log: a = m·2^e with √½ <= m < √2; ln m = 2·artanh(s) with s = (m-1)/(m+1),
// |s| <= 0.172, where the series to s⁹ is off by 2e-9 of its value.
func (c *code) log(a operand) operand {
	// Subnormal numbers are scaled to normal ones first.
	small := c.p("setp.lt.f32", a, num(0x1p-126))
	x := c.f("selp.f32", c.mul(a, num(0x1p23)), a, small)
	bias := c.f("selp.f32", num(-23), num(0), small)

	bits := c.r("mov.b32", x)
	half := int64(math.Float32bits(math.Sqrt2 / 2))
	e := c.r("shr.s32", c.r("sub.s32", bits, imm(half)), imm(23))
	m := c.f("mov.b32", c.r("sub.s32", bits, c.r("shl.b32", e, imm(23))))
	ef := c.add(c.f("cvt.rn.f32.s32", e), bias)

	s := c.div(c.sub(m, num(1)), c.add(m, num(1)))
	series := c.artanh(s, 4)
	hi, lo := split2(math.Ln2)
	// Small parts first: e·ln 2 has the larger size.
	y := c.fma(ef, hi, c.fma(ef, lo, series))

	inf := num(float32(math.Inf(1)))
	y = c.f("selp.f32", y, a, c.p("setp.lt.f32", a, inf)) // +inf, and NaN
	y = c.f("selp.f32", num(float32(math.Inf(-1))), y, c.p("setp.eq.f32", a, num(0)))
	return c.f("selp.f32", num(float32(math.NaN())), y, c.p("setp.lt.f32", a, num(0)))
}

// artanh is 2·artanh(s) by the series 2s + 2s³/3 + 2s⁵/5 + ... with that many
// terms behind the first.
func (c *code) artanh(s operand, terms int) operand {
	coeffs := make([]float64, terms)
	for i := range coeffs {
		coeffs[i] = 2 / float64(2*(terms-i)+1)
	}
	z := c.mul(s, s)
	rest := c.mul(z, c.poly(z, coeffs...))
	return c.fma(s, rest, c.add(s, s))
}

// rsqrt: 1/√a, both steps correctly rounded.
func (c *code) rsqrt(a operand) operand {
	return c.div(num(1), c.f("sqrt.rn.f32", a))
}

// decay is e^-|a|, which never overflows.
func (c *code) decay(a operand) operand {
	return c.falling(c.f("neg.f32", c.f("abs.f32", a)))
}

// sigmoid: 1/(1+t) for a >= 0 and t/(1+t) below, with t = e^-|a|.
func (c *code) sigmoid(a operand) operand {
	t := c.decay(a)
	top := c.f("selp.f32", num(1), t, c.p("setp.ge.f32", a, num(0)))
	return c.mul(top, c.f("rcp.approx.ftz.f32", c.add(t, num(1))))
}

func (c *code) silu(a operand) operand { return c.mul(a, c.sigmoid(a)) }

// softplus: max(a, 0) + ln(1+t) with t = e^-|a|; ln(1+t) = 2·artanh(t/(t+2)),
// of an argument of at most 1/3, where the series to s¹⁵ is off by 2e-9 of its
// value.
func (c *code) softplus(a operand) operand {
	t := c.decay(a)
	tail := c.artanh(c.div(t, c.add(t, num(2))), 7)
	return c.add(c.f("max.NaN.f32", a, num(0)), tail)
}

// tanh: near 0 Lambert's continued fraction to its fifth step, a rational
// function that is off by 1e-9 of its value up to 0.625; beyond, 1 - 2/(1+e^2|a|).
func (c *code) tanh(a operand) operand {
	z := c.mul(a, a)
	near0 := c.div(c.mul(a, c.poly(z, 1, 105, 945)), c.poly(z, 15, 420, 945))
	size := c.f("abs.f32", a)
	grown := c.exp(c.add(size, size))
	far := c.sub(num(1), c.div(num(2), c.add(grown, num(1))))
	far = c.f("copysign.f32", a, far)
	return c.f("selp.f32", near0, far, c.p("setp.lt.f32", size, num(0.625)))
}

// turn gives cos and sin of 2πx for the distance x of a to the nearest quarter
// of a turn, |x| <= 1/8, and the number of that quarter. The distance is exact;
// the Taylor polynomials are off by less than 3e-9 of their values.
func (c *code) turn(a operand) (cos, sin, quarter operand) {
	n := c.f("cvt.rni.f32.f32", c.mul(a, num(4)))
	x := c.mul(c.fma(n, num(-0.25), a), num(2*math.Pi))
	z := c.mul(x, x)
	cos = c.poly(z, -1.0/3628800, 1.0/40320, -1.0/720, 1.0/24, -1.0/2, 1)
	sin = c.fma(c.mul(x, z), c.poly(z, 1.0/362880, -1.0/5040, 1.0/120, -1.0/6), x)
	return cos, sin, c.r("cvt.rni.s32.f32", n)
}

// choose2 gives even in even quarters and odd in odd ones, negated where bit 1
// of sign is set.
func (c *code) choose2(quarter, sign, even, odd operand) operand {
	isOdd := c.p("setp.ne.s32", c.r("and.b32", quarter, imm(1)), imm(0))
	v := c.f("selp.f32", odd, even, isOdd)
	minus := c.p("setp.ne.s32", c.r("and.b32", sign, imm(2)), imm(0))
	return c.f("selp.f32", c.f("neg.f32", v), v, minus)
}

func (c *code) cosTurn(a operand) operand {
	cos, sin, quarter := c.turn(a)
	return c.choose2(quarter, c.r("add.s32", quarter, imm(1)), cos, sin)
}

func (c *code) sinTurn(a operand) operand {
	cos, sin, quarter := c.turn(a)
	return c.choose2(quarter, quarter, sin, cos)
}
