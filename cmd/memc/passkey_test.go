package main

import (
	"math"
	"testing"
)

// The generator's first numbers from state 1234567 (the reference in Vigna's
// splitmix64.c).
func TestSplitmix64(t *testing.T) {
	state := uint64(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := splitmix64(state); got != want {
			t.Errorf("number %d is %d, want %d", i, got, want)
		}
		state += 0x9e3779b97f4a7c15
	}
}

// A stream holds its key behind the mark, and all of it but the last symbol
// behind the query.
func TestStream(t *testing.T) {
	for _, c := range []struct {
		length int64
		depth  float64
		n      int
		mark   int64
	}{{700, 0, 4, 20}, {700, 0.5, 4, 345}, {700, 1, 4, 691}, {29, 1, 4, 20}, {3000, 0.001, 2, 20}} {
		s := newStream(3, c.length, c.depth, c.n)
		if s.mark != c.mark {
			t.Errorf("%v: the mark stands at %d", c, s.mark)
		}
		var x []int32
		marks := 0
		for i := range c.length {
			x = append(x, s.token(i))
			if x[i] < 0 || x[i] >= alphabet {
				t.Fatalf("%v: token %d is %d", c, i, x[i])
			}
			if x[i] == mark {
				marks++
			}
		}
		tail := x[len(x)-c.n:]
		if marks != 1 || x[s.mark] != mark || tail[0] != query {
			t.Errorf("%v: %d marks, end %v", c, marks, tail)
		}
		for j, k := range s.key {
			if k < keyFirst || k >= alphabet || x[s.mark+1+int64(j)] != k || j+1 < c.n && tail[j+1] != k {
				t.Errorf("%v: symbol %d of the key is %d", c, j, k)
			}
		}
	}
}

// A series of any length keeps its first value, its count, and the mean of its
// last quarter to a stretch, in constant memory.
func TestSeries(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 1000, 100_000} {
		var s series
		sum := 0.0
		for i := range n {
			s.add(float64(i))
			if i >= n-max(1, n/4) {
				sum += float64(i)
			}
		}
		want := sum / float64(max(1, n/4))
		if s.first != 0 || s.count != int64(n) || len(s.sums) > maxStretches {
			t.Errorf("%d values: first %g, count %d, %d stretches", n, s.first, s.count, len(s.sums))
		}
		if got := s.last(); math.Abs(got-want) > float64(s.stride) {
			t.Errorf("%d values: the mean of the last quarter is %g, want %g", n, got, want)
		}
		total := 0.0
		for i, m := range s.means() {
			weight := float64(s.stride)
			if i == len(s.sums) {
				weight = float64(s.filled)
			}
			total += m * weight
		}
		if want := float64(n) * float64(n-1) / 2; math.Abs(total-want) > 1e-6*want {
			t.Errorf("%d values: the means make %g, want %g", n, total, want)
		}
	}
}

func TestBest(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		logits []float32
		want   int32
	}{{[]float32{1, 3, 2}, 1}, {[]float32{1, 1}, 0}, {[]float32{1, nan, 2}, -1}, {[]float32{nan}, -1}} {
		if got := best(c.logits); got != c.want {
			t.Errorf("best of %v is %d", c.logits, got)
		}
	}
}

func TestSurprise(t *testing.T) {
	if got := surprise([]float32{0, 0, 0, 0}, 2); math.Abs(got-2) > 1e-12 {
		t.Errorf("one of four takes %g bits, want 2", got)
	}
	if got := surprise([]float32{1000, 0}, 1); math.Abs(got-1000/math.Ln2) > 1e-6 {
		t.Errorf("e^-1000 takes %g bits", got)
	}
}
