package ptx

import (
	"math"
	"math/rand"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// evaluate computes an operator of a map for many values, by the simulator.
func evaluate(t *testing.T, op kernel.ValOp, xs []float32) []float32 {
	t.Helper()
	k := &kernel.Kernel{Name: "f"}
	x := &kernel.Buf{Name: "x", Elem: kernel.F32, Dims: []int{len(xs)}}
	y := &kernel.Buf{Name: "y", Elem: kernel.F32, Dims: []int{len(xs)}, Write: true}
	k.Bufs = []*kernel.Buf{x, y}
	v := k.NewTile("v", kernel.F32, 1, len(xs))
	k.Parts = []kernel.Part{{Body: []kernel.Stmt{
		&kernel.Load{Dst: v, Buf: x, Idx: exs(t, "c")},
		&kernel.Map{Dst: v, Expr: kernel.F(op, kernel.R(v))},
		&kernel.Store{Buf: y, Idx: exs(t, "c"), Src: v},
	}}}
	bufs := []kernel.Memory{kernel.NewMemory(x, 0), kernel.NewMemory(y, 0)}
	for i, f := range xs {
		bufs[0].SetFloat(kernel.F32, int64(i), float64(f))
	}
	simulate(t, "sm_90", k, bufs, nil, 1)
	ys := make([]float32, len(xs))
	for i := range ys {
		ys[i] = float32(bufs[1].Float(kernel.F32, int64(i)))
	}
	return ys
}

// ulps is the distance of got from want in units of the last place of a float
// of want's size; subnormals are as coarse as the least normal number's last
// place allows.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// The bounds on the functions' errors, over values of every size, and their
// values where they are exact.
func TestFunctionsAreAccurate(t *testing.T) {
	inf := math.Inf(1)
	rnd := rand.New(rand.NewSource(5))
	for _, f := range []struct {
		name  string
		op    kernel.ValOp
		truth func(x float64) float64
		lo    float64 // of the values tried
		hi    float64
		ulps  float64
		exact map[float64]float64
	}{
		{"exp2", kernel.Exp2, math.Exp2, -126, 130, 1, map[float64]float64{0: 1, math.Copysign(0, -1): 1, -inf: 0, inf: inf, -1e30: 0, 1e30: inf, 129: inf, -126: 0x1p-126, -126.01: 0, 10: 1024}},
		{"exp2near", kernel.Exp2Near, math.Exp2, -126, 130, 1.5, map[float64]float64{0: 1, math.Copysign(0, -1): 1, -inf: 0, inf: inf, -1e30: 0, 1e30: inf, 129: inf, -126: 0x1p-126, -126.01: 0, 10: 1024}},
		{"exp", kernel.Exp, math.Exp, -110, 95, 1, map[float64]float64{0: 1, math.Copysign(0, -1): 1, -inf: 0, inf: inf, -1e30: 0, 1e30: inf, 89: inf, -104: 0}},
		{"log", kernel.Log, math.Log, 0, 1e30, 1, map[float64]float64{1: 0, 0: -inf, inf: inf, -1: math.NaN(), -inf: math.NaN()}},
		{"sqrt", kernel.Sqrt, math.Sqrt, 0, 1e30, 0.5, map[float64]float64{0: 0, 4: 2, -1: math.NaN(), inf: inf}},
		{"rsqrt", kernel.Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }, 1e-30, 1e30, 1.5, map[float64]float64{0: inf, 4: 0.5, inf: 0}},
		{"sigmoid", kernel.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, -100, 50, 2.5, map[float64]float64{0: 0.5, -inf: 0, inf: 1}},
		{"silu", kernel.Silu, func(x float64) float64 { return x / (1 + math.Exp(-x)) }, -87, 50, 3, map[float64]float64{0: 0, inf: inf}},
		{"softplus", kernel.Softplus, func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, -100, 50, 2.5, map[float64]float64{-inf: 0, inf: inf, 1e30: 1e30}},
		{"tanh", kernel.Tanh, math.Tanh, -12, 12, 2.5, map[float64]float64{0: 0, inf: 1, -inf: -1, 100: 1, -100: -1}},
		{"costurn", kernel.CosTurn, func(x float64) float64 { return math.Cos(2 * math.Pi * x) }, -0.5, 0.5, 2.5, map[float64]float64{0: 1, 0.5: -1, -0.5: -1}},
		{"sinturn", kernel.SinTurn, func(x float64) float64 { return math.Sin(2 * math.Pi * x) }, -0.5, 0.5, 2.5, map[float64]float64{0: 0, 0.25: 1, -0.25: -1}},
	} {
		xs := []float32{float32(math.NaN())}
		wants := []float64{math.NaN()}
		for x, want := range f.exact {
			xs, wants = append(xs, float32(x)), append(wants, want)
		}
		special := len(xs)
		for range 6000 {
			xs = append(xs, float32(f.lo+(f.hi-f.lo)*rnd.Float64()))
			small := math.Ldexp(rnd.Float64(), -rnd.Intn(140))
			if rnd.Intn(2) == 0 && f.lo < 0 {
				small = -small
			}
			if small >= f.lo && small <= f.hi {
				xs = append(xs, float32(small))
			}
		}
		worst, at := 0.0, float32(0)
		for i, y := range evaluate(t, f.op, xs) {
			x := float64(xs[i])
			if i < special {
				if want := wants[i]; y != float32(want) && !(math.IsNaN(want) && y != y) {
					t.Errorf("%s(%v) is %v, not %v", f.name, x, y, want)
				}
				continue
			}
			want := f.truth(x)
			if float64(y) == float64(float32(want)) {
				continue
			}
			if u := ulps(y, want); u > worst || u != u {
				worst, at = u, xs[i]
			}
		}
		t.Logf("%s: %.2f units in the last place, at %v", f.name, worst, at)
		if !(worst <= f.ulps) {
			t.Errorf("%s is off by %.2f units in the last place at %v, more than %v", f.name, worst, at, f.ulps)
		}
	}
}
