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

// TestBlocksOfMasks: what is said of a block of rows and keys holds for each pair in it.
func TestBlocksOfMasks(t *testing.T) {
	sure, bounded := 0, 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		where := predicate(rng, 3)
		mask, err := ir.NewMask(where)
		if err != nil {
			t.Fatal(err)
		}
		i, j := rng.Int64N(40), rng.Int64N(40)
		rows, keys := 1+rng.Int64N(8), 1+rng.Int64N(8)
		bounds := map[string][2]*ints.Expr{"i": {ints.C(i), ints.C(i + rows - 1)}, "j": {ints.C(j), ints.C(j + keys - 1)}}
		number := func(e *ints.Expr) int64 {
			n, err := e.Eval(nil)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		full, empty := number(passes.Certain(where, bounds, true)) != 0, number(passes.Certain(where, bounds, false)) != 0
		a, b := passes.Diagonal(where, bounds)
		lo, hi := number(a), number(b)
		if full || empty {
			sure++
		}
		if lo > -40 || hi < 40 {
			bounded++
		}
		for n := range rows * keys {
			i, j := i+n/keys, j+n%keys
			for range 3 {
				x, y := rng.Int64N(54)-6, rng.Int64N(54)-6
				switch sees := mask.Holds(i, j, x, y); {
				case sees && empty, !sees && full:
					t.Fatalf("%s: row %d, which has %d, sees row %d, which has %d: %v, surely not", where, i, x, j, y, sees)
				case sees && (j-i < lo || j-i > hi):
					t.Fatalf("%s: row %d, which has %d, sees row %d, which has %d, not from %d to %d away", where, i, x, j, y, lo, hi)
				}
			}
		}
	}
	if sure < 500 || bounded < 500 {
		t.Errorf("of 3000 blocks only %d are certain and %d bounded", sure, bounded)
	}
}

// TestDiagonalOfUsualMasks: the bounds are those of the mask.
func TestDiagonalOfUsualMasks(t *testing.T) {
	i, j := ints.V("i"), ints.V("j")
	causal := ints.Bin(ints.Le, j, i)
	window := ints.Bin(ints.Lt, ints.Minus(i, j), ints.C(10))
	sinks := ints.Bin(ints.Lt, j, ints.C(4))
	block := func(at int64) map[string][2]*ints.Expr {
		return map[string][2]*ints.Expr{"i": {ints.C(100), ints.C(107)}, "j": {ints.C(at), ints.C(at + 7)}}
	}
	for _, c := range []struct {
		where  *ints.Expr
		at     int64
		lo, hi int64
	}{
		{causal, 96, -passes.Far, 0},
		{ints.Bin(ints.And, causal, window), 96, -9, 0},
		{ints.Bin(ints.And, causal, ints.Bin(ints.Or, window, sinks)), 96, -9, 0},
		{ints.Bin(ints.And, causal, ints.Bin(ints.Or, window, sinks)), 0, -passes.Far, 0},
		{ints.No(ints.Bin(ints.Or, ints.Bin(ints.Lt, i, j), ints.No(window))), 96, -9, 0},
		{ints.Bin(ints.Le, ints.Minus(i, j), ints.C(1<<62)), 96, 2 - passes.Far, passes.Far},
		{ints.Bin(ints.Lt, ints.Minus(i, j), ints.C(-1<<62)), 96, passes.Far, passes.Far},
	} {
		lo, hi := passes.Diagonal(c.where, block(c.at))
		if a, ok := lo.IsConst(); !ok || a != c.lo {
			t.Errorf("%s from %d on: no less than %s, not %d", c.where, c.at, lo, c.lo)
		}
		if b, ok := hi.IsConst(); !ok || b != c.hi {
			t.Errorf("%s from %d on: no more than %s, not %d", c.where, c.at, hi, c.hi)
		}
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
