package frontend

import (
	"fmt"
	"math"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// A mask is a test of i, the row that looks, of j, the row that is seen, and of
// integers that rows have: x[i] and x[j]. It is elaborated like any expression,
// with i and j standing for themselves and a variable for each x[i] and x[j].

var maskOps = map[string]ints.Op{"+": ints.Add, "-": ints.Sub, "*": ints.Mul, "div": ints.Div, "mod": ints.Mod, "<": ints.Lt, "<=": ints.Le, "==": ints.Eq, "!=": ints.Ne, "and": ints.And, "or": ints.Or, "min": ints.Min, "max": ints.Max}

func notInts(x *ints.Expr) *ints.Expr { return ints.No(x) }

// masked gives the predicate that x is, in a scope with i and j.
func (e *elab) masked(x *expr, s *scope) (*ints.Expr, bool) {
	in := s.inner()
	in.vars["i"] = maskV{ints.V("i"), false}
	in.vars["j"] = maskV{ints.V("j"), false}
	v := e.expr(x, in)
	switch m := v.(type) {
	case boolV:
		if m {
			return ints.C(1), true
		}
		return ints.C(0), true
	case maskV:
		if m.test {
			return m.Expr, true
		}
	case badV:
		return nil, false
	}
	e.errorf(x.Pos, "where needs a test of i and j, found %s", v.what())
	return nil, false
}

// A rowInt is what a variable of a mask stands for: the integer that x has in
// row i, or in row j where key.
type rowInt struct {
	x   *ir.Node
	key bool
	pos lexer.Position
}

// rowInt is x[i] or x[j] inside a mask; ok says that the index is one of these,
// or something else made of i and j, which is a fault.
func (e *elab) rowInt(x *shape, v value, s *scope) (m value, ok bool) {
	if len(x.Items) != 1 || x.Items[0].Name != nil {
		return nil, false
	}
	if _, list := v.(listV); list {
		return nil, false
	}
	if at, inMask := s.find("i"); !inMask || !isMask(at) {
		return nil, false
	}
	which := e.expr(x.Items[0].Value, s)
	if isBad(which) {
		return badV{}, true
	}
	at, ok := which.(maskV)
	if !ok {
		return nil, false
	}
	if at.Op != ints.Var || at.Name != "i" && at.Name != "j" {
		return e.errorf(x.Pos, "in a mask a value is taken in row i, that looks, or in row j, that is seen: x[i] or x[j]; found %s in the brackets", at.what()), true
	}
	t, ok := v.(tensorV)
	if !ok {
		return e.errorf(x.Pos, "[%s] takes the integer that a row of a tensor has, found %s", at.Name, v.what()), true
	}
	n := t.Node
	if e.scan != nil {
		n = e.scan.part(e, n)
	}
	switch {
	case n.Type.Clock() == nil:
		return e.errorf(x.Pos, "[%s] takes the integer that a row has, found %s, which has no rows over a clock", at.Name, n.Type), true
	case len(n.Type.Dims) > 1:
		return e.errorf(x.Pos, "[%s] takes one integer a row, found %s; choose one first: x[%s: 0][%s]", at.Name, n.Type, n.Type.Dims[1].Name, at.Name), true
	case n.Type.Elem != elem.I32 && n.Type.Elem != elem.I64:
		return e.errorf(x.Pos, "a mask compares integers, found %s", n.Type), true
	}
	name := fmt.Sprintf("%s.%d", at.Name, n.ID)
	e.rowInts[name] = rowInt{n, at.Name == "j", x.Pos}
	return maskV{ints.V(name), false}, true
}

func isMask(v value) bool {
	_, ok := v.(maskV)
	return ok
}

// maskRows gives a mask as attend wants it, with the operands that it names: i.0
// and so on, in the order in which they stand in it.
func (e *elab) maskRows(m *ints.Expr, clock *ir.Clock) (*ints.Expr, []*ir.Node, bool) {
	var rows []*ir.Node
	with := map[string]*ints.Expr{}
	good := true
	var walk func(x *ints.Expr)
	walk = func(x *ints.Expr) {
		if r, ok := e.rowInts[x.Name]; ok && good && x.Op == ints.Var && with[x.Name] == nil {
			n := r.x
			if e.scan != nil {
				n = e.scan.part(e, n)
			}
			if c := n.Type.Clock(); c != clock {
				e.errorf(r.pos, "the rows of attend are those of %s, and this value has rows of %s", clock.Name, c.Name)
				good = false
			}
			side := "i"
			if r.key {
				side = "j"
			}
			with[x.Name] = ints.V(fmt.Sprintf("%s.%d", side, len(rows)))
			rows = append(rows, n)
		}
		for _, a := range x.Args {
			walk(a)
		}
	}
	walk(m)
	return m.Subst(with), rows, good
}

// maxMaskInt bounds the integers of a mask.
const maxMaskInt = 1 << 40

func maskInts(v value) (x *ints.Expr, test, ok bool) {
	switch v := v.(type) {
	case maskV:
		return v.Expr, v.test, true
	case boolV:
		if v {
			return ints.C(1), true, true
		}
		return ints.C(0), true, true
	}
	k, ok := intOf(v)
	return ints.C(k), false, ok && k < maxMaskInt && k > -maxMaskInt
}

func (e *elab) mask(pos lexer.Position, op string, a, b value) value {
	if op == ">" || op == ">=" {
		op, a, b = map[string]string{">": "<", ">=": "<="}[op], b, a
	}
	x, tx, okx := maskInts(a)
	y, ty, oky := maskInts(b)
	for _, v := range []value{a, b} {
		if k, ok := intOf(v); ok && (k >= maxMaskInt || k <= -maxMaskInt) {
			return e.errorf(pos, "the integers of a mask lie between -%d and %d, found %d", maxMaskInt, maxMaskInt, k)
		}
	}
	o, known := maskOps[op]
	if !okx || !oky || !known {
		return e.errorf(pos, "a mask cannot have %s on %s and %s", op, a.what(), b.what())
	}
	logic := op == "and" || op == "or"
	if tx != logic || ty != logic {
		return e.errorf(pos, "%s takes %s, found %s and %s", op, map[bool]string{true: "tests", false: "integers"}[logic], a.what(), b.what())
	}
	switch k, static := y.IsConst(); {
	case (op == "div" || op == "mod") && (!static || k <= 0):
		return e.errorf(pos, "a mask divides by positive constants only, found %s", b.what())
	case op == "*" && !static:
		if _, left := x.IsConst(); !left {
			return e.errorf(pos, "a mask multiplies by constants only, found %s and %s", a.what(), b.what())
		}
	}
	r := ints.Bin(o, x, y)
	if countInts(r) > maxMask {
		return e.errorf(pos, "the mask has more than %d operators", maxMask)
	}
	if r.Op == ints.Const && (logic || precedence[op] == 3) {
		return boolV(r.K != 0)
	}
	if precedence[op] == 3 {
		e.tests[r] = pos
	}
	return maskV{r, logic || precedence[op] == 3}
}

// maskIf is a choice inside a mask.
func (e *elab) maskIf(x *ifExpr, c maskV, a, b value) value {
	if isBad(a, b) {
		return badV{}
	}
	va, ta, oka := maskInts(a)
	vb, tb, okb := maskInts(b)
	if !oka || !okb || ta != tb {
		return e.errorf(x.Pos, "inside a mask, if gives two integers or two tests, found %s and %s", a.what(), b.what())
	}
	r := ints.If(c.Expr, va, vb)
	if countInts(r) > maxMask {
		return e.errorf(x.Pos, "the mask has more than %d operators", maxMask)
	}
	return maskV{r, ta}
}

// sees decides whether a mask could let a row i see some row j > i, where ahead,
// and else some row j <= i. It answers yes where it cannot tell.
func sees(m *ints.Expr, ahead bool) bool { return canBe(m, ahead, true) }

// canBe reports whether m might be want for some i >= 0 and j > i, or some
// 0 <= j <= i.
func canBe(m *ints.Expr, ahead, want bool) bool {
	switch m.Op {
	case ints.Const:
		return (m.K != 0) == want
	case ints.Not:
		return canBe(m.Args[0], ahead, !want)
	case ints.And, ints.Or:
		a, b := canBe(m.Args[0], ahead, want), canBe(m.Args[1], ahead, want)
		if (m.Op == ints.And) == want {
			return a && b
		}
		return a || b
	case ints.Lt, ints.Le, ints.Eq, ints.Ne:
		ci, cj, k, ok := ints.Minus(m.Args[0], m.Args[1]).Affine("i", "j")
		if !ok {
			return true
		}
		// With e >= 0, a - b is (ci+cj)·i + cj·e + k + cj where j = i+1+e, and
		// (ci+cj)·j + ci·e + k where i = j+e.
		near := ci
		if ahead {
			near, k = cj, k+cj
		}
		r := ints.Range{Lo: k, Hi: k}
		for _, c := range []int64{ci + cj, near} {
			switch {
			case c > 0:
				r.Hi = math.MaxInt64
			case c < 0:
				r.Lo = math.MinInt64
			}
		}
		var yes, no bool
		switch m.Op {
		case ints.Lt:
			yes, no = r.Lo < 0, r.Hi >= 0
		case ints.Le:
			yes, no = r.Lo <= 0, r.Hi > 0
		case ints.Eq:
			yes, no = r.Lo <= 0 && r.Hi >= 0, r.Lo != 0 || r.Hi != 0
		default:
			yes, no = r.Lo != 0 || r.Hi != 0, r.Lo <= 0 && r.Hi >= 0
		}
		if want {
			return yes
		}
		return no
	}
	return true
}

// negative finds a bound of a mask that is below 0: i - j < n or j < n, where n
// rows are meant. A bound of 0 may mean none. want is whether m has to hold; meant
// is what then has to.
func negative(m *ints.Expr, want bool) (found, meant *ints.Expr) {
	switch m.Op {
	case ints.Not:
		return negative(m.Args[0], !want)
	case ints.And, ints.Or:
		if x, y := negative(m.Args[0], want); x != nil {
			return x, y
		}
		return negative(m.Args[1], want)
	case ints.Lt, ints.Le:
		meant = m
		if !want {
			meant = ints.Bin(map[ints.Op]ints.Op{ints.Lt: ints.Le, ints.Le: ints.Lt}[m.Op], m.Args[1], m.Args[0])
		}
		ci, cj, k, ok := ints.Minus(meant.Args[0], meant.Args[1]).Affine("i", "j")
		if meant.Op == ints.Le {
			k-- // of integers
		}
		if ok && (ci > 0 && cj == -ci && k >= ci || ci == 0 && cj > 0 && k >= cj) {
			return m, meant
		}
	}
	return nil, nil
}
