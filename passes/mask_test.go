package passes_test

import (
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/passes"
)

// kept reports whether a history that keeps k still has row j for the query
// row i, where the call may have begun at i itself.
func kept(k ir.Keep, i, j int64) bool {
	return k.All || j > i-int64(k.Ring) || j < int64(k.Pin)
}

// predicate makes a random test of i and j.
func predicate(rng *rand.Rand, depth int) *ints.Expr {
	c := func() *ints.Expr { return ints.C(int64(rng.IntN(24) - 6)) }
	positive := func() *ints.Expr { return ints.C(int64(1 + rng.IntN(7))) }
	if depth > 0 && rng.IntN(3) > 0 {
		a := predicate(rng, depth-1)
		switch rng.IntN(5) {
		case 0:
			return ints.No(a)
		case 1, 2:
			return ints.Bin(ints.Or, a, predicate(rng, depth-1))
		}
		return ints.Bin(ints.And, a, predicate(rng, depth-1))
	}
	i, j := ints.V("i"), ints.V("j")
	term := func() *ints.Expr {
		switch rng.IntN(9) {
		case 8:
			return ints.V([]string{"i.0", "j.1"}[rng.IntN(2)]) // what a row has
		case 0:
			return i
		case 1:
			return j
		case 2:
			return ints.Minus(i, j)
		case 3:
			return ints.Plus(ints.Times(ints.C(int64(rng.IntN(5)-2)), i), ints.Times(ints.C(int64(rng.IntN(5)-2)), j))
		case 4:
			return ints.Quo([]*ints.Expr{i, j, ints.Minus(i, j)}[rng.IntN(3)], positive())
		case 5:
			return ints.Rem([]*ints.Expr{i, j, ints.Minus(i, j)}[rng.IntN(3)], positive())
		}
		return c()
	}
	switch rng.IntN(8) {
	case 0:
		w := positive()
		return ints.Bin(ints.Eq, ints.Quo(i, w), ints.Quo(j, w))
	case 1:
		return ints.Bin(ints.Lt, ints.Minus(i, j), c())
	case 2:
		return ints.Bin(ints.Le, ints.Times(positive(), j), ints.Plus(ints.Times(positive(), i), c()))
	case 3:
		return c() // constants, also such that the whole never holds
	}
	op := []ints.Op{ints.Lt, ints.Le, ints.Eq, ints.Ne}[rng.IntN(4)]
	return ints.Bin(op, ints.Plus(term(), c()), term())
}

// TestNoVisibleRowIsForgotten tries every pair of rows under random masks.
func TestNoVisibleRowIsForgotten(t *testing.T) {
	const most = 60
	bounded := 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 4))
		where := predicate(rng, 3)
		if rng.IntN(2) == 0 {
			where = ints.Bin(ints.And, ints.Bin(ints.Le, ints.V("j"), ints.V("i")), where)
		}
		k := passes.KeepFor(where)
		if !k.All {
			bounded++
		}
		if k.Ring < 0 || k.Pin < 0 || !k.All && k.Ring < 1 {
			t.Fatalf("%s keeps %s", where, k)
		}
		mask, err := ir.NewMask(where)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(most) {
			for j := range i + 1 {
				for range 3 {
					a, b := rng.Int64N(most)-6, rng.Int64N(most)-6
					if !kept(k, i, j) && mask.Holds(i, j, a, b) {
						t.Fatalf("%s: row %d, which has %d, sees row %d, which has %d, but only %s is kept", where, i, a, j, b, k)
					}
				}
			}
		}
	}
	if bounded < 500 {
		t.Errorf("only %d masks of 3000 let anything be forgotten", bounded)
	}
}

// TestUsualMasksKeepNoMore: what is kept is all that some row still sees.
func TestUsualMasksKeepNoMore(t *testing.T) {
	for where, want := range map[string]ir.Keep{
		"j <= i":                                              {All: true},
		"j <= i && i - j < 24":                                {Ring: 24},
		"j <= i && i - j <= 24":                               {Ring: 25},
		"j <= i && i < j + 24":                                {Ring: 24},
		"j <= i && j > i - 24":                                {Ring: 24},
		"j <= i && !(i - j >= 24)":                            {Ring: 24},
		"j <= i && (i - j < 24 || j < 2)":                     {Ring: 24, Pin: 2},
		"j <= i && (i - j < 24 || j <= 2)":                    {Ring: 24, Pin: 3},
		"j <= i && (i - j < 24 || j == 0)":                    {Ring: 24, Pin: 1},
		"j <= i && i div 16 == j div 16":                      {Ring: 16},
		"j <= i && (i div 16 == j div 16 || j mod 16 == 0)":   {All: true},
		"j <= i && i - j < 40 && i div 16 == j div 16":        {Ring: 16},
		"j <= i && (i - j < 9 || i - j < 12 && j mod 3 == 0)": {Ring: 12},
		"i == j":                                       {Ring: 1},
		"j == i - 3":                                   {Ring: 4},
		"j <= i && j < 5":                              {Ring: 1, Pin: 5},
		"j <= i && (0 == 1 || i - j < 7)":              {Ring: 7},
		"j <= i && (1 == 1 || i - j < 7)":              {All: true},
		"j <= i && 2 * i - 2 * j < 9":                  {Ring: 5},
		"j <= i && !(j < i - 3 || j mod 2 == 1)":       {Ring: 4},
		"j <= i && (i - j < 4 || i < 100)":             {All: true},
		"j <= i && i - j < 1":                          {Ring: 1},
		"j <= i && i - j < 0":                          {Ring: 1},
		"j <= i && i - j < 5 && (j < 3 || i > 2)":      {Ring: 5},
		"j <= i && i - j < 9 && i.0 == j.1":            {Ring: 9},
		"j <= i && (i - j < 9 || j.0 == 1 && j < 4)":   {Ring: 9, Pin: 4},
		"j <= i && (i - j < 9 || j.0 == 1)":            {All: true},
		"j <= i && i - j < i.0":                        {All: true},
		"j <= i && i - j < min(i.0, 12)":               {All: true},
		"j <= i && i - j < 12 && !(i - j < i.0)":       {Ring: 12},
		"j <= i && select(i.0 == 1, i - j < 3, j < 2)": {Ring: 3, Pin: 2},
	} {
		e, err := ints.Parse(where)
		if err != nil {
			t.Fatal(err)
		}
		if got := passes.KeepFor(e); got != want {
			t.Errorf("%s keeps %s, want %s", where, got, want)
		}
	}
}
