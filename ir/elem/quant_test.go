package elem

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What a group holds is within half a step of what it was given, zeros and the
// largest element's sign stay, and the products of codes and scales are exact.
func TestRound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, e := range []Type{Q8, Q4} {
		for range 2000 {
			row := make([]float32, 1+rng.IntN(200))
			size := math.Exp2(float64(rng.IntN(240) - 120))
			for i := range row {
				row[i] = float32((rng.Float64()*2 - 1) * size)
				if rng.IntN(10) == 0 {
					row[i] = 0
				}
			}
			got := append([]float32{}, row...)
			e.Round(got, len(row))
			for from := 0; from < len(row); from += e.Group() {
				group := row[from:min(from+e.Group(), len(row))]
				s := e.Scale(Largest(group))
				if math.Float32bits(s)&0xffff != 0 {
					t.Fatalf("the scale %v is no bf16", s)
				}
				for i, x := range group {
					y := got[from+i]
					if math.Abs(float64(x)-float64(y)) > 0.5000001*float64(s) || x == 0 && y != 0 {
						t.Fatalf("%s: %v became %v with the scale %v", e, x, y, s)
					}
					if float64(y) != float64(e.Code(x, s))*float64(s) {
						t.Fatalf("%s: %v times %v is not exact", e, e.Code(x, s), s)
					}
				}
			}
		}
	}
}

// No code is cut off, at whatever size; what is not finite makes its group NaN,
// and no other.
func TestHostile(t *testing.T) {
	for _, e := range []Type{Q8, Q4} {
		for _, x := range []float32{1, 3e38, -3e38, 1e-38, 1e-44, 127, 0.1, 1.0000001} {
			s := e.Scale(Largest([]float32{x}))
			if c := float32(e.Code(x, s)); c > e.Most() || c < -e.Most() {
				t.Errorf("%s: the code of %v is %v", e, x, c)
			}
			if y := float32(e.Code(x, s)) * s; math.IsInf(float64(y), 0) {
				t.Errorf("%s: %v became %v", e, x, y)
			}
		}
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			row := make([]float32, 2*e.Group())
			row[3], row[e.Group()] = bad, 2
			e.Round(row, len(row))
			if row[0] == row[0] || row[3] == row[3] || row[e.Group()] != 2 && math.Abs(float64(row[e.Group()])-2) > 0.2 {
				t.Errorf("%s: with %v: %v, %v, %v", e, bad, row[0], row[3], row[e.Group()])
			}
			if Quantisable(bad) {
				t.Errorf("%v passes as a weight", bad)
			}
		}
	}
}

// Every element has a place of its own inside its matrix.
func TestPlace(t *testing.T) {
	for _, e := range []Type{Q8, Q4} {
		for _, c := range []struct {
			n, k  int64
			panel int
		}{{5, 7, 0}, {33, 65, 32}, {1, 1, 16}, {40, 130, 16}, {3, 64, 0}, {31, 33, 8}} {
			taken := map[[2]int64]bool{}
			use := func(at, bit int64) {
				if at < 0 || at >= e.MatrixBytes(c.n, c.k, c.panel) || taken[[2]int64{at, bit}] {
					t.Fatalf("%s %v: byte %d, bit %d", e, c, at, bit)
				}
				taken[[2]int64{at, bit}] = true
			}
			for n := range c.n {
				for k := range c.k {
					code, scale, shift := e.Place(n, k, c.k, c.panel)
					for b := range int64(8 / (1 + int64(e-Q8))) {
						bit := int64(shift) + b
						use(code+bit/8, bit%8)
					}
					if k%int64(e.Group()) == 0 {
						for b := range int64(16) {
							use(scale+b/8, b%8)
						}
					}
				}
			}
		}
	}
}
