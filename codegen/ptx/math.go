package ptx

import (
	"math"

	"github.com/memc-lang/memc/ir/kernel"
)

// functions are the operators of a map that are more than one instruction.
// They use correctly rounded arithmetic; of the special function unit's approximations
// Exp2Near is one, and a reciprocal begins with one. TestFunctionsAreAccurate bounds
// their errors: 1 unit in the last place for exp, exp2 and log, 3 at most for the others
// (for silu as long as e^-|a| is a normal number). A NaN gives a NaN.
var functions = map[kernel.ValOp]func(c *code, a operand) operand{
	kernel.Exp:      (*code).exp,
	kernel.Exp2:     (*code).exp2,
	kernel.Exp2Near: (*code).exp2Near,
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

// magic, 1.5·2²³, added to a number of less than 2²² in size leaves the nearest whole
// number in the low bits of the sum.
const magic = 3 << 22

// nearest gives the whole number nearest to a·by, and magic above it.
func (c *code) nearest(a operand, by float64) (n, above operand) {
	above = c.fma(a, num(float32(by)), num(magic))
	return c.sub(above, num(magic)), above
}

// exp: e^a = 2^n·e^x with n = round(a/ln 2). At 0 both n and x are 0 and the result is
// 1. Below -104 the result rounds to 0 and above 89 it overflows, so that n stays small.
func (c *code) exp(a operand) operand {
	a = c.f("min.NaN.f32", c.f("max.NaN.f32", a, num(-104)), num(89))
	n, above := c.nearest(a, math.Log2E)
	return c.scaled(c.expNear0(a, n), above)
}

// expNear0 is e^x for x = a - n·ln 2, |x| <= ln(2)/2, where the Taylor polynomial of
// degree 7 is off by 5e-9 of its value.
func (c *code) expNear0(a, n operand) operand {
	hi, lo := split2(-math.Ln2)
	x := c.fma(n, lo, c.fma(n, hi, a))
	return c.poly(x, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 1.0/2, 1, 1)
}

// scaled is y·2^n for magic + n, by a product of two normal floats.
func (c *code) scaled(y, above operand) operand {
	i := c.r("sub.s32", c.r("mov.b32", above), imm(int64(math.Float32bits(magic))))
	half := c.r("shr.s32", i, imm(1))
	return c.mul(c.mul(y, c.powerOfTwo(half)), c.powerOfTwo(c.r("sub.s32", i, half)))
}

// powerOfTwo is 2^i for -126 <= i <= 127.
func (c *code) powerOfTwo(i operand) operand {
	return c.f("mov.b32", c.r("shl.b32", c.r("add.s32", i, imm(127)), imm(23)))
}

// exp2: 2^a = 2^n·2^x with n = round(a) and |x| <= ½, where the polynomial of
// degree 6 is off by 2e-9 of its value. Below -126 it is 0.
func (c *code) exp2(a operand) operand {
	none := c.p("setp.lt.f32", a, num(-126))
	a = c.f("min.NaN.f32", c.f("max.NaN.f32", a, num(-126)), num(129))
	n, above := c.nearest(a, 1)
	y := c.poly(c.sub(a, n), 0.0001535336, 0.0013398874, 0.009618437, 0.055503324, 0.24022648, 0.69314718, 1)
	return c.f("selp.f32", num(0), c.scaled(y, above), none)
}

// exp2Near is off by 2⁻²²·⁵ of its value at most (PTX ISA, ex2), and 0 where that is no
// normal float.
func (c *code) exp2Near(a operand) operand { return c.f("ex2.approx.ftz.f32", a) }

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

	// With f = m-1, which is exact, 2s is f - s·f, and s·f is f²/2 - s·f²/2: what is
	// rounded is small beside f.
	f := c.sub(m, num(1))
	s := c.div(f, c.add(m, num(1)))
	z := c.mul(s, s)
	rest := c.mul(z, c.poly(z, 2.0/9, 2.0/7, 2.0/5, 2.0/3))
	square := c.mul(c.mul(f, num(0.5)), f)
	hi, lo := split2(math.Ln2)
	tail := c.fma(s, c.add(square, rest), c.mul(ef, lo))
	y := c.fma(ef, hi, c.sub(f, c.sub(square, tail)))

	inf := num(float32(math.Inf(1)))
	y = c.f("selp.f32", y, a, c.p("setp.lt.f32", a, inf)) // +inf, and NaN
	y = c.f("selp.f32", num(float32(math.Inf(-1))), y, c.p("setp.eq.f32", a, num(0)))
	return c.f("selp.f32", num(float32(math.NaN())), y, c.p("setp.lt.f32", a, num(0)))
}

// artanh is 2·artanh(s) by the series 2s + 2s³/3 + 2s⁵/5 + ... to s¹⁵.
func (c *code) artanh(s operand) operand {
	z := c.mul(s, s)
	rest := c.mul(z, c.poly(z, 2.0/15, 2.0/13, 2.0/11, 2.0/9, 2.0/7, 2.0/5, 2.0/3))
	return c.fma(s, rest, c.add(s, s))
}

// rsqrt: 1/√a, both steps correctly rounded.
func (c *code) rsqrt(a operand) operand {
	return c.div(num(1), c.f("sqrt.rn.f32", a))
}

// decay is e^-|a|. As it never overflows, 2^n is 2^(n+64), a normal float, times 2^-64.
func (c *code) decay(a operand) operand {
	a = c.f("max.NaN.f32", c.f("neg.f32", c.f("abs.f32", a)), num(-104))
	n, above := c.nearest(a, math.Log2E)
	power := c.r("add.s32", c.r("shl.b32", c.r("mov.b32", above), imm(23)), imm((127+64)<<23))
	return c.mul(c.mul(c.expNear0(a, n), c.f("mov.b32", power)), num(0x1p-64))
}

// sigmoid: 1/(1+t) for a >= 0 and t/(1+t) below, with t = e^-|a|.
func (c *code) sigmoid(a operand) operand {
	t := c.decay(a)
	top := c.f("selp.f32", num(1), t, c.p("setp.ge.f32", a, num(0)))
	return c.mul(top, c.reciprocal(c.add(t, num(1))))
}

// reciprocal is 1/a for a normal a with a normal reciprocal: the special function unit's,
// which is off by 2⁻²³ of its value (PTX ISA, rcp), and a step of Newton's.
func (c *code) reciprocal(a operand) operand {
	r := c.f("rcp.approx.ftz.f32", a)
	return c.fma(c.fma(c.f("neg.f32", a), r, num(1)), r, r)
}

func (c *code) silu(a operand) operand { return c.mul(a, c.sigmoid(a)) }

// softplus: max(a, 0) + ln(1+t) with t = e^-|a|; ln(1+t) = 2·artanh(t/(t+2)),
// of an argument of at most 1/3, where the series to s¹⁵ is off by 2e-9 of its
// value.
func (c *code) softplus(a operand) operand {
	t := c.decay(a)
	tail := c.artanh(c.div(t, c.add(t, num(2))))
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
