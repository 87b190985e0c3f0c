package ints

import (
	"errors"
	"math"
	"math/rand"
	"strings"
	"testing"
)

var names = []string{"n", "pos", "i", "local.q_1"}

// twins draws an expression twice: as it stands, and folded by the functions
// that make expressions.
func twins(r *rand.Rand, depth int) (plain, folded *Expr) {
	if depth == 0 || r.Intn(5) == 0 {
		if r.Intn(2) == 0 {
			e := C(int64(r.Intn(9) - 4))
			return e, e
		}
		e := V(names[r.Intn(len(names))])
		return e, e
	}
	op := Add + Op(r.Intn(int(Table-Add)+1))
	args := map[Op]int{Not: 1, Table: 1, Select: 3}[op]
	if args == 0 {
		args = 2
	}
	plain, folded = &Expr{Op: op}, &Expr{Op: op}
	if op == Table {
		for range 1 + r.Intn(4) {
			plain.Data = append(plain.Data, int64(r.Intn(21)-10))
		}
		folded.Data = plain.Data
	}
	for i := range args {
		p, f := twins(r, depth-1)
		if (op == Div || op == Mod) && i == 1 && r.Intn(4) > 0 {
			p = C(int64(1 + r.Intn(7)))
			f = p
		}
		plain.Args, folded.Args = append(plain.Args, p), append(folded.Args, f)
	}
	return plain, fold(folded)
}

// values draws a value for each name.
func values(r *rand.Rand) map[string]int64 {
	env := map[string]int64{}
	for _, n := range names {
		env[n] = int64(r.Intn(41) - 20)
	}
	return env
}

func TestEval(t *testing.T) {
	env := map[string]int64{"x": 7, "y": -3, "z": 0}
	for s, want := range map[string]int64{
		"x": 7, "-5": -5, "x + y": 4, "x - y": 10, "x * y": -21, "x - y - z": 10, "x - (y - z)": 10, "1 + 2 * x": 15, "(1 + 2) * x": 21,
		"x div 2": 3, "y div 2": -2, "(0 - x) div 7": -1, "y mod 2": 1, "x mod y": -2, "y mod 7": 4, "x div y": -3,
		"min(x, y)": -3, "max(x, y)": 7, "x < y": 0, "y < x": 1, "x <= 7": 1, "x > y": 1, "y >= x": 0, "x == 7": 1, "x != 7": 0,
		"x && y": 1, "x && z": 0, "z || y": 1, "z || z": 0, "!x": 0, "!z": 1, "!(x < y) && y < x": 1,
		"select(z, x, y)": -3, "select(y, x, z)": 7,
		"table(4 -5 6)[x]": 6, "table(4 -5 6)[y]": 4, "table(4 -5 6)[x - 6]": -5,
		"9223372036854775807 + x - 7": math.MaxInt64, "-9223372036854775808 + z": math.MinInt64,
	} {
		e, err := Parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got, err := e.Eval(env); err != nil || got != want {
			t.Errorf("%s is %d (%v), not %d", s, got, err, want)
		}
	}
	for s, want := range map[string]string{"q + 1": "no value for the variable q", "x div z": "division by zero in x div z", "x mod (y + 3)": "division by zero", "1 div 0": "division by zero"} {
		e, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Eval(env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives the error %v, not %s", s, err, want)
		}
	}
}

// TestFloorDivision: x == (x div c)*c + x mod c, and 0 <= x mod c < c for c > 0.
func TestFloorDivision(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 20000 {
		x, c := int64(r.Uint64())>>r.Intn(64), 1+int64(r.Uint64()>>(1+r.Intn(62)))
		q, err1 := Quo(C(x), C(c)).Eval(nil)
		m, err2 := Rem(C(x), C(c)).Eval(nil)
		if err1 != nil || err2 != nil || q*c+m != x || m < 0 || m >= c {
			t.Fatalf("%d div %d is %d, mod is %d (%v, %v)", x, c, q, m, err1, err2)
		}
	}
	for a := int64(-9); a <= 9; a++ {
		for k := int64(1); k <= 5; k++ {
			got, _ := CeilQuo(C(a), k).IsConst()
			if want := int64(math.Ceil(float64(a) / float64(k))); got != want {
				t.Errorf("ceil(%d / %d) is %d, not %d", a, k, got, want)
			}
		}
	}
}

// TestFold: folding changes no value. It may lose a division by zero, and
// never makes one.
func TestFold(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for range 30000 {
		plain, folded := twins(r, 5)
		env := values(r)
		want, err := plain.Eval(env)
		if err != nil {
			continue
		}
		if got, err := folded.Eval(env); err != nil || got != want {
			t.Fatalf("%s is %d, but folded, %s, it is %d (%v) at %v", plain, want, folded, got, err, env)
		}
	}
}

// TestRoundTrip: parse(print(e)) is e for what the functions make, and has e's
// values for every tree.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for range 20000 {
		plain, folded := twins(r, 5)
		got, err := Parse(folded.String())
		if err != nil || !Equal(got, folded) {
			t.Fatalf("%s reads as %s (%v)", folded, got, err)
		}
		if got, err = Parse(plain.String()); err != nil {
			t.Fatalf("%s: %v", plain, err)
		}
		env := values(r)
		if want, err := plain.Eval(env); err == nil {
			if v, err := got.Eval(env); err != nil || v != want {
				t.Fatalf("%s is %d, but read, %s, it is %d (%v)", plain, want, got, v, err)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		src string
		at  int
		msg string
	}{
		{"", 0, `expected an integer expression, found ""`},
		{"a +", 3, `expected an integer expression, found ""`},
		{"a b", 2, `unexpected "b"`},
		{"(a", 2, `expected ")", found ""`},
		{"3x", 0, `expected a 64-bit integer, found "3x"`},
		{"9223372036854775808", 0, "expected a 64-bit integer"},
		{"min(a)", 5, `expected ","`},
		{"select(a, b)", 11, `expected ","`},
		{"table()[a]", 7, "a table needs at least one value"},
		{"table(1 x)[a]", 8, "expected a 64-bit integer"},
		{"table(1", 7, "expected a 64-bit integer"},
		{"a $ b", 2, `unexpected "$"`},
		{strings.Repeat("(", 1<<20), -1, "nested more than 200 deep"},
		{strings.Repeat("!", 1<<20), -1, "nested more than 200 deep"},
		{strings.Repeat("min(", 1<<20), -1, "nested more than 200 deep"},
		{"a" + strings.Repeat(" + a", 1<<20), -1, "more than 1000 operators in a row"},
	} {
		_, err := Parse(c.src)
		var se *SyntaxError
		if !errors.As(err, &se) || !strings.Contains(se.Msg, c.msg) || c.at >= 0 && se.At != c.at {
			t.Errorf("%.20q: the error is %v, not at byte %d: %s", c.src, err, c.at, c.msg)
		}
	}
}

// TestInterval: no value lies outside the interval that its variables' ranges
// give.
func TestInterval(t *testing.T) {
	r := rand.New(rand.NewSource(4))
	for range 20000 {
		plain, folded := twins(r, 5)
		ranges := map[string]Range{}
		for _, n := range names {
			lo := int64(r.Intn(41) - 20)
			ranges[n] = Range{lo, lo + int64(r.Intn(12))}
		}
		for _, e := range []*Expr{plain, folded} {
			within := e.Interval(ranges)
			for range 20 {
				env := map[string]int64{}
				for n, x := range ranges {
					env[n] = x.Lo + r.Int63n(x.Hi-x.Lo+1)
				}
				if v, err := e.Eval(env); err == nil && (v < within.Lo || v > within.Hi) {
					t.Fatalf("%s is %d at %v, outside %v", e, v, env, within)
				}
			}
		}
	}
}

// TestIntervalKnown: where it matters for masks and bounds, intervals are tight.
func TestIntervalKnown(t *testing.T) {
	env := map[string]Range{"i": {0, 31}, "n": {1, 1 << 20}, "t": {64, 95}}
	for s, want := range map[string]Range{
		"i": {0, 31}, "i + t": {64, 126}, "t - i": {33, 95}, "t - t": {0, 0}, "-2 * i": {-62, 0}, "t div 64": {1, 1}, "t mod 64": {0, 31}, "i mod 7": {0, 6},
		"i < t": {1, 1}, "t <= i": {0, 0}, "i < n": {0, 1}, "i == 40": {0, 0}, "i != 40": {1, 1}, "i < t && n > 0": {1, 1}, "!(i < t)": {0, 0},
		"min(i, t)": {0, 31}, "max(i, t)": {64, 95}, "select(i < t, i, n)": {0, 31}, "table(5 1 9)[i]": {1, 9}, "table(5 1 9)[t]": {9, 9},
		"u": Unknown, "i div n": Unknown,
	} {
		e, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Interval(env); got != want {
			t.Errorf("%s lies in %v, not %v", s, got, want)
		}
	}
}

// TestCoeff: e == c*x + rest, at every x, and what is linear is found.
func TestCoeff(t *testing.T) {
	for s, want := range map[string]int64{"n": 1, "7": 0, "i + 3": 0, "i + n": 1, "i - n": -1, "3 * n + n": 4, "(n + i) * 5": 5, "2 * (i - n * 3)": -6, "n - n * 1": 0, "i div 2 + n": 1} {
		e, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		c, rest, ok := e.Coeff("n")
		if !ok || c != want || rest.Has("n") {
			t.Errorf("%s is %d*n + %v (%v), not %d*n", s, c, rest, ok, want)
		}
	}
	for _, s := range []string{"n * n", "n * i", "n div 2", "n mod 4", "min(n, 3)", "n < 3", "select(i, n, 0)", "table(1 2)[n]"} {
		e, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if c, rest, ok := e.Coeff("n"); ok {
			t.Errorf("%s counts as %d*n + %s", s, c, rest)
		}
	}
	r := rand.New(rand.NewSource(5))
	for range 20000 {
		_, e := twins(r, 4)
		c, rest, ok := e.Coeff("n")
		if !ok {
			continue
		}
		env := values(r)
		want, err := e.Eval(env)
		if err != nil {
			continue
		}
		if v, err := rest.Eval(env); err != nil || c*env["n"]+v != want || rest.Has("n") {
			t.Fatalf("%s is %d, but %d*n + (%s) is not (%v)", e, want, c, rest, err)
		}
		if cn, ci, k, ok := e.Affine("n", "i"); ok && cn*env["n"]+ci*env["i"]+k != want {
			t.Fatalf("%s is %d, not %d*n + %d*i + %d", e, want, cn, ci, k)
		}
	}
}

// TestSubst: replacing a variable by its value changes nothing, and finds
// exactly the variables that Vars lists.
func TestSubst(t *testing.T) {
	r := rand.New(rand.NewSource(6))
	for range 10000 {
		_, e := twins(r, 4)
		env, set := values(r), map[string]bool{}
		e.Vars(set)
		with := map[string]*Expr{}
		for n := range set {
			if !e.Has(n) {
				t.Fatalf("%s lists %s but does not have it", e, n)
			}
			with[n] = C(env[n])
		}
		want, err := e.Eval(env)
		if err != nil {
			continue
		}
		if got, ok := e.Subst(with).IsConst(); !ok || got != want {
			t.Fatalf("%s with %v is %s, not %d", e, env, e.Subst(with), want)
		}
	}
}

// FuzzParse: what can be read prints and reads back equal.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewSource(7))
	for range 20 {
		plain, _ := twins(r, 4)
		f.Add(plain.String())
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil && strings.Contains(err.Error(), "more than") {
			return // a chain such as a > b > c prints with brackets, which nest
		}
		if err != nil || !Equal(again, e) {
			t.Fatalf("%q reads as %s, which reads as %v (%v)", s, e, again, err)
		}
		e.Interval(nil)
		e.Coeff("n")
		e.Eval(map[string]int64{"n": 3})
	})
}
