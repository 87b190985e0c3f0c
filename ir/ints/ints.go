// Package ints is the language of integers that every level of memc shares:
// masks in the graph, addresses in kernels, lengths and positions in plans.
//
// An expression is immutable. A comparison or a logical operator gives 0 or 1.
// Division and remainder round towards minus infinity, so that
// x == (x div c)*c + x mod c and 0 <= x mod c < c for every x and c > 0.
package ints

import (
	"fmt"
	"slices"
)

// Op is the operator of an expression.
type Op uint8

// The operators. Comparisons and logic give 0 or 1; anything but 0 is true.
const (
	Const  Op = iota // K
	Var              // Name
	Add              // a + b
	Sub              // a - b
	Mul              // a * b
	Div              // floor(a / b)
	Mod              // a - b*floor(a/b)
	Min              // min(a, b)
	Max              // max(a, b)
	Lt               // a < b
	Le               // a <= b
	Eq               // a == b
	Ne               // a != b
	And              // a && b
	Or               // a || b
	Not              // !a
	Select           // a ? b : c
	Table            // Data[clamp(a)], the index clamped into the table
)

// Expr is one integer expression over named variables.
type Expr struct {
	Op   Op
	K    int64   // Const
	Name string  // Var
	Args []*Expr // operands in order
	Data []int64 // Table; never empty, never written
}

// C is the constant k.
func C(k int64) *Expr { return &Expr{Op: Const, K: k} }

// V is the variable called name.
func V(name string) *Expr { return &Expr{Op: Var, Name: name} }

// Lookup is data[i], the index clamped into the table.
func Lookup(data []int64, i *Expr) *Expr {
	return fold(&Expr{Op: Table, Args: []*Expr{i}, Data: data})
}

// Bin applies a binary operator, folding constants and neutral elements.
func Bin(op Op, a, b *Expr) *Expr { return fold(&Expr{Op: op, Args: []*Expr{a, b}}) }

// Plus is a + b.
func Plus(a, b *Expr) *Expr { return Bin(Add, a, b) }

// Minus is a - b.
func Minus(a, b *Expr) *Expr { return Bin(Sub, a, b) }

// Times is a * b.
func Times(a, b *Expr) *Expr { return Bin(Mul, a, b) }

// Quo is floor(a / b).
func Quo(a, b *Expr) *Expr { return Bin(Div, a, b) }

// Rem is a mod b, never negative for b > 0.
func Rem(a, b *Expr) *Expr { return Bin(Mod, a, b) }

// Least is min(a, b).
func Least(a, b *Expr) *Expr { return Bin(Min, a, b) }

// Most is max(a, b).
func Most(a, b *Expr) *Expr { return Bin(Max, a, b) }

// If is c ? a : b.
func If(c, a, b *Expr) *Expr { return fold(&Expr{Op: Select, Args: []*Expr{c, a, b}}) }

// No is !a.
func No(a *Expr) *Expr { return fold(&Expr{Op: Not, Args: []*Expr{a}}) }

// CeilQuo is ceil(a / k) for k > 0.
func CeilQuo(a *Expr, k int64) *Expr { return Quo(Plus(a, C(k-1)), C(k)) }

// IsConst reports whether e is a constant, and which.
func (e *Expr) IsConst() (int64, bool) { return e.K, e.Op == Const }

func (e *Expr) is(k int64) bool { return e.Op == Const && e.K == k }

func fold(e *Expr) *Expr {
	all := true
	for _, a := range e.Args {
		all = all && a.Op == Const
	}
	if all {
		if v, err := e.Eval(nil); err == nil {
			return C(v)
		}
		return e // division by the constant zero stays, and fails where it is evaluated
	}
	switch e.Op {
	case Add:
		if e.Args[0].is(0) {
			return e.Args[1]
		}
		if e.Args[1].is(0) {
			return e.Args[0]
		}
		// (x + k1) + k2 = x + (k1 + k2)
		if a, b := e.Args[0], e.Args[1]; b.Op == Const && a.Op == Add && a.Args[1].Op == Const {
			return Plus(a.Args[0], C(a.Args[1].K+b.K))
		}
	case Sub:
		if e.Args[1].is(0) {
			return e.Args[0]
		}
		if Equal(e.Args[0], e.Args[1]) {
			return C(0)
		}
	case Mul:
		for i, a := range e.Args {
			if a.is(0) {
				return C(0)
			}
			if a.is(1) {
				return e.Args[1-i]
			}
		}
	case Div:
		if e.Args[1].is(1) {
			return e.Args[0]
		}
	case Mod:
		if e.Args[1].is(1) {
			return C(0)
		}
	case Min, Max:
		if Equal(e.Args[0], e.Args[1]) {
			return e.Args[0]
		}
	case And:
		for i, a := range e.Args {
			if a.is(0) {
				return C(0)
			}
			if a.Op == Const {
				return truth(e.Args[1-i])
			}
		}
	case Or:
		for i, a := range e.Args {
			if a.is(0) {
				return truth(e.Args[1-i])
			}
			if a.Op == Const {
				return C(1)
			}
		}
	case Select:
		if c, ok := e.Args[0].IsConst(); ok {
			if c != 0 {
				return e.Args[1]
			}
			return e.Args[2]
		}
	}
	return e
}

// truth gives e as 0 or 1: e itself where it is a comparison or logic already.
func truth(e *Expr) *Expr {
	switch e.Op {
	case Lt, Le, Eq, Ne, And, Or, Not:
		return e
	}
	return Bin(Ne, e, C(0))
}

// Equal reports whether two expressions are the same text.
func Equal(a, b *Expr) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Op != b.Op || a.K != b.K || a.Name != b.Name || len(a.Args) != len(b.Args) || !slices.Equal(a.Data, b.Data) {
		return false
	}
	for i := range a.Args {
		if !Equal(a.Args[i], b.Args[i]) {
			return false
		}
	}
	return true
}

// Vars adds the names of e's variables to set.
func (e *Expr) Vars(set map[string]bool) {
	if e.Op == Var {
		set[e.Name] = true
	}
	for _, a := range e.Args {
		a.Vars(set)
	}
}

// Has reports whether the variable occurs in e.
func (e *Expr) Has(name string) bool {
	if e.Op == Var {
		return e.Name == name
	}
	return slices.ContainsFunc(e.Args, func(a *Expr) bool { return a.Has(name) })
}

// Subst replaces variables; a variable that with does not hold stays.
func (e *Expr) Subst(with map[string]*Expr) *Expr {
	switch e.Op {
	case Const:
		return e
	case Var:
		if r, ok := with[e.Name]; ok {
			return r
		}
		return e
	}
	args := make([]*Expr, len(e.Args))
	same := true
	for i, a := range e.Args {
		args[i] = a.Subst(with)
		same = same && args[i] == a
	}
	if same {
		return e
	}
	return fold(&Expr{Op: e.Op, Args: args, Data: e.Data})
}

// Coeff gives the constant c and the rest such that e == c*name + rest and rest
// does not mention the variable; ok is false where e is not of that form.
func (e *Expr) Coeff(name string) (c int64, rest *Expr, ok bool) {
	if !e.Has(name) {
		return 0, e, true
	}
	switch e.Op {
	case Var:
		return 1, C(0), true
	case Add, Sub:
		ca, ra, oka := e.Args[0].Coeff(name)
		cb, rb, okb := e.Args[1].Coeff(name)
		if !oka || !okb {
			return 0, nil, false
		}
		if e.Op == Sub {
			cb = -cb
		}
		return ca + cb, Bin(e.Op, ra, rb), true
	case Mul:
		for i := range 2 {
			if k, isC := e.Args[i].IsConst(); isC {
				c, r, ok := e.Args[1-i].Coeff(name)
				if !ok {
					return 0, nil, false
				}
				return c * k, Times(r, C(k)), true
			}
		}
	}
	return 0, nil, false
}

// Affine reads e as ci·V(i) + cj·V(j) + k.
func (e *Expr) Affine(i, j string) (ci, cj, k int64, ok bool) {
	ci, rest, ok := e.Coeff(i)
	if !ok {
		return 0, 0, 0, false
	}
	cj, rest, ok = rest.Coeff(j)
	if !ok {
		return 0, 0, 0, false
	}
	k, ok = rest.IsConst()
	return ci, cj, k, ok
}

// Eval computes e; an unknown variable or a division by zero is an error.
func (e *Expr) Eval(env map[string]int64) (int64, error) {
	switch e.Op {
	case Const:
		return e.K, nil
	case Var:
		v, ok := env[e.Name]
		if !ok {
			return 0, fmt.Errorf("no value for the variable %s", e.Name)
		}
		return v, nil
	}
	var v [3]int64
	for i, a := range e.Args {
		var err error
		if v[i], err = a.Eval(env); err != nil {
			return 0, err
		}
	}
	return apply(e, v)
}

func apply(e *Expr, v [3]int64) (int64, error) {
	switch e.Op {
	case Add:
		return v[0] + v[1], nil
	case Sub:
		return v[0] - v[1], nil
	case Mul:
		return v[0] * v[1], nil
	case Div, Mod:
		if v[1] == 0 {
			return 0, fmt.Errorf("division by zero in %s", e)
		}
		q := floorDiv(v[0], v[1])
		if e.Op == Div {
			return q, nil
		}
		return v[0] - q*v[1], nil
	case Min:
		return min(v[0], v[1]), nil
	case Max:
		return max(v[0], v[1]), nil
	case Lt:
		return bit(v[0] < v[1]), nil
	case Le:
		return bit(v[0] <= v[1]), nil
	case Eq:
		return bit(v[0] == v[1]), nil
	case Ne:
		return bit(v[0] != v[1]), nil
	case And:
		return bit(v[0] != 0 && v[1] != 0), nil
	case Or:
		return bit(v[0] != 0 || v[1] != 0), nil
	case Not:
		return bit(v[0] == 0), nil
	case Select:
		if v[0] != 0 {
			return v[1], nil
		}
		return v[2], nil
	case Table:
		return e.Data[min(max(v[0], 0), int64(len(e.Data))-1)], nil
	}
	return 0, fmt.Errorf("unknown operator %d", e.Op)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
