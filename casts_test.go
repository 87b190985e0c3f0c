package memc_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// TestCasts: a cast to integers goes towards zero, to the nearest integer of the
// type where it is beyond them, NaN to 0, alike on every target; a choice between
// static integers is one of integers.
func TestCasts(t *testing.T) {
	const src = `clock t
entry forward(x f32[t], n i32[t]) -> narrow i32[t], wide i64[t], low i32[t], test i32[t], chosen i64[t], scaled f32[t] {
  k = if n < 4 then 3 else 16
  return x as i32, x as i64, (n as i64 * 4096) as i32, (x < 2) as i32, k, x * k
}
`
	file := filepath.Join(t.TempDir(), "casts.spec")
	if err := os.WriteFile(file, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1.75, -1.75, 1e6, -0.99, 2147483520, 2147483648, -2147483648, 3e9, -3e9, 1e30, -1e30, inf, -inf, nan, 9.2e18, -9.3e18, 7, 8}
	narrow := []float32{0, 1, -1, 1e6, 0, 2147483520, 2147483647, -2147483648, 2147483647, -2147483648, 2147483647, -2147483648, 2147483647, -2147483648, 0, 2147483647, -2147483648, 7, 8}
	const most = math.MaxInt64
	wide := []float32{0, 1, -1, 1e6, 0, 2147483520, 2147483648, -2147483648, 3e9, -3e9, most, -most, most, -most, 0, 9.2e18, -most, 7, 8}
	n := make([]int32, len(x))
	for i := range n {
		n[i] = int32(i * 101_000)
	}
	n[3], n[4] = 3, 4
	read := func(t *testing.T, x runtime.Tensor) (v []float32) {
		t.Helper()
		switch x.Elem {
		case runtime.I32:
			for i := range x.Len() {
				v = append(v, float32(int32(binary.LittleEndian.Uint32(x.Data[4*i:]))))
			}
		case runtime.I64:
			for i := range x.Len() {
				v = append(v, float32(int64(binary.LittleEndian.Uint64(x.Data[8*i:]))))
			}
		default:
			var err error
			if v, err = runtime.Float32(x); err != nil {
				t.Fatal(err)
			}
		}
		return v
	}
	for _, target := range append([]string{"interp"}, native(t)...) {
		t.Run(target, func(t *testing.T) {
			p := programs(t, file, nil, memc.Options{}, target)[0]
			weights, err := p.DrawWeights(1)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.NewSession(weights, runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			out, err := s.Call(context.Background(), "forward", map[string]runtime.Tensor{"x": runtime.FromFloat32(x), "n": runtime.FromInt32(n)})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string][]float32{"narrow": narrow, "wide": wide}
			for i, v := range n {
				k := float32(16)
				if v < 4 {
					k = 3
				}
				test := float32(0)
				if x[i] < 2 {
					test = 1
				}
				want["low"] = append(want["low"], float32(v*4096))
				want["test"] = append(want["test"], test)
				want["chosen"] = append(want["chosen"], k)
				want["scaled"] = append(want["scaled"], x[i]*k)
			}
			for name, w := range want {
				got := read(t, out[name])
				same := func(a, b float32) bool { return a == b || a != a && b != b }
				if !slices.EqualFunc(got, w, same) {
					t.Errorf("%s is %v, want %v", name, got, w)
				}
			}
		})
	}
}
