package ints

import "math"

// Range is a closed interval of integers.
type Range struct{ Lo, Hi int64 }

// Unknown is the range of a variable about which nothing is known; the bounds
// leave room for sums without overflow.
var Unknown = Range{math.MinInt64 / 8, math.MaxInt64 / 8}

func clampRange(lo, hi int64) Range {
	return Range{max(lo, Unknown.Lo), min(hi, Unknown.Hi)}
}

// Interval gives an interval that holds every value e can take while each
// variable stays in its own range (interval arithmetic: sound, not tight). A
// variable that env does not hold is Unknown.
func (e *Expr) Interval(env map[string]Range) Range {
	switch e.Op {
	case Const:
		return Range{e.K, e.K}
	case Var:
		if r, ok := env[e.Name]; ok {
			return r
		}
		return Unknown
	}
	var a, b Range
	a = e.Args[0].Interval(env)
	if len(e.Args) > 1 {
		b = e.Args[1].Interval(env)
	}
	switch e.Op {
	case Add:
		return clampRange(a.Lo+b.Lo, a.Hi+b.Hi)
	case Sub:
		if Equal(e.Args[0], e.Args[1]) {
			return Range{0, 0}
		}
		return clampRange(a.Lo-b.Hi, a.Hi-b.Lo)
	case Mul:
		p := [4]int64{mulSat(a.Lo, b.Lo), mulSat(a.Lo, b.Hi), mulSat(a.Hi, b.Lo), mulSat(a.Hi, b.Hi)}
		return Range{min(p[0], p[1], p[2], p[3]), max(p[0], p[1], p[2], p[3])}
	case Div:
		if b.Lo != b.Hi || b.Lo <= 0 {
			return Unknown
		}
		return Range{floorDiv(a.Lo, b.Lo), floorDiv(a.Hi, b.Lo)}
	case Mod:
		if b.Lo != b.Hi || b.Lo <= 0 {
			return Unknown
		}
		if q := floorDiv(a.Lo, b.Lo); q == floorDiv(a.Hi, b.Lo) {
			return Range{a.Lo - q*b.Lo, a.Hi - q*b.Lo}
		}
		return Range{0, b.Lo - 1}
	case Min:
		return Range{min(a.Lo, b.Lo), min(a.Hi, b.Hi)}
	case Max:
		return Range{max(a.Lo, b.Lo), max(a.Hi, b.Hi)}
	case Lt:
		return decide(a.Hi < b.Lo, a.Lo >= b.Hi)
	case Le:
		return decide(a.Hi <= b.Lo, a.Lo > b.Hi)
	case Eq:
		return decide(a.Lo == a.Hi && a == b, a.Hi < b.Lo || b.Hi < a.Lo)
	case Ne:
		return decide(a.Hi < b.Lo || b.Hi < a.Lo, a.Lo == a.Hi && a == b)
	case And:
		return decide(a.always() && b.always(), a.never() || b.never())
	case Or:
		return decide(a.always() || b.always(), a.never() && b.never())
	case Not:
		return decide(a.never(), a.always())
	case Select:
		c := e.Args[2].Interval(env)
		switch {
		case a.always():
			return b
		case a.never():
			return c
		}
		return Range{min(b.Lo, c.Lo), max(b.Hi, c.Hi)}
	case Table:
		n := int64(len(e.Data)) - 1
		lo, hi := min(max(a.Lo, 0), n), min(max(a.Hi, 0), n)
		r := Range{e.Data[lo], e.Data[lo]}
		for _, v := range e.Data[lo : hi+1] {
			r = Range{min(r.Lo, v), max(r.Hi, v)}
		}
		return r
	}
	return Unknown
}

func (r Range) always() bool { return r.Lo > 0 || r.Hi < 0 }
func (r Range) never() bool  { return r.Lo == 0 && r.Hi == 0 }

// decide is the interval of a truth value: surely true, surely false, or either.
func decide(yes, no bool) Range {
	switch {
	case yes:
		return Range{1, 1}
	case no:
		return Range{0, 0}
	}
	return Range{0, 1}
}

func mulSat(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	p := a * b
	if p/b != a || p < Unknown.Lo || p > Unknown.Hi {
		if (a < 0) == (b < 0) {
			return Unknown.Hi
		}
		return Unknown.Lo
	}
	return p
}
