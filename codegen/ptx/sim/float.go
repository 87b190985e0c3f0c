package sim

import "math"

// Floats are computed as the ISA rounds them. What it calls approximate is
// computed exactly and then cut to no more bits than the ISA promises ("ex2",
// "tanh", ...), so that a kernel which counts on more fails here too; a GPU's
// last bits may differ. A NaN that arithmetic gives is 0x7fffffff.

func float(a uint32) float32 { return math.Float32frombits(a) }

// bitsOf gives a float's bits.
func bitsOf(f float32) uint32 {
	if f != f {
		return quiet
	}
	return math.Float32bits(f)
}

const quiet = 0x7fffffff

// flushed is 0 for a subnormal number, with its sign (.ftz).
func flushed(a uint32) uint32 {
	if a&0x7f800000 == 0 {
		return a & (1 << 31)
	}
	return a
}

// saturated clamps to [0, 1] (.sat); a NaN is 0.
func saturated(a uint32) uint32 {
	f := float(a)
	switch {
	case !(f > 0):
		return 0
	case f > 1:
		return math.Float32bits(1)
	}
	return a
}

// half reads and writes one float of 16 bits.
type half struct {
	read  func(uint16) float32
	write func(float32) uint16
}

var halves = map[string]half{
	"f16":  {fromF16, func(f float32) uint16 { return toF16(f, nearest) }},
	"bf16": {fromBF16, func(f float32) uint16 { return toBF16(f, nearest) }},
}

// each16 makes a function of f32 one of the floats of a type: of f32 itself, of
// 16 bits, or of pairs of 16 bits. A result of 16 bits is rounded to f32 first,
// which gives what rounding once does but for fma, where a last bit may differ:
// f32 has more than twice the bits of either.
func each16(name string, f func(a, b, c float32) float32) func(a, b, c uint32) uint32 {
	h, pair := halves[name], false
	if h.read == nil && len(name) > 2 {
		h, pair = halves[name[:len(name)-2]], true
	}
	if h.read == nil {
		return func(a, b, c uint32) uint32 { return bitsOf(f(float(a), float(b), float(c))) }
	}
	one := func(a, b, c uint16) uint32 { return uint32(h.write(f(h.read(a), h.read(b), h.read(c)))) }
	if !pair {
		return func(a, b, c uint32) uint32 { return one(uint16(a), uint16(b), uint16(c)) }
	}
	return func(a, b, c uint32) uint32 {
		return one(uint16(a), uint16(b), uint16(c)) | one(uint16(a>>16), uint16(b>>16), uint16(c>>16))<<16
	}
}

// floats compiles an instruction of n operands that a function of f32 defines.
// Roundings other than to nearest even are not known.
func (x *build) floats(name string, n int, f func(a, b, c float32) float32) {
	t := dataTypes[name]
	ftz, sat := x.has("ftz"), x.has("sat")
	x.drop("rn")
	x.plain()
	if !t.float {
		x.unknown()
	}
	if !x.wants(n + 1) {
		return
	}
	x.in.d, x.in.a = x.dst(0, t.class), x.src(1, t.class)
	x.in.b, x.in.c = x.in.a, x.in.a
	if n > 1 {
		x.in.b = x.src(2, t.class)
	}
	if n > 2 {
		x.in.c = x.src(3, t.class)
	}
	g := each16(name, f)
	if (ftz || sat) && name != "f32" {
		x.unknown()
		return
	}
	if ftz {
		plain := g
		g = func(a, b, c uint32) uint32 { return flushed(plain(flushed(a), flushed(b), flushed(c))) }
	}
	if sat {
		plain := g
		g = func(a, b, c uint32) uint32 { return saturated(plain(a, b, c)) }
	}
	x.in.f3, x.in.run = g, each3
}

func (x *build) floats2(name string, f func(a, b float32) float32) {
	plain := name == "f32" && (x.is("rn") || x.is(""))
	x.floats(name, 2, func(a, b, _ float32) float32 { return f(a, b) })
	if plain {
		x.in.f2, x.in.run = func(a, b uint32) uint32 { return bitsOf(f(float(a), float(b))) }, each2
	}
}

func (x *build) fma() {
	name := x.last()
	rounds := len(x.mods) > 0 && x.mods[0] == "rn"
	plain := name == "f32" && x.is("rn")
	relu := x.has("relu")
	x.floats(name, 3, func(a, b, c float32) float32 {
		v := fma32(a, b, c)
		if relu && !(v > 0) && v == v {
			return 0
		}
		return v
	})
	if !rounds || relu && name == "f32" {
		x.unknown()
	}
	if plain {
		x.in.run = fmas
	}
}

func (x *build) floatDiv(name string) {
	approx := x.has("approx") || x.has("full") // at most 2 ulp
	if name != "f32" || !approx && !x.has("rn") {
		x.unknown()
	}
	x.floats(name, 2, func(a, b, _ float32) float32 {
		if approx {
			return cut(a/b, 1)
		}
		return a / b
	})
}

// floatExtreme is min and max: a NaN loses, but with .NaN it wins; -0 is less
// than 0.
func (x *build) floatExtreme(name string, least bool) {
	nan := x.has("NaN")
	x.floats(name, 2, func(a, b, _ float32) float32 {
		switch {
		case nan && (a != a || b != b):
			return a + b
		case a != a:
			return b
		case b != b:
			return a
		case least:
			return min(a, b)
		}
		return max(a, b)
	})
}

// floatSign changes signs, also those of NaNs.
func (x *build) floatSign(name string, f func(a, sign uint32) uint32) {
	t := dataTypes[name]
	ftz := x.has("ftz")
	x.plain()
	if !x.wants(2) {
		return
	}
	sign := uint32(1 << 31)
	switch {
	case t.class == bits16:
		sign = 1 << 15
	case name != "f32":
		sign = 1<<31 | 1<<15
	}
	x.in.d, x.in.a, x.in.run = x.dst(0, t.class), x.src(1, t.class), each1
	x.in.f1 = func(a uint32) uint32 { return f(a, sign) }
	if ftz {
		x.in.f1 = func(a uint32) uint32 { return f(flushed(a), sign) }
	}
}

// copysign gives the first operand's sign to the second.
func (x *build) copysign() {
	if x.last() != "f32" {
		x.unknown()
	}
	x.ints2(dataTypes["f32"], func(a, b uint32) uint32 { return a&(1<<31) | b&^(1<<31) }, nil)
}

// floatTest sets setp's comparison: ordered ones do not hold where one is a NaN,
// those with a u before them then do.
func (x *build) floatTest(name, cmp string, ftz bool) {
	order := map[string]func(a, b float32) bool{
		"lt": func(a, b float32) bool { return a < b }, "le": func(a, b float32) bool { return a <= b },
		"gt": func(a, b float32) bool { return a > b }, "ge": func(a, b float32) bool { return a >= b },
		"eq": func(a, b float32) bool { return a == b }, "ne": func(a, b float32) bool { return a < b || a > b },
		"ltu": func(a, b float32) bool { return !(a >= b) }, "leu": func(a, b float32) bool { return !(a > b) },
		"gtu": func(a, b float32) bool { return !(a <= b) }, "geu": func(a, b float32) bool { return !(a < b) },
		"equ": func(a, b float32) bool { return !(a < b || a > b) }, "neu": func(a, b float32) bool { return a != b },
		"num": func(a, b float32) bool { return a == a && b == b }, "nan": func(a, b float32) bool { return a != a || b != b },
	}[cmp]
	if order == nil {
		return
	}
	switch h := halves[name]; {
	case name == "f32" && ftz:
		x.in.p2 = func(a, b uint32) bool { return order(float(flushed(a)), float(flushed(b))) }
	case name == "f32":
		x.in.p2 = func(a, b uint32) bool { return order(float(a), float(b)) }
	case h.read != nil && !ftz:
		x.in.p2 = func(a, b uint32) bool { return order(h.read(uint16(a)), h.read(uint16(b))) }
	}
}

// special1 is the functions of one float. sqrt and rcp are known rounded (.rn)
// and approximate; the others are approximate only.
func (x *build) special1() {
	t := x.last()
	rounded := x.has("rn")
	approx := x.has("approx")
	exact := x.name == "sqrt" || x.name == "rcp"
	if t != "f32" || rounded == approx || rounded && !exact {
		x.unknown()
		return
	}
	f := map[string]func(float64) float64{
		"rcp": func(a float64) float64 { return 1 / a }, "sqrt": math.Sqrt, "rsqrt": func(a float64) float64 { return 1 / math.Sqrt(a) },
		"ex2": math.Exp2, "lg2": math.Log2, "sin": math.Sin, "cos": math.Cos, "tanh": math.Tanh,
	}[x.name]
	name := x.name
	x.floats(t, 1, func(a, _, _ float32) float32 {
		v := float32(f(float64(a)))
		if rounded {
			return v
		}
		switch name {
		case "tanh": // a relative error of 2⁻¹¹
			return cut(v, 12)
		case "lg2": // an absolute one of 2⁻²² near 1
			if a > 0.5 && a < 2 {
				return float32(math.Trunc(float64(v)*(1<<22)) / (1 << 22))
			}
		case "sin", "cos": // an absolute one of 2⁻²⁰·⁵, for |a| up to π
			return float32(math.Trunc(float64(v)*(1<<21)) / (1 << 21))
		}
		return cut(v, 1)
	})
}

// cut clears the last n of the 23 bits behind a float's first one.
func cut(v float32, n int) float32 {
	if v != v {
		return v
	}
	return math.Float32frombits(math.Float32bits(v) &^ (1<<n - 1))
}

// fma32 rounds a·b + c once. The product is exact in float64, and so is the
// rounding of the sum to float32 unless the sum, rounded to float64, lies on a
// tie or near the subnormal numbers; then the sum is rounded to odd first, which
// keeps what the second rounding needs.
func fma32(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	s := p + q
	n := math.Float64bits(s)
	if n&(1<<29-1) != 1<<28 && n>>52&0x7ff > 1023-126 {
		return float32(s)
	}
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	t := s - p
	rest := (p - (s - t)) + (q - t)
	if rest != 0 && n&1 == 0 {
		if (rest > 0) == (s > 0) {
			n++
		} else {
			n--
		}
	}
	return float32(math.Float64frombits(n))
}
