package ir

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
)

// A mask is a test of i, the query's row, of j, the key's, and of integers that
// rows have: i.0 is what the first of attend's operands rows has in row i, j.1
// what the second has in row j. An operand is named on one side alone.

// RowVar reads the name of a mask's variable that stands for an integer of a
// row: key says whether it is row j's, n which of the operands rows has it.
func RowVar(name string) (key bool, n int, ok bool) {
	side, number, found := strings.Cut(name, ".")
	if !found || side != "i" && side != "j" {
		return false, 0, false
	}
	n, err := strconv.Atoi(number)
	return side == "j", n, err == nil && number == strconv.Itoa(n) && n >= 0
}

// KeyRows says of each of so many operands rows whether the mask reads it at row
// j, the key's. A variable without an operand is an error, an operand that is
// not named or is named on both sides is another.
func KeyRows(where *ints.Expr, count int) ([]bool, error) {
	vars := map[string]bool{}
	where.Vars(vars)
	key, named := make([]bool, count), make([]bool, count)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		k, n, ok := RowVar(name)
		switch {
		case name == "i" || name == "j":
		case !ok:
			return nil, fmt.Errorf("the mask knows i, j, and i.0 or j.0 for what an operand has in these rows, not %s", name)
		case n >= count:
			return nil, fmt.Errorf("the mask names %s, but there are %d operands behind q, k and v", name, count)
		case named[n] && key[n] != k:
			return nil, fmt.Errorf("the mask names both i.%d and j.%d: an operand has rows of the query or of the keys", n, n)
		default:
			key[n], named[n] = k, true
		}
	}
	if n := slices.Index(named, false); n >= 0 {
		return nil, fmt.Errorf("the mask names neither i.%d nor j.%d, which an operand is given for", n, n)
	}
	return key, nil
}

// Possible is a test of i and j alone that holds wherever the mask may hold,
// whatever integers the rows have: what it excludes no row ever sees.
func Possible(where *ints.Expr) *ints.Expr {
	p, _ := possible(where, true)
	return p
}

// possible is true wherever e may have that truth; asks says that e depends on
// what rows have.
func possible(e *ints.Expr, truth bool) (p *ints.Expr, asks bool) {
	switch e.Op {
	case ints.Not:
		return possible(e.Args[0], !truth)
	case ints.And, ints.Or:
		a, asksA := possible(e.Args[0], truth)
		b, asksB := possible(e.Args[1], truth)
		if !asksA && !asksB {
			break
		}
		op := ints.And
		if (e.Op == ints.And) != truth { // de Morgan
			op = ints.Or
		}
		return ints.Bin(op, a, b), true
	case ints.Select:
		a, asksA := possible(e.Args[1], truth)
		b, asksB := possible(e.Args[2], truth)
		switch {
		case asksRows(e.Args[0]):
			return ints.Bin(ints.Or, a, b), true
		case asksA || asksB:
			return ints.If(e.Args[0], a, b), true
		}
	default:
		if asksRows(e) {
			return ints.C(1), true
		}
	}
	if truth {
		return e, false
	}
	return ints.No(e), false
}

// asksRows reports whether e depends on integers that rows have.
func asksRows(e *ints.Expr) bool {
	if e.Op == ints.Var {
		return e.Name != "i" && e.Name != "j"
	}
	return slices.ContainsFunc(e.Args, asksRows)
}

// Mask is an attend's predicate made ready to be asked often.
type Mask struct {
	where *ints.Expr
	holds maskFunc
}

// maskFunc is an expression for row i, row j, and what each operand rows has in
// the one of them that the mask reads it at.
type maskFunc func(i, j int64, rows []int64) int64

// NewMask prepares where. A divisor must be a constant other than 0.
func NewMask(where *ints.Expr) (*Mask, error) {
	f, err := compileMask(where)
	return &Mask{where, f}, err
}

// Holds reports whether row i sees row j, where these have the integers rows:
// one for each operand that the mask names.
func (m *Mask) Holds(i, j int64, rows ...int64) bool { return m.holds(i, j, rows) != 0 }

// Block decides the mask for all i and j in two ranges at once, whatever
// integers the rows have: all is where every pair surely sees each other, none
// where surely no pair does.
func (m *Mask) Block(i, j ints.Range) (all, none bool) {
	r := m.where.Interval(map[string]ints.Range{"i": i, "j": j})
	return r.Lo > 0 || r.Hi < 0, r.Lo == 0 && r.Hi == 0
}

// Pairs counts the pairs that see each other under a mask of i and j alone
// (Possible is one), halving the rectangle until the
// mask is decided: near a border only.
func (m *Mask) Pairs(i, j ints.Range) int64 {
	ni, nj := i.Hi-i.Lo+1, j.Hi-j.Lo+1
	if ni <= 0 || nj <= 0 {
		return 0
	}
	switch all, none := m.Block(i, j); {
	case none:
		return 0
	case all:
		return ni * nj
	}
	if ni*nj <= 256 {
		n := int64(0)
		for a := i.Lo; a <= i.Hi; a++ {
			for b := j.Lo; b <= j.Hi; b++ {
				if m.Holds(a, b) {
					n++
				}
			}
		}
		return n
	}
	if ni >= nj {
		mid := i.Lo + ni/2
		return m.Pairs(ints.Range{Lo: i.Lo, Hi: mid - 1}, j) + m.Pairs(ints.Range{Lo: mid, Hi: i.Hi}, j)
	}
	mid := j.Lo + nj/2
	return m.Pairs(i, ints.Range{Lo: j.Lo, Hi: mid - 1}) + m.Pairs(i, ints.Range{Lo: mid, Hi: j.Hi})
}

// compileMask turns an expression into nested functions, which are a hundred
// times faster than evaluating its tree with a map of variables.
func compileMask(e *ints.Expr) (maskFunc, error) {
	var f [3]maskFunc
	for k, a := range e.Args {
		var err error
		if f[k], err = compileMask(a); err != nil {
			return nil, err
		}
	}
	a, b, c := f[0], f[1], f[2]
	truth := func(f func(i, j int64, x []int64) bool) (maskFunc, error) {
		return func(i, j int64, x []int64) int64 {
			if f(i, j, x) {
				return 1
			}
			return 0
		}, nil
	}
	switch e.Op {
	case ints.Const:
		k := e.K
		return func(i, j int64, x []int64) int64 { return k }, nil
	case ints.Var:
		switch e.Name {
		case "i":
			return func(i, j int64, x []int64) int64 { return i }, nil
		case "j":
			return func(i, j int64, x []int64) int64 { return j }, nil
		}
		_, n, ok := RowVar(e.Name)
		if !ok {
			return nil, fmt.Errorf("the mask knows i and j, not %s", e.Name)
		}
		return func(i, j int64, x []int64) int64 { return x[n] }, nil
	case ints.Add:
		return func(i, j int64, x []int64) int64 { return a(i, j, x) + b(i, j, x) }, nil
	case ints.Sub:
		return func(i, j int64, x []int64) int64 { return a(i, j, x) - b(i, j, x) }, nil
	case ints.Mul:
		return func(i, j int64, x []int64) int64 { return a(i, j, x) * b(i, j, x) }, nil
	case ints.Div, ints.Mod:
		k, ok := e.Args[1].IsConst()
		if !ok || k == 0 {
			return nil, fmt.Errorf("the mask divides by %s: a divisor must be a constant other than 0", e.Args[1])
		}
		if e.Op == ints.Div {
			return func(i, j int64, x []int64) int64 { return floorDiv(a(i, j, x), k) }, nil
		}
		return func(i, j int64, x []int64) int64 { return floorMod(a(i, j, x), k) }, nil
	case ints.Min:
		return func(i, j int64, x []int64) int64 { return min(a(i, j, x), b(i, j, x)) }, nil
	case ints.Max:
		return func(i, j int64, x []int64) int64 { return max(a(i, j, x), b(i, j, x)) }, nil
	case ints.Lt:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) < b(i, j, x) })
	case ints.Le:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) <= b(i, j, x) })
	case ints.Eq:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) == b(i, j, x) })
	case ints.Ne:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) != b(i, j, x) })
	case ints.And:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) != 0 && b(i, j, x) != 0 })
	case ints.Or:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) != 0 || b(i, j, x) != 0 })
	case ints.Not:
		return truth(func(i, j int64, x []int64) bool { return a(i, j, x) == 0 })
	case ints.Select:
		return func(i, j int64, x []int64) int64 {
			if a(i, j, x) != 0 {
				return b(i, j, x)
			}
			return c(i, j, x)
		}, nil
	case ints.Table:
		data := e.Data
		return func(i, j int64, x []int64) int64 { return data[min(max(a(i, j, x), 0), int64(len(data))-1)] }, nil
	}
	return nil, fmt.Errorf("the mask holds the unknown operator %d", e.Op)
}
