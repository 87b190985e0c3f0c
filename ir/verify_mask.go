package ir

import (
	"slices"

	"github.com/memc-lang/memc/ir/ints"
)

// verifyMask checks that no row sees a later one, and that the histories under
// the keys are alike and forget none that is still seen: whatever integers the
// rows have, as these are known when the program runs.
func (v *verifier) verifyMask(n *Node) {
	key, err := KeyRows(n.Attr.Where, len(n.Args)-3)
	if err != nil {
		return // the type rule has told
	}
	where := Possible(n.Attr.Where)
	m, err := NewMask(where)
	if err == nil {
		_, err = NewMask(n.Attr.Where)
	}
	if err != nil {
		v.fault(n, "%v", err)
		return
	}
	if !causal(where) {
		const most = 300
		for i := range int64(most) {
			for j := i + 1; j < most; j++ {
				if m.Holds(i, j) {
					v.fault(n, "the mask lets row %d see the later row %d%s; add j <= i", i, j, someRows(n))
					return
				}
			}
		}
		v.fault(n, "the mask %s does not show that no row sees a later one; add j <= i", n.Attr.Where)
		return
	}
	var history *Node
	for i, x := range n.Args {
		if i == 0 || i > 2 && !key[i-3] {
			continue
		}
		for x.Op.Name != "keep" && len(x.Args) > 0 && x.Type.Clock() != nil {
			x = x.Args[0]
		}
		if x.Op.Name != "keep" {
			continue
		}
		if !v.verifyHistory(n, x, m) {
			return
		}
		if history != nil && history.Attr.Keep != x.Attr.Keep {
			v.fault(n, "the histories under its keys keep different rows: %s (%s) and %s (%s)", history.Attr.Name, history.Attr.Keep, x.Attr.Name, x.Attr.Keep)
			return
		}
		history = x
	}
}

// someRows says that a fault needs certain integers in the rows.
func someRows(n *Node) string {
	if len(n.Args) > 3 {
		return " where these have certain integers"
	}
	return ""
}

// verifyHistory tries the mask on rows that a call starting at row i no longer
// has. In a scan nothing goes before the chunk's end.
func (v *verifier) verifyHistory(n, keep *Node, m *Mask) bool {
	k := keep.Attr.Keep
	c := keep.Type.Clock()
	if k.All || c.Kind == Chunk || c.Kind == Prefixed {
		return true
	}
	span := min(int64(3*(k.Ring+k.Pin)+100), 1<<15)
	step := max(1, span/600)
	for i := int64(0); i < span; i += step {
		gone := ints.Range{Lo: int64(k.Pin), Hi: i - int64(k.Ring) - 1}
		if k.Chunk && k.Ring > 0 {
			gone.Hi = i/int64(k.Ring)*int64(k.Ring) - 1
		}
		if m.Pairs(ints.Range{Lo: i, Hi: i}, gone) > 0 {
			v.fault(n, "row %d sees rows that the history %s (%s) has forgotten", i, keep.Attr.Name, k)
			return false
		}
	}
	return true
}

// bounds is what a conjunction of comparisons says of i and j, both at least 0.
type bounds struct {
	ahead  int64 // j - i is at most this
	lastJ  int64 // j is at most this
	firstI int64 // i is at least this
	never  bool
}

// causal reports whether where implies j <= i. It is sound: a mask that it does
// not understand is not causal.
func causal(where *ints.Expr) bool {
	terms, ok := disjuncts(where, true)
	if !ok {
		return false
	}
	for _, atoms := range terms {
		b := bounds{ahead: ints.Unknown.Hi, lastJ: ints.Unknown.Hi}
		for _, a := range atoms {
			b.learn(a.e, a.holds)
		}
		if !b.never && b.ahead > 0 && b.lastJ > b.firstI {
			return false
		}
	}
	return true
}

// atom is a comparison that holds, or does not.
type atom struct {
	e     *ints.Expr
	holds bool
}

// disjuncts gives where (or its contrary) as a few conjunctions of atoms, one of
// which holds.
func disjuncts(e *ints.Expr, holds bool) ([][]atom, bool) {
	const most = 256
	op := e.Op
	if !holds { // de Morgan
		switch op {
		case ints.And:
			op = ints.Or
		case ints.Or:
			op = ints.And
		}
	}
	switch op {
	case ints.Not:
		return disjuncts(e.Args[0], !holds)
	case ints.And, ints.Or:
		a, okA := disjuncts(e.Args[0], holds)
		b, okB := disjuncts(e.Args[1], holds)
		if !okA || !okB {
			return nil, false
		}
		if op == ints.Or {
			return append(a, b...), len(a)+len(b) <= most
		}
		if len(a)*len(b) > most {
			return nil, false
		}
		var out [][]atom
		for _, x := range a {
			for _, y := range b {
				out = append(out, slices.Concat(x, y))
			}
		}
		return out, true
	}
	return [][]atom{{{e, holds}}}, true
}

// learn takes what an atom says of the bounds; what it does not understand adds
// nothing.
func (b *bounds) learn(e *ints.Expr, holds bool) {
	if k, ok := e.IsConst(); ok {
		b.never = b.never || (k != 0) != holds
		return
	}
	if len(e.Args) != 2 {
		return
	}
	x, y := e.Args[0], e.Args[1]
	switch op := e.Op; {
	case op == ints.Le && holds:
		b.atMost(x, y, 0)
	case op == ints.Lt && holds:
		b.atMost(x, y, -1)
	case op == ints.Le: // y < x
		b.atMost(y, x, -1)
	case op == ints.Lt: // y <= x
		b.atMost(y, x, 0)
	case op == ints.Eq && holds, op == ints.Ne && !holds:
		b.atMost(x, y, 0)
		b.atMost(y, x, 0)
	}
}

// atMost takes x <= y + k.
func (b *bounds) atMost(x, y *ints.Expr, k int64) {
	// j div c < i div c puts j before i.
	if k < 0 && x.Op == ints.Div && y.Op == ints.Div && ints.Equal(x.Args[1], y.Args[1]) {
		if c, ok := x.Args[1].IsConst(); ok && c > 0 {
			b.atMost(x.Args[0], y.Args[0], -1)
		}
		return
	}
	// x - y = cj·j + ci·i + rest <= k
	cj, rest, ok := ints.Minus(x, y).Coeff("j")
	if !ok {
		return
	}
	ci, rest, ok := rest.Coeff("i")
	if !ok {
		return
	}
	c, ok := rest.IsConst()
	if !ok {
		return
	}
	switch {
	case cj == 1 && ci == -1:
		b.ahead = min(b.ahead, k-c)
	case cj == 1 && ci == 0:
		b.lastJ = min(b.lastJ, k-c)
	case cj == 0 && ci == -1:
		b.firstI = max(b.firstI, c-k)
	case cj == 0 && ci == 0:
		b.never = b.never || c > k
	}
}
