package runtime

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/memc-lang/memc/ir/plan"
)

func TestElems(t *testing.T) {
	for e := plan.F32; e <= plan.Bool; e++ {
		want := map[plan.Elem]Elem{plan.F32: F32, plan.BF16: BF16, plan.F16: F16, plan.I32: I32, plan.I64: I64, plan.Bool: Bool}[e]
		if elemOf(e) != want || elemOf(e).Size() != e.Size() {
			t.Errorf("%s becomes %s", e, elemOf(e))
		}
	}
}

// TestBrainExact widens and narrows all 65,536 values.
func TestBrainExact(t *testing.T) {
	for i := range 1 << 16 {
		f := math.Float32frombits(uint32(i) << 16)
		if got := toBrain(f); int(got) != i && (f == f || int(got) != i|0x40) {
			t.Fatalf("%#04x comes back as %#04x", i, got)
		}
		h := fromHalf(uint16(i))
		if got := toHalf(h); int(got) != i && h == h {
			t.Fatalf("half %#04x comes back as %#04x", i, got)
		}
	}
}

// nearestOf finds the value of a 16-bit type nearest to d, ties to even, by
// looking at both neighbours exactly.
func nearestOf(d float64, widen func(uint16) float32, infinity uint16) uint16 {
	sign := uint16(0)
	if math.Signbit(d) {
		sign, d = 0x8000, -d
	}
	lo, hi := uint16(0), infinity // bits of positive values are ordered as the values
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; float64(widen(mid)) <= d {
			lo = mid
		} else {
			hi = mid
		}
	}
	below := new(big.Float).SetFloat64(float64(widen(lo)))
	above := new(big.Float)
	if hi == infinity { // where the next value would be
		step := new(big.Float).Sub(below, big.NewFloat(float64(widen(lo-1))))
		above.Add(below, step)
	} else {
		above.SetFloat64(float64(widen(hi)))
	}
	x := new(big.Float).SetPrec(200).SetFloat64(d)
	up := new(big.Float).SetPrec(200).Sub(above, x)
	down := new(big.Float).SetPrec(200).Sub(x, below)
	if c := up.Cmp(down); c < 0 || c == 0 && lo&1 == 1 {
		return hi | sign
	}
	return lo | sign
}

// TestRounding compares f64 and f32 to 16 bits with exact arithmetic, near the
// places where two roundings would differ from one.
func TestRounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	brain := func(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
	for range 200_000 {
		base := float64(brain(uint16(rng.Uint32N(0x7f80))))
		next := math.Nextafter32(float32(base), math.MaxFloat32)
		d := base * (1 + math.Ldexp(float64(rng.IntN(9)-4), -9) + math.Ldexp(float64(rng.IntN(5)-2), -8-rng.IntN(40)))
		if rng.IntN(4) == 0 {
			d = float64(next) * rng.Float64()
		}
		if rng.IntN(2) == 0 {
			d = -d
		}
		if got, want := toBrain(toOdd(d)), nearestOf(d, brain, 0x7f80); got != want && d != 0 {
			t.Fatalf("bf16 of %x is %#04x, want %#04x", d, got, want)
		}
		if f := float32(d); toBrain(f) != nearestOf(float64(f), brain, 0x7f80) && f != 0 && !math.IsInf(float64(f), 0) {
			t.Fatalf("bf16 of %x is %#04x", f, toBrain(f))
		}
		h := math.Ldexp(1+float64(rng.IntN(1<<11))/(1<<11)+float64(rng.IntN(3)-1)*0x1p-40, rng.IntN(42)-26)
		if got, want := toHalf(toOdd(h)), nearestOf(h, fromHalf, 0x7c00); got != want {
			t.Fatalf("f16 of %x is %#04x, want %#04x", h, got, want)
		}
	}
	for _, d := range []float64{math.Inf(1), 1e300, math.NaN()} {
		if got, want := toBrain(toOdd(d)), toBrain(float32(d)); got != want {
			t.Errorf("bf16 of %v is %#04x, want %#04x", d, got, want)
		}
	}
}

func TestFloat32(t *testing.T) {
	le := binary.LittleEndian
	want := []float32{1, -2.5, 0.15625}
	var bf, h, d []byte
	for _, f := range want {
		bf = le.AppendUint16(bf, toBrain(f))
		h = le.AppendUint16(h, toHalf(f))
		d = le.AppendUint64(d, math.Float64bits(float64(f)))
	}
	f := FromFloat32(want)
	odd := append([]byte{0}, f.Data...)[1:] // not aligned
	for _, x := range []Tensor{f, {Elem: F32, Shape: []int{3}, Data: odd}, {Elem: BF16, Shape: []int{3}, Data: bf}, {Elem: F16, Shape: []int{3}, Data: h}, {Elem: F64, Shape: []int{3}, Data: d}} {
		if got, err := Float32(x); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", x.Elem, got, err)
		}
	}
	n := FromInt32([]int32{5, -6}, 2, 1)
	if _, err := Float32(n); err == nil {
		t.Error("integers are given as floats")
	}
	if _, err := Int32(f); err == nil {
		t.Error("floats are given as integers")
	}
	n.Data = append([]byte{0}, n.Data...)[1:]
	if got, err := Int32(n); err != nil || !slices.Equal(got, []int32{5, -6}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Int32(Tensor{Elem: I32, Shape: []int{3}, Data: n.Data}); err == nil {
		t.Error("8 bytes are given as three integers")
	}
}
