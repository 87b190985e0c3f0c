package passes

import (
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// keepFor says which key rows a mask may still need, from its clauses: written
// as a disjunction of conjunctions, each conjunct must bound how far back it
// reaches (i - j < w, or i div c == j div c), or how far it reaches from the
// stream's start (j < s); one that does neither keeps everything. Keeping more
// than needed is legal.
func keepFor(where *ints.Expr) ir.Keep {
	const most = 64 // more conjuncts than that: keep everything
	clauses := disjuncts(where, false, most)
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
	d := ints.Minus(e.Args[0], e.Args[1])
	ci, rest, ok := d.Coeff("i")
	if !ok {
		return 0, 0, 0, false
	}
	cj, rest, ok = rest.Coeff("j")
	if !ok {
		return 0, 0, 0, false
	}
	k, ok = rest.IsConst()
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
		if d := ints.Minus(a, b); true { // i - j == k
			if ci, rest, ok := d.Coeff("i"); ok && (ci == 1 || ci == -1) {
				if cj, rest, ok := rest.Coeff("j"); ok && cj == -ci {
					if k, ok := rest.IsConst(); ok {
						return int(max(-k*ci+1, 0)), true
					}
				}
			}
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
