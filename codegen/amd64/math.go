package amd64

import (
	"math"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// The functions of a map, on 16 lanes of f32. The largest errors, measured
// against float64 by TestMathErrors, are stated at each one in units of the
// last place of the exact result. Denormal numbers are neither flushed nor
// assumed away, and the rounding mode is never touched.
//
// The polynomials interpolate at Chebyshev nodes; each coefficient is the
// float32 nearest to the exact one.

// horner is c[0] + x*(c[1] + x*(c[2] + ...)).
func (f *fn) horner(x value.Value, c ...float32) value.Value {
	p := vnum(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		p = f.fma(p, x, vnum(c[i]))
	}
	return p
}

func (f *fn) bits(x value.Value) value.Value  { return f.convert(bitcast, x, i32) }
func (f *fn) float(x value.Value) value.Value { return f.convert(bitcast, x, f32) }

func (f *fn) abs(x value.Value) value.Value {
	return f.float(f.bin(and, f.bits(x), vint(v32, math.MaxInt32)))
}

// signed gives x, which is not negative, the sign of s.
func (f *fn) signed(x, s value.Value) value.Value {
	return f.float(f.bin(or, f.bits(x), f.bin(and, f.bits(s), vint(v32, math.MinInt32))))
}

// negated is -x, also for zeros.
func (f *fn) negated(x value.Value) value.Value {
	return f.float(f.bin(xor, f.bits(x), vint(v32, math.MinInt32)))
}

// least is min(a, b), and b where one is not a number; so is most.
func (f *fn) least(a, b value.Value) value.Value {
	return f.choose(f.fcmp(enum.FPredOLT, a, b), a, b)
}
func (f *fn) most(a, b value.Value) value.Value {
	return f.choose(f.fcmp(enum.FPredOGT, a, b), a, b)
}

const (
	ln2Hi = 0.693359375 // 9 bits: n*ln2Hi is exact
	ln2Lo = -0.000212194442
)

// exp is e^x to 1.1 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, and e^r = 1 + r + r²q(r).
func (f *fn) exp(x value.Value) value.Value { return f.expFrom(-104, x) }

// expFrom is exp for x from least on, and e^least below. Below -104 e^x is 0,
// above 89 infinite; the bounds keep n finite.
func (f *fn) expFrom(least float32, x value.Value) value.Value {
	x = f.most(vnum(least), x)
	x = f.least(vnum(89), x)
	n := f.intrinsic("llvm.nearbyint.v16f32", vf32, f.bin(fmul, x, vnum(math.Log2E)))
	r := f.fma(n, vnum(-ln2Hi), x)
	r = f.fma(n, vnum(-ln2Lo), r)
	q := f.horner(r, 0.5, 0.166665763, 0.0416665524, 0.00836323295, 0.00139262504)
	p := f.bin(fadd, f.fma(q, f.bin(fmul, r, r), r), vnum(1))
	return f.scaled(p, n)
}

// exp2 is 2^x to 1.1 ulp: x = n + r, |r| <= ½, and 2^r = 1 + r·q(r) with the
// polynomial of degree 6 that is off by 2e-9 of its value at most. Below -126 it
// is 0: a denormal result would take the processor a hundred cycles.
func (f *fn) exp2(x value.Value) value.Value {
	none := f.fcmp(enum.FPredOLT, x, vnum(-126))
	n, r := f.halves(x)
	q := f.horner(r, 0.69314718, 0.24022648, 0.055503324, 0.009618437, 0.0013398874, 0.0001535336)
	return f.choose(none, vnum(0), f.scaled(f.fma(r, q, vnum(1)), n))
}

// halves is x as a whole number n and r from -½ to ½, for the use in scaled.
func (f *fn) halves(x value.Value) (n, r value.Value) {
	if f.machine.Scale { // r is 0 for what is infinite, which n then is
		const nearest, exact = 0, 8 // rounding, and no exception where there is a rest
		r = f.intrinsic("llvm.x86.avx512.mask.reduce.ps.512", vf32, x, c32(nearest|exact), undefLanes, mask16, c32(4))
		return f.bin(fsub, x, r), r
	}
	x = f.least(vnum(129), f.most(vnum(-126), x))
	n = f.intrinsic("llvm.nearbyint.v16f32", vf32, x)
	return n, f.bin(fsub, x, n)
}

// scaled is p * 2^n for whole n in [-150, 129], and where an instruction does it any n.
func (f *fn) scaled(p, n value.Value) value.Value {
	if f.machine.Scale {
		return f.intrinsic("llvm.x86.avx512.mask.scalef.ps.512", vf32, p, n, undefLanes, mask16, c32(4))
	}
	// Two factors, because 2^n itself may be denormal or infinite.
	k := f.convert(fptosi, n, i32)
	k1 := f.bin(ashr, k, vint(v32, 1))
	k2 := f.sub(k, k1)
	power := func(k value.Value) value.Value {
		return f.float(f.bin(shl, f.add(k, vint(v32, 127)), vint(v32, 23)))
	}
	return f.bin(fmul, f.bin(fmul, p, power(k1)), power(k2))
}

var (
	undefLanes value.Value = &literal{vf32, "zeroinitializer"}
	mask16     value.Value = &literal{i16, "-1"}
)

// logNormal is ln x for finite x >= 2^-126, plus shift * ln 2, to 1 ulp. With
// x = 2^e m and m within a factor of √2 of 1, f = m-1 and s = f/(2+f),
// ln m = 2 artanh s = f - f²/2 + s(f²/2 + R(s²)).
func (f *fn) logNormal(x, shift value.Value) value.Value {
	b := f.bits(x)
	e := f.bin(ashr, f.sub(b, vint(v32, 0x3f3504f3)), vint(v32, 23)) // √½
	m := f.float(f.sub(b, f.bin(shl, e, vint(v32, 23))))
	k := f.convert(sitofp, e, f32)
	if shift != nil {
		k = f.bin(fadd, k, shift)
	}
	g := f.bin(fsub, m, vnum(1))
	s := f.bin(fdiv, g, f.bin(fadd, m, vnum(1)))
	z := f.bin(fmul, s, s)
	r := f.bin(fmul, z, f.horner(z, 0.666666687, 0.400001228, 0.285507798, 0.233316138))
	h := f.bin(fmul, f.bin(fmul, g, vnum(0.5)), g)
	t := f.fma(k, vnum(ln2Lo), f.bin(fmul, s, f.bin(fadd, h, r)))
	return f.fma(k, vnum(ln2Hi), f.bin(fsub, g, f.bin(fsub, h, t)))
}

// log is ln x to 1 ulp; -inf at 0, not a number below.
func (f *fn) log(x value.Value) value.Value {
	tiny := f.fcmp(enum.FPredOLT, x, vnum(0x1p-126))
	y := f.choose(tiny, f.bin(fmul, x, vnum(0x1p23)), x)
	l := f.logNormal(y, f.choose(tiny, vnum(-23), vnum(0)))
	inf := float32(math.Inf(1))
	l = f.choose(f.fcmp(enum.FPredOEQ, x, vnum(inf)), vnum(inf), l)
	l = f.choose(f.fcmp(enum.FPredOEQ, x, vnum(0)), vnum(-inf), l)
	return f.choose(f.fcmp(enum.FPredUGE, x, vnum(0)), f.choose(f.fcmp(enum.FPredUNO, x, x), x, l), vnum(float32(math.NaN())))
}

// sigmoid is 1/(1+e^-x) to 2.5 ulp; results below 2^-127 become 0.
func (f *fn) sigmoid(x value.Value) value.Value {
	return f.bin(fdiv, vnum(1), f.onePlusExp(f.negated(x)))
}

// onePlusExp is 1+e^x. Below -87 that is 1, and e^x would be denormal, which
// takes the processor a hundred cycles.
func (f *fn) onePlusExp(x value.Value) value.Value {
	return f.bin(fadd, vnum(1), f.expFrom(-87, x))
}

// silu is x/(1+e^-x) to 2.5 ulp; 0 at -inf.
func (f *fn) silu(x value.Value) value.Value {
	return f.bin(fdiv, f.most(vnum(-math.MaxFloat32), x), f.onePlusExp(f.negated(x)))
}

// softplus is ln(1+e^x) = max(x,0) + log1p(e^-|x|), to 2 ulp.
func (f *fn) softplus(x value.Value) value.Value {
	t := f.exp(f.negated(f.abs(x)))
	// ln(1+t) = ln u + (t-(u-1))/u with u the rounded 1+t.
	u := f.bin(fadd, t, vnum(1))
	c := f.bin(fdiv, f.bin(fsub, t, f.bin(fsub, u, vnum(1))), u)
	l := f.bin(fadd, f.logNormal(u, nil), c)
	return f.bin(fadd, f.most(vnum(0), x), l)
}

// tanh is x + x³P(x²) near 0 and 1 - 2/(e^2|x|+1) elsewhere, to 2 ulp.
func (f *fn) tanh(x value.Value) value.Value {
	a := f.abs(x)
	z := f.bin(fmul, x, x)
	near := f.fma(f.bin(fmul, a, z), f.horner(z, -0.333333284, 0.133327693, -0.0538509078, 0.0209971797, -0.00609671418), a)
	far := f.bin(fsub, vnum(1), f.bin(fdiv, vnum(2), f.bin(fadd, f.exp(f.bin(fadd, a, a)), vnum(1))))
	return f.signed(f.choose(f.fcmp(enum.FPredOLT, a, vnum(0.625)), near, far), x)
}

// sinQuarter is sin 2πy for |y| <= 1/4.
func (f *fn) sinQuarter(y value.Value) value.Value {
	z := f.bin(fmul, y, y)
	p := f.horner(z, -41.3417015, 81.6052246, -76.704277, 42.0097809, -14.3939667)
	// 2π in two parts, the second one with the polynomial.
	p = f.fma(p, z, vnum(-1.74845553e-7))
	return f.fma(y, vnum(6.28318548), f.bin(fmul, y, p))
}

// cosTurn is cos 2πx for |x| <= 1/2, off by at most 1.4e-7; 1 at 0.
func (f *fn) cosTurn(x value.Value) value.Value {
	return f.sinQuarter(f.bin(fsub, vnum(0.25), f.abs(x)))
}

// sinTurn is sin 2πx for |x| <= 1/2, off by at most 1.4e-7.
func (f *fn) sinTurn(x value.Value) value.Value {
	a := f.abs(x)
	return f.float(f.bin(xor, f.bits(f.sinQuarter(f.least(a, f.bin(fsub, vnum(0.5), a)))),
		f.bin(and, f.bits(x), vint(v32, math.MinInt32))))
}

// widened gives 16 elements in a tile's type: bf16 is the upper half of f32.
func (f *fn) widened(x value.Value) value.Value {
	switch elemOf(x.Type()) {
	case i16:
		w := f.convert(zext, x, i32)
		s := value.Value(c32(16))
		if _, ok := w.Type().(*types.VectorType); ok {
			s = vint(v32, 16)
		}
		return f.float(f.bin(shl, w, s))
	case half:
		return f.convert(fpext, x, f32)
	}
	return x
}

// toBF16 rounds to the nearest bf16, ties to even, as i16 lanes; not-a-number
// stays one.
func (f *fn) toBF16(x value.Value) value.Value {
	b := f.bits(x)
	odd := f.bin(and, f.bin(lshr, b, vint(v32, 16)), vint(v32, 1))
	r := f.bin(lshr, f.add(b, f.add(odd, vint(v32, 0x7fff))), vint(v32, 16))
	quiet := f.bin(or, f.bin(lshr, b, vint(v32, 16)), vint(v32, 0x40))
	r = f.choose(f.fcmp(enum.FPredUNO, x, x), quiet, r)
	return f.convert(trunc, r, i16)
}
