package kerneltest

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

const cases = 200

// TestRandom: random kernels verify, print and parse back, and run without a
// fault; rounding and the order of blocks stay within the tolerance.
func TestRandom(t *testing.T) {
	for seed := range int64(cases) {
		r := rand.New(rand.NewSource(seed))
		c := Random(r)
		for _, err := range c.Kernel.Verify() {
			t.Fatalf("seed %d: %v\n%s", seed, err, c.Kernel)
		}
		ks, err := kernel.Parse(c.Kernel.String())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, c.Kernel)
		}
		if !reflect.DeepEqual(ks, []*kernel.Kernel{c.Kernel}) {
			t.Fatalf("seed %d: parse(print(k)) is not k:\n%s", seed, c.Kernel)
		}
		args := c.Args(r)
		want := c.Memory(r, args)
		got := c.Clone(want)
		if err := c.Kernel.Run(want, args); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, c.Kernel)
		}
		if err := (kernel.Interp{Round32: true, Chain32: seed%2 == 0, Order: r.Perm}).Run(c.Kernel, got, args); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, c.Kernel)
		}
		if err := c.Compare(got, want); err != nil {
			t.Fatalf("seed %d, n = %d: %v\n%s", seed, args[0], err, c.Kernel)
		}
	}
}

// TestCoverage: every statement and every operator occurs.
func TestCoverage(t *testing.T) {
	seen := map[string]int{}
	var val func(*kernel.Val)
	val = func(v *kernel.Val) {
		seen[fmt.Sprintf("op %d %s", v.Op, v.Op)]++
		for _, a := range v.Args {
			val(a)
		}
	}
	var body func([]kernel.Stmt)
	body = func(ss []kernel.Stmt) {
		for _, s := range ss {
			seen[fmt.Sprintf("%T", s)]++
			switch s := s.(type) {
			case *kernel.Map:
				val(s.Expr)
			case *kernel.Dot:
				seen[fmt.Sprint("dot", s.TransA, s.TransB, s.Acc)]++
				seen[fmt.Sprint("bands", s.In != nil, s.Out != nil)]++
			case *kernel.Reduce:
				seen[fmt.Sprint("reduce", s.Op, s.OverRows)]++
			case *kernel.For:
				body(s.Body)
			case *kernel.When:
				body(s.Body)
			}
		}
	}
	for seed := range int64(cases) {
		for _, p := range Random(rand.New(rand.NewSource(seed))).Kernel.Parts {
			body(p.Body)
		}
	}
	if want := 10 + 8 + 4 + 4 + int(kernel.ToI32) + 1; len(seen) != want {
		t.Errorf("%d kinds of statement and operator occur, not %d: %v", len(seen), want, seen)
	}
}

// TestCompare: most results have a bound that is exact or tight, and a result
// beyond it does not pass.
func TestCompare(t *testing.T) {
	exact, tight, all := 0, 0, 0
	for seed := range int64(cases) {
		r := rand.New(rand.NewSource(seed))
		c := Random(r)
		args := c.Args(r)
		want := c.Memory(r, args)
		got := c.Clone(want)
		if err := c.Compare(got, want); err != nil {
			t.Fatalf("seed %d: a copy differs: %v", seed, err)
		}
		for i, b := range c.Kernel.Bufs {
			switch {
			case len(got[i]) == 0:
				continue
			case b.Write && b.Elem.Float():
				all++
				tol := c.Tolerance(b)
				if tol == 0 {
					exact++
				}
				if tol < 1e-3 || b.Elem != kernel.F32 && tol < 0.1 {
					tight++
				}
				got[i].SetFloat(b.Elem, 0, want[i].Float(b.Elem, 0)+1+4*tol)
			default:
				got[i][0] ^= 1
			}
			if c.Compare(got, want) == nil {
				t.Errorf("seed %d: a change in buffer %s passes", seed, b)
			}
			copy(got[i], want[i])
		}
	}
	if exact < all/10 || tight < all*2/3 {
		t.Errorf("of %d floating results, %d are exact and %d tight", all, exact, tight)
	}
	t.Logf("of %d floating results, %d are exact and %d tight", all, exact, tight)
}
