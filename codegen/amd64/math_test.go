package amd64

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// ulps is |got - want| in units of the last place that an f32 near want has.
func ulps(got float32, want float64) float64 {
	g := float64(got)
	if g == want || math.IsNaN(g) && math.IsNaN(want) {
		return 0
	}
	if math.Abs(want) > math.MaxFloat32*(1+0x1p-25) && math.IsInf(g, int(math.Copysign(1, want))) {
		return 0
	}
	_, e := math.Frexp(want)
	return math.Abs(g-want) / math.Ldexp(1, max(e-24, -149))
}

// function is a function of a map with the error allowed to it.
type function struct {
	text   string // in the language of maps, of x
	f      func(x float64) float64
	lo, hi float32 // tested between them
	ulps   float64
	least  float64 // results below it may be off by as much
	exact  map[float32]float32
}

var (
	inf32 = float32(math.Inf(1))
	nan32 = float32(math.NaN())
)

var functions = []function{
	{"exp(x)", math.Exp, -110, 95, 1.1, 0, map[float32]float32{0: 1, -inf32: 0, inf32: inf32, -1e9: 0, 1e9: inf32, -103: 1.4e-45, nan32: nan32}},
	{"exp2(x)", math.Exp2, -126, 130, 1.1, 0, map[float32]float32{0: 1, -inf32: 0, inf32: inf32, -1e9: 0, 1e9: inf32, -126: 0x1p-126, -126.01: 0, 10: 1024, nan32: nan32}},
	{"log(x)", math.Log, 0, math.MaxFloat32, 1, 0, map[float32]float32{0: -inf32, 1: 0, inf32: inf32, -1: nan32, nan32: nan32}},
	{"sigmoid(x)", func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, -110, 110, 2.5, 0x1p-126, map[float32]float32{0: 0.5, inf32: 1, -inf32: 0, 100: 1, nan32: nan32}},
	{"silu(x)", func(x float64) float64 { return x / (1 + math.Exp(-x)) }, -110, 1e6, 2.5, 0x1p-118, map[float32]float32{0: 0, inf32: inf32, -inf32: 0, 100: 100, nan32: nan32}},
	{"softplus(x)", func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, -110, 1e6, 2, 0, map[float32]float32{inf32: inf32, -inf32: 0, 100: 100, -1e9: 0, nan32: nan32}},
	{"tanh(x)", math.Tanh, -20, 20, 2, 0, map[float32]float32{0: 0, inf32: 1, -inf32: -1, 100: 1, -100: -1, nan32: nan32}},
	{"costurn(x)", func(x float64) float64 { return math.Cos(2 * math.Pi * x) }, -0.5, 0.5, 0, 1.4e-7, map[float32]float32{0: 1, 0.25: 0, -0.25: 0, 0.5: -1, -0.5: -1}},
	{"sinturn(x)", func(x float64) float64 { return math.Sin(2 * math.Pi * x) }, -0.5, 0.5, 0, 1.4e-7, map[float32]float32{0: 0, 0.25: 1, -0.25: -1, 0.5: 0}},
	{"sqrt(x)", math.Sqrt, 0, math.MaxFloat32, 0.5, 0, map[float32]float32{4: 2, inf32: inf32, -1: nan32}},
	{"rsqrt(x)", func(x float64) float64 { return float64(1 / float32(math.Sqrt(x))) }, 0, math.MaxFloat32, 0, 0, map[float32]float32{4: 0.5, inf32: 0, 0: inf32}},
	{"floor(x)", math.Floor, -1e9, 1e9, 0, 0, map[float32]float32{-0.5: -1, 2.5: 2}},
	{"abs(x)", math.Abs, -1e9, 1e9, 0, 0, map[float32]float32{-inf32: inf32}},
	{"-x", func(x float64) float64 { return -x }, -1e9, 1e9, 0, 0, nil},
}

// The functions of maps keep to the errors stated for them, over samples that
// visit every binade.
func TestMathErrors(t *testing.T) {
	var text strings.Builder
	for i, f := range functions {
		fmt.Fprintf(&text, `kernel f%d(x: f32[0], y: f32[0] write) ints(n) {
  tile a: f32[1,1024] cols min(1024, n - i)
  part grid(i: n step 1024) {
    a = load x[i + c]
    a = map %s
    store y[i + c] = a
  }
}
`, i, strings.NewReplacer("exp2", "exp2", "exp", "exp", "x", "a").Replace(f.text))
	}
	ks := parse(t, text.String())
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for i, f := range functions {
			var xs []float32
			for b := uint64(0); b < 1<<32; b += 7919 {
				if x := math.Float32frombits(uint32(b)); x >= f.lo && x <= f.hi {
					xs = append(xs, x)
				}
			}
			for step := range 100000 {
				xs = append(xs, f.lo+(f.hi/2-f.lo/2)*(float32(step)/50000))
			}
			special := len(xs)
			for x := range f.exact {
				xs = append(xs, x)
			}
			k := ks[i]
			x, y := kernel.NewMemory(k.Bufs[0], len(xs)), kernel.NewMemory(k.Bufs[1], len(xs))
			for j, v := range xs {
				x.SetFloat(kernel.F32, int64(j), float64(v))
			}
			out := p.run(t, k, []kernel.Memory{x, y}, []int64{int64(len(xs))}, 1)[1]
			worst, at := 0.0, float32(0)
			for j, v := range xs {
				got := float32(out.Float(kernel.F32, int64(j)))
				if j >= special {
					want, ok := f.exact[v]
					if !ok {
						want = nan32 // a NaN finds no key
					}
					if got != want && !(got != got && want != want) {
						t.Errorf("%s: %s at %v is %v, want %v", m.Name, f.text, v, got, want)
					}
					continue
				}
				want := f.f(float64(v))
				if math.Abs(float64(got)-want) <= f.least {
					continue
				}
				if u := ulps(got, want); u > worst {
					worst, at = u, v
				}
			}
			t.Logf("%s: %s is off by at most %.2f ulp (at %v)", m.Name, f.text, worst, at)
			if worst > f.ulps {
				t.Errorf("%s: %s is off by %.2f ulp at %v, more than %v", m.Name, f.text, worst, at, f.ulps)
			}
		}
	}
}
