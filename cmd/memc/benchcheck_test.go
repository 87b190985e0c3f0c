package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

func TestApart(t *testing.T) {
	want := runtime.FromFloat32([]float32{3, 0, 4})
	for _, c := range []struct {
		got []float32
		e   float64
	}{
		{[]float32{3, 0, 4}, 0},
		{[]float32{3, 0.5, 4}, 0.1},
		{[]float32{0, 0, 0}, 1},
	} {
		if e, err := apart(runtime.FromFloat32(c.got), want); err != nil || math.Abs(e-c.e) > 1e-12 {
			t.Errorf("%v: the error is %v (%v), want %v", c.got, e, err, c.e)
		}
	}
	nan := float32(math.NaN())
	if e, err := apart(runtime.FromFloat32([]float32{nan, 0, 4}), want); err != nil || e == e {
		t.Errorf("a value that is no number: the error is %v (%v)", e, err)
	}
	if _, err := apart(runtime.FromFloat32([]float32{3, 0}), want); err == nil {
		t.Error("a shorter result passes")
	}
}

// TestCompare: a program passes with its own weights, and is not timed where
// the interpreter has others.
func TestCompare(t *testing.T) {
	target := memc.HostTargets()[0]
	if target == "interp" {
		t.Skip("this machine runs no compiled code: there is nothing to compare with the interpreter")
	}
	a := &app{ctx: t.Context()}
	s := &source{Spec: "../../specs/bench/recur.spec", Set: []string{"heads=2", "dim=16", "hidden=32", "chunk=16"}}
	p, err := s.program(a, engine{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	one, two := uint64(1), uint64(2)
	own, other := weights{Seed: &one}, weights{Seed: &two}
	b := &bench{app: a, p: p, threads: 1}
	if b.w, err = own.load(p); err != nil {
		t.Fatal(err)
	}
	b.number = slices.IndexFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == "forward" })
	if err := b.graphs(); err != nil {
		t.Fatal(err)
	}
	c, err := b.compare(own, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Rows != 16+66 || c.Calls != 3 || c.Error == 0 || c.Error > 1e-4 {
		t.Errorf("%+v: want an error of rounding in 82 rows, 3 calls", *c)
	}
	if _, err := b.compare(other, nil); err == nil || !strings.Contains(err.Error(), "nothing to time") {
		t.Errorf("with other weights: %v", err)
	}
}

// TestTooLarge: what the interpreter cannot hold is not compared, and that is said.
func TestTooLarge(t *testing.T) {
	many := []runtime.Param{{Shape: []int{1 << 15, 1 << 15}}}
	if why := tooLarge(many); why != "" {
		t.Errorf("2^30 weights: %s", why)
	}
	many = append(many, runtime.Param{Shape: []int{1}})
	c := checked{Why: tooLarge(many)}
	if got := c.String(); got != "not checked: the interpreter would need 8589.9 MB for the weights" {
		t.Errorf("one more: %q", got)
	}
}
