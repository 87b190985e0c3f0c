package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/ints"
)

// Mask is an attend's predicate over i, the query's row, and j, the key's, made
// ready to be asked often.
type Mask struct {
	where *ints.Expr
	holds func(i, j int64) int64
}

// NewMask prepares where. A divisor must be a constant other than 0.
func NewMask(where *ints.Expr) (*Mask, error) {
	f, err := compileMask(where)
	return &Mask{where, f}, err
}

// Holds reports whether row i sees row j.
func (m *Mask) Holds(i, j int64) bool { return m.holds(i, j) != 0 }

// Block decides the mask for all i and j in two ranges at once: all is where
// every pair surely sees each other, none where surely no pair does.
func (m *Mask) Block(i, j ints.Range) (all, none bool) {
	r := m.where.Interval(map[string]ints.Range{"i": i, "j": j})
	return r.Lo > 0 || r.Hi < 0, r.Lo == 0 && r.Hi == 0
}

// Pairs counts the pairs that see each other, halving the rectangle until the
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
func compileMask(e *ints.Expr) (func(i, j int64) int64, error) {
	var f [3]func(i, j int64) int64
	for k, a := range e.Args {
		var err error
		if f[k], err = compileMask(a); err != nil {
			return nil, err
		}
	}
	a, b, c := f[0], f[1], f[2]
	truth := func(f func(i, j int64) bool) (func(i, j int64) int64, error) {
		return func(i, j int64) int64 {
			if f(i, j) {
				return 1
			}
			return 0
		}, nil
	}
	switch e.Op {
	case ints.Const:
		k := e.K
		return func(i, j int64) int64 { return k }, nil
	case ints.Var:
		switch e.Name {
		case "i":
			return func(i, j int64) int64 { return i }, nil
		case "j":
			return func(i, j int64) int64 { return j }, nil
		}
		return nil, fmt.Errorf("the mask knows i and j, not %s", e.Name)
	case ints.Add:
		return func(i, j int64) int64 { return a(i, j) + b(i, j) }, nil
	case ints.Sub:
		return func(i, j int64) int64 { return a(i, j) - b(i, j) }, nil
	case ints.Mul:
		return func(i, j int64) int64 { return a(i, j) * b(i, j) }, nil
	case ints.Div, ints.Mod:
		k, ok := e.Args[1].IsConst()
		if !ok || k == 0 {
			return nil, fmt.Errorf("the mask divides by %s: a divisor must be a constant other than 0", e.Args[1])
		}
		if e.Op == ints.Div {
			return func(i, j int64) int64 { return floorDiv(a(i, j), k) }, nil
		}
		return func(i, j int64) int64 { return floorMod(a(i, j), k) }, nil
	case ints.Min:
		return func(i, j int64) int64 { return min(a(i, j), b(i, j)) }, nil
	case ints.Max:
		return func(i, j int64) int64 { return max(a(i, j), b(i, j)) }, nil
	case ints.Lt:
		return truth(func(i, j int64) bool { return a(i, j) < b(i, j) })
	case ints.Le:
		return truth(func(i, j int64) bool { return a(i, j) <= b(i, j) })
	case ints.Eq:
		return truth(func(i, j int64) bool { return a(i, j) == b(i, j) })
	case ints.Ne:
		return truth(func(i, j int64) bool { return a(i, j) != b(i, j) })
	case ints.And:
		return truth(func(i, j int64) bool { return a(i, j) != 0 && b(i, j) != 0 })
	case ints.Or:
		return truth(func(i, j int64) bool { return a(i, j) != 0 || b(i, j) != 0 })
	case ints.Not:
		return truth(func(i, j int64) bool { return a(i, j) == 0 })
	case ints.Select:
		return func(i, j int64) int64 {
			if a(i, j) != 0 {
				return b(i, j)
			}
			return c(i, j)
		}, nil
	case ints.Table:
		data := e.Data
		return func(i, j int64) int64 { return data[min(max(a(i, j), 0), int64(len(data))-1)] }, nil
	}
	return nil, fmt.Errorf("the mask holds the unknown operator %d", e.Op)
}
