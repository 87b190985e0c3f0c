package amd64

import (
	"maps"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
)

// Integer expressions over the lanes of a vector, for tests and indices in maps.

// strip says which variable runs over the lanes of a vector, where the strip
// begins (i64), and how many lanes all strips together can have.
type strip struct {
	name  string
	first value.Value
	limit int64
}

// small is the bound within which 32-bit lanes are exact: sums of two such
// numbers do not overflow.
const small = 1 << 29

// laneTest is whether e is not 0 in each lane, as <16 x i1>.
func (f *fn) laneTest(e *ints.Expr, s strip) value.Value {
	if !e.Has(s.name) {
		return f.splat(f.truth(e))
	}
	switch e.Op {
	case ints.And:
		return f.bin(and, f.laneTest(e.Args[0], s), f.laneTest(e.Args[1], s))
	case ints.Or:
		return f.bin(or, f.laneTest(e.Args[0], s), f.laneTest(e.Args[1], s))
	case ints.Not:
		return f.bin(xor, f.laneTest(e.Args[0], s), each(v1, func(int) string { return "true" }))
	case ints.Lt, ints.Le, ints.Eq, ints.Ne:
		if k, rest, ok := f.difference(e, s); ok && k != 0 && max(k, -k)*(s.limit+lanes) < small {
			// k*lane + rest against 0. A rest beyond ±2^30 decides alone, so
			// that clamping it changes nothing and 32 bits are enough.
			base := f.add(f.clamped(rest), f.convert(trunc, f.mul(s.first, c64(k)), i32))
			if k == 1 || k == -1 {
				bound := f.splat(f.sub(c32(0), base))
				if k == -1 { // rest < lane turns the comparison round
					return f.icmp(predicate[e.Op], f.splat(base), ramp(v32, 1))
				}
				return f.icmp(predicate[e.Op], ramp(v32, 1), bound)
			}
			return f.icmp(predicate[e.Op], f.add(ramp(v32, k), f.splat(base)), vint(v32, 0))
		}
		t := f.laneType(e, s)
		return f.icmp(predicate[e.Op], f.laneInt(e.Args[0], s, t), f.laneInt(e.Args[1], s, t))
	}
	t := f.laneType(e, s)
	return f.icmp(enum.IPredNE, f.laneInt(e, s, t), vint(t, 0))
}

// difference is the linear form of a comparison's operands subtracted. It is
// remembered, so that the rest is one expression however often it is asked for.
type difference struct {
	k    int64
	rest *ints.Expr
	ok   bool
}

func (f *fn) difference(e *ints.Expr, s strip) (int64, *ints.Expr, bool) {
	key := diffKey{e, s.name}
	d, ok := f.diffs[key]
	if !ok {
		d.k, d.rest, d.ok = ints.Minus(e.Args[0], e.Args[1]).Coeff(s.name)
		f.diffs[key] = d
	}
	return d.k, d.rest, d.ok
}

type diffKey struct {
	e    *ints.Expr
	name string
}

// clamped is an integer cut to ±2^30, as i32; it is remembered like int.
func (f *fn) clamped(e *ints.Expr) value.Value {
	for i := len(f.scopes) - 1; i >= 0; i-- {
		if v, ok := f.scopes[i].clamps[e]; ok {
			return v
		}
	}
	v := f.convert(trunc, f.smin(f.smax(f.int(e), c64(-1<<30)), c64(1<<30)), i32)
	f.scopes[len(f.scopes)-1].clamps[e] = v
	return v
}

// laneType is i32 where every value within e surely fits, else i64.
func (f *fn) laneType(e *ints.Expr, s strip) *types.VectorType {
	if fits(e, f.laneRanges(s)) {
		return v32
	}
	return v64
}

// laneRanges is what is known of the variables, the lanes' included.
func (f *fn) laneRanges(s strip) map[string]ints.Range {
	env := maps.Clone(f.ranges)
	env[s.name] = ints.Range{Lo: 0, Hi: s.limit + lanes}
	return env
}

func fits(e *ints.Expr, env map[string]ints.Range) bool {
	if r := e.Interval(env); r.Lo < -small || r.Hi > small {
		return false
	}
	for _, a := range e.Args {
		if !fits(a, env) {
			return false
		}
	}
	return true
}

// laneInt is the value of e in each lane, in lanes of type t.
func (f *fn) laneInt(e *ints.Expr, s strip, t *types.VectorType) value.Value {
	el := t.ElemType
	if !e.Has(s.name) {
		return f.splat(f.convert(trunc, f.int(e), el))
	}
	if k, rest, ok := f.linear(e, s); ok {
		base := f.add(f.int(rest), f.mul(s.first, c64(k)))
		return f.add(f.splat(f.convert(trunc, base, el)), ramp(t, k))
	}
	switch e.Op {
	case ints.Lt, ints.Le, ints.Eq, ints.Ne, ints.And, ints.Or, ints.Not:
		return f.convert(zext, f.laneTest(e, s), el)
	case ints.Select:
		return f.choose(f.laneTest(e.Args[0], s), f.laneInt(e.Args[1], s, t), f.laneInt(e.Args[2], s, t))
	case ints.Table:
		return f.laneTable(e, s, t)
	}
	a := f.laneInt(e.Args[0], s, t)
	if k, ok := e.Args[1].IsConst(); ok && k > 0 && (e.Op == ints.Div || e.Op == ints.Mod) {
		q, m := f.floorDivConst(a, k, e.Args[0].Interval(f.laneRanges(s)).Lo >= 0, e.Op == ints.Mod)
		if e.Op == ints.Mod {
			return m
		}
		return q
	}
	b := f.laneInt(e.Args[1], s, t)
	if e.Op == ints.Div || e.Op == ints.Mod {
		q, m := f.floorDiv(a, b, false, e.Op == ints.Mod)
		if e.Op == ints.Mod {
			return m
		}
		return q
	}
	return f.wrapping(e.Op, a, b)
}

// linear is e as k*lane + rest, remembered like difference.
func (f *fn) linear(e *ints.Expr, s strip) (int64, *ints.Expr, bool) {
	key := diffKey{e, s.name}
	d, ok := f.lines[key]
	if !ok {
		d.k, d.rest, d.ok = e.Coeff(s.name)
		f.lines[key] = d
	}
	return d.k, d.rest, d.ok
}

func (f *fn) laneTable(e *ints.Expr, s strip, t *types.VectorType) value.Value {
	it := f.laneType(e.Args[0], s)
	i := f.laneInt(e.Args[0], s, it)
	n := vint(it, int64(len(e.Data))-1)
	i = f.smin(f.smax(i, vint(it, 0)), n)
	var out value.Value = undef(v64)
	p := f.table(e.Data)
	for l := range int64(lanes) {
		x := f.load(i64, p, f.mul(f.convert(sext, f.lane(i, l), i64), c64(8)))
		ins := ir.NewInsertElement(out, x, c32(l))
		f.emit(ins)
		out = ins
	}
	return f.convert(trunc, out, t.ElemType)
}

// hoist computes what an expression over lanes needs of scalars here, so that
// it is not computed again in the loop that is about to begin.
func (f *fn) hoist(e *ints.Expr, name string) {
	if !e.Has(name) {
		if e.Op != ints.Const {
			f.int(e)
		}
		return
	}
	s := strip{name: name}
	switch e.Op {
	case ints.Lt, ints.Le, ints.Eq, ints.Ne:
		if k, rest, ok := f.difference(e, s); ok && k != 0 {
			f.clamped(rest)
			return
		}
	}
	if _, rest, ok := f.linear(e, s); ok {
		f.int(rest)
		return
	}
	for _, a := range e.Args {
		f.hoist(a, name)
	}
}
