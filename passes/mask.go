package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// keepFor says which key rows a mask may still need, whatever integers the rows
// have, from its clauses: written as a disjunction of conjunctions, each conjunct must bound how far back it
// reaches (i - j < w, or i div c == j div c), or how far it reaches from the
// stream's start (j < s); one that does neither keeps everything. Keeping more
// than needed is legal.
func keepFor(where *ints.Expr) ir.Keep {
	const most = 64 // more conjuncts than that: keep everything
	clauses := disjuncts(ir.Possible(where), false, most)
	if clauses == nil {
		return ir.Keep{All: true}
	}
	k := ir.Keep{}
	for _, c := range clauses {
		ring, pin, dead := -1, -1, false
		for _, atom := range c {
			if v, ok := atom.IsConst(); ok {
				dead = dead || v == 0
				continue
			}
			if r, ok := reachBack(atom); ok && (ring < 0 || r < ring) {
				ring = r
			}
			if p, ok := reachStart(atom); ok && (pin < 0 || p < pin) {
				pin = p
			}
		}
		switch {
		case dead:
		case ring >= 0:
			k.Ring = max(k.Ring, ring)
		case pin >= 0:
			k.Pin = max(k.Pin, pin)
		default:
			return ir.Keep{All: true}
		}
	}
	k.Ring = max(k.Ring, 1)
	return k
}

// disjuncts writes e (negated where not) as a list of conjunctions of atoms; nil
// where there would be more than most.
func disjuncts(e *ints.Expr, not bool, most int) [][]*ints.Expr {
	op := e.Op
	if not && op == ints.And {
		op = ints.Or
	} else if not && op == ints.Or {
		op = ints.And
	}
	switch op {
	case ints.Not:
		return disjuncts(e.Args[0], !not, most)
	case ints.Or:
		a, b := disjuncts(e.Args[0], not, most), disjuncts(e.Args[1], not, most)
		if a == nil || b == nil || len(a)+len(b) > most {
			return nil
		}
		return append(append([][]*ints.Expr{}, a...), b...)
	case ints.And:
		a, b := disjuncts(e.Args[0], not, most), disjuncts(e.Args[1], not, most)
		if a == nil || b == nil || len(a)*len(b) > most {
			return nil
		}
		var out [][]*ints.Expr
		for _, x := range a {
			for _, y := range b {
				out = append(out, append(append([]*ints.Expr{}, x...), y...))
			}
		}
		return out
	}
	if not {
		switch e.Op {
		case ints.Lt:
			e = ints.Bin(ints.Le, e.Args[1], e.Args[0])
		case ints.Le:
			e = ints.Bin(ints.Lt, e.Args[1], e.Args[0])
		default:
			e = ints.No(e)
		}
	}
	return [][]*ints.Expr{{e}}
}

// linearBelow reads an atom as ci·i + cj·j + k < 0.
func linearBelow(e *ints.Expr) (ci, cj, k int64, ok bool) {
	if e.Op != ints.Lt && e.Op != ints.Le {
		return 0, 0, 0, false
	}
	ci, cj, k, ok = ints.Minus(e.Args[0], e.Args[1]).Affine("i", "j")
	if e.Op == ints.Le {
		k--
	}
	return ci, cj, k, ok
}

// reachBack gives w where the atom implies i - j < w.
func reachBack(e *ints.Expr) (int, bool) {
	if ci, cj, k, ok := linearBelow(e); ok && ci > 0 && cj == -ci {
		return int(max((-k+ci-1)/ci, 0)), true // ci(i-j) < -k
	}
	if e.Op == ints.Eq {
		a, b := e.Args[0], e.Args[1]
		if a.Op == ints.Div && b.Op == ints.Div && ints.Equal(a.Args[1], b.Args[1]) {
			c, isC := a.Args[1].IsConst()
			x, y := a.Args[0], b.Args[0]
			if isC && c > 0 && x.Op == ints.Var && y.Op == ints.Var && x.Name != y.Name {
				return int(c), true
			}
		}
		if ci, cj, k, ok := ints.Minus(a, b).Affine("i", "j"); ok && (ci == 1 || ci == -1) && cj == -ci { // i - j == k
			return int(max(-k*ci+1, 0)), true
		}
	}
	return 0, false
}

// reachStart gives s where the atom implies j < s.
func reachStart(e *ints.Expr) (int, bool) {
	if ci, cj, k, ok := linearBelow(e); ok && ci == 0 && cj > 0 {
		return int(max((-k+cj-1)/cj, 0)), true
	}
	if e.Op == ints.Eq {
		for n := range 2 {
			if v, ok := e.Args[n].IsConst(); ok && e.Args[1-n].Op == ints.Var && e.Args[1-n].Name == "j" {
				return int(max(v+1, 0)), true
			}
		}
	}
	return 0, false
}

func isZero(e *ints.Expr) bool {
	v, ok := e.IsConst()
	return ok && v == 0
}

// certain gives a condition, the same for a whole tile, under which the mask is
// true (or, with want false, false) for every i and j within bounds: interval
// arithmetic on expressions; of a variable without bounds nothing is known. It may be 0 where the mask is certain all the same.
func certain(e *ints.Expr, bounds map[string][2]*ints.Expr, want bool) *ints.Expr {
	switch e.Op {
	case ints.Const:
		if (e.K != 0) == want {
			return ints.C(1)
		}
	case ints.Not:
		return certain(e.Args[0], bounds, !want)
	case ints.And, ints.Or:
		op := ints.And
		if (e.Op == ints.And) != want {
			op = ints.Or
		}
		return ints.Bin(op, certain(e.Args[0], bounds, want), certain(e.Args[1], bounds, want))
	case ints.Lt, ints.Le:
		aLo, aHi, okA := extremes(e.Args[0], bounds)
		bLo, bHi, okB := extremes(e.Args[1], bounds)
		if !okA || !okB {
			break
		}
		if want {
			return ints.Bin(e.Op, aHi, bLo)
		}
		return ints.No(ints.Bin(e.Op, aLo, bHi))
	case ints.Eq, ints.Ne:
		aLo, aHi, okA := extremes(e.Args[0], bounds)
		bLo, bHi, okB := extremes(e.Args[1], bounds)
		if !okA || !okB {
			break
		}
		apart := ints.Bin(ints.Or, ints.Bin(ints.Lt, aHi, bLo), ints.Bin(ints.Lt, bHi, aLo))
		one := ints.Bin(ints.And, ints.Bin(ints.Eq, aLo, aHi), ints.Bin(ints.And, ints.Bin(ints.Eq, bLo, bHi), ints.Bin(ints.Eq, aLo, bLo)))
		if (e.Op == ints.Eq) == want {
			return one
		}
		return apart
	}
	return ints.C(0)
}

// far is farther than any two rows of a stream are apart; sums of two such numbers and
// a position do not overflow.
const far = 1 << 61

// bandOf is what a mask may leave of a tile of scores whose first row and key are corner
// apart, so many rows in turn having one i; nil where that may be all.
func bandOf(where *ints.Expr, bounds map[string][2]*ints.Expr, corner *ints.Expr, per int) *kernel.Band {
	lo, hi := diagonal(where, bounds, true)
	a, knownA := lo.IsConst()
	b, knownB := hi.IsConst()
	if knownA && knownB && a == -far && b == far {
		return nil
	}
	return &kernel.Band{Lo: ints.Plus(lo, corner), Hi: ints.Plus(hi, corner), Per: per}
}

// diagonal bounds j - i where the mask may be true (or, with want false, false) for an
// i and j within bounds, by -far and far at most; lo exceeds hi where it surely is not.
func diagonal(e *ints.Expr, bounds map[string][2]*ints.Expr, want bool) (lo, hi *ints.Expr) {
	switch e.Op {
	case ints.Not:
		return diagonal(e.Args[0], bounds, !want)
	case ints.And, ints.Or:
		aLo, aHi := diagonal(e.Args[0], bounds, want)
		bLo, bHi := diagonal(e.Args[1], bounds, want)
		if (e.Op == ints.And) == want {
			return within(ints.Max, aLo, bLo), within(ints.Min, aHi, bHi)
		}
		return within(ints.Min, aLo, bLo), within(ints.Max, aHi, bHi)
	case ints.Lt, ints.Le:
		ci, cj, k, ok := linearBelow(e)
		k = max(1-far, min(k, far-1))
		switch {
		case !ok || ci != -cj:
		case cj == 1 && want: // j - i < -k
			return ints.C(-far), ints.C(-k - 1)
		case cj == 1:
			return ints.C(-k), ints.C(far)
		case cj == -1 && want: // j - i > k
			return ints.C(k + 1), ints.C(far)
		case cj == -1:
			return ints.C(-far), ints.C(k)
		}
	}
	never := certain(e, bounds, !want)
	return ints.If(never, ints.C(far), ints.C(-far)), ints.If(never, ints.C(-far), ints.C(far))
}

// within is the least or the largest of two numbers from -far to far.
func within(op ints.Op, a, b *ints.Expr) *ints.Expr {
	end := int64(far)
	if op == ints.Min {
		end = -far
	}
	for _, x := range [][2]*ints.Expr{{a, b}, {b, a}} {
		switch k, known := x[0].IsConst(); {
		case known && k == end:
			return x[0]
		case known && k == -end:
			return x[1]
		}
	}
	return ints.Bin(op, a, b)
}

// extremes gives the least and the largest value of an expression within bounds.
func extremes(e *ints.Expr, bounds map[string][2]*ints.Expr) (lo, hi *ints.Expr, ok bool) {
	switch e.Op {
	case ints.Const:
		return e, e, true
	case ints.Var:
		b, ok := bounds[e.Name]
		return b[0], b[1], ok
	case ints.Add, ints.Sub, ints.Min, ints.Max:
		aLo, aHi, okA := extremes(e.Args[0], bounds)
		bLo, bHi, okB := extremes(e.Args[1], bounds)
		if !okA || !okB {
			return nil, nil, false
		}
		if e.Op == ints.Sub {
			return ints.Minus(aLo, bHi), ints.Minus(aHi, bLo), true
		}
		return ints.Bin(e.Op, aLo, bLo), ints.Bin(e.Op, aHi, bHi), true
	case ints.Mul, ints.Div:
		k, isC := e.Args[1].IsConst()
		lo, hi, ok := extremes(e.Args[0], bounds)
		if !ok || !isC || k <= 0 {
			return nil, nil, false
		}
		return ints.Bin(e.Op, lo, ints.C(k)), ints.Bin(e.Op, hi, ints.C(k)), true
	case ints.Mod:
		if k, isC := e.Args[1].IsConst(); isC && k > 0 {
			return ints.C(0), ints.C(k - 1), true
		}
	}
	return nil, nil, false
}

// maskTest is a mask for the elements of a tile. What it asks of i and j alone
// stays one integer expression, which back ends compute in few lanes' widths; at
// gives i and j over the tile's rows and columns, rows what stands for i.0, j.1
// and so on.
func maskTest(e *ints.Expr, at map[string]*ints.Expr, rows map[string]*kernel.Val) *kernel.Val {
	if !asksRows(e, rows) {
		return kernel.TestOf(e.Subst(at))
	}
	x := func(i int) *kernel.Val { return maskTest(e.Args[i], at, rows) }
	switch e.Op {
	case ints.Not:
		return kernel.F(kernel.Not, x(0))
	case ints.And:
		return kernel.F(kernel.Both, x(0), x(1))
	case ints.Or:
		return kernel.F(kernel.Either, x(0), x(1))
	case ints.Select:
		c := x(0)
		return kernel.F(kernel.Either, kernel.F(kernel.Both, c, x(1)), kernel.F(kernel.Both, kernel.F(kernel.Not, c), x(2)))
	case ints.Lt, ints.Le, ints.Eq, ints.Ne:
		a, b := maskInt(e.Args[0], at, rows), maskInt(e.Args[1], at, rows)
		if a.Elem != b.Elem {
			a, b = wide(a), wide(b)
		}
		switch e.Op {
		case ints.Lt:
			return kernel.F(kernel.Less, a, b)
		case ints.Le:
			return kernel.F(kernel.AtMost, a, b)
		case ints.Eq:
			return kernel.F(kernel.Same, a, b)
		}
		return kernel.F(kernel.Not, kernel.F(kernel.Same, a, b))
	}
	return kernel.F(kernel.Not, kernel.F(kernel.Same, wide(maskInt(e, at, rows)), kernel.IndexOf(ints.C(0))))
}

// maskInt is an integer of a mask: i32 where it is a row's own, which compares
// exactly as it is, else i64.
func maskInt(e *ints.Expr, at map[string]*ints.Expr, rows map[string]*kernel.Val) *kernel.Val {
	if !asksRows(e, rows) {
		return kernel.IndexOf(e.Subst(at))
	}
	x := func(i int) *kernel.Val { return wide(maskInt(e.Args[i], at, rows)) }
	switch e.Op {
	case ints.Var:
		return rows[e.Name]
	case ints.Select:
		return kernel.F(kernel.Choose, maskTest(e.Args[0], at, rows), x(1), x(2))
	case ints.Table: // element by element: the index stops at both ends
		v := kernel.IndexOf(ints.C(e.Data[0]))
		for k, y := range e.Data[1:] {
			v = kernel.F(kernel.Choose, kernel.F(kernel.Less, kernel.IndexOf(ints.C(int64(k))), x(0)), kernel.IndexOf(ints.C(y)), v)
		}
		return v
	}
	if op, ok := maskOps[e.Op]; ok {
		return kernel.F(op, x(0), x(1))
	}
	return kernel.F(kernel.ToI64, maskTest(e, at, rows))
}

var maskOps = map[ints.Op]kernel.ValOp{ints.Add: kernel.Add, ints.Sub: kernel.Sub, ints.Mul: kernel.Mul, ints.Div: kernel.Div, ints.Mod: kernel.Mod, ints.Min: kernel.Min, ints.Max: kernel.Max}

func asksRows(e *ints.Expr, rows map[string]*kernel.Val) bool {
	if e.Op == ints.Var {
		return rows[e.Name] != nil
	}
	return slices.ContainsFunc(e.Args, func(a *ints.Expr) bool { return asksRows(a, rows) })
}

// wide gives an integer as i64.
func wide(v *kernel.Val) *kernel.Val {
	if v.Elem == elem.I64 {
		return v
	}
	return kernel.F(kernel.ToI64, v)
}
