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
		}{{5, 7, 0}, {33, 65, 32}, {1, 1, 16}, {40, 130, 16}, {3, 64, 0}, {31, 33, 8}, {17, 128, 8}} {
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

// In panels of 8 a row's codes are adjacent, and a lane's those that its fragments
// need.
func TestLanes(t *testing.T) {
	if Q8.Lanes(96, 8) || !Q4.Lanes(96, 8) || Q8.Lanes(64, 32) || F32.Lanes(64, 8) {
		t.Error("rows of parts of groups, or in other panels, lie in the order of fragments")
	}
	for n := range int64(8) {
		for k := range int64(64) {
			lane := n*4 + k%8/2
			code, scale, _ := Q8.Place(8+n, 64+k, 128, 8)
			block := 8*Q8.RowBytes(128) + 8*Q8.BlockBytes()
			if at := code - block - 16; at/16 != lane || at%16/4 != k/16 || scale != block+2*n {
				t.Errorf("q8, row %d, k %d: byte %d of the codes, scale at %d", n, k, at, scale-block)
			}
			code, scale, shift := Q4.Place(8+n, 32+k%32, 64, 8)
			block = 8*Q4.RowBytes(64) + 8*Q4.BlockBytes()
			if at := code - block - 16; at != 4*lane || scale != block+2*n || int64(shift) != 16*(k%2)+4*(k%32/8) {
				t.Errorf("q4, row %d, k %d: byte %d of the codes, bit %d, scale at %d", n, k%32, at, shift, scale-block)
			}
		}
	}
}
