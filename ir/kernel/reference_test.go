package kernel

import (
	"fmt"
	"math"
	"math/rand"
	"testing"
)

// lengths are the row counts that the reference kernels run with: one row, one
// less than a block, a block, and two blocks and a bit.
var lengths = []int{1, 63, 64, 130}

// closeEnough allows the one rounding of a result to f32.
const closeEnough = 1e-7

func near(got, want float64) bool {
	return math.Abs(got-want) <= closeEnough*(1+math.Abs(want))
}

// tensor is a buffer with its memory.
type tensor struct {
	b *Buf
	m Memory
}

// at is the element at the given indices.
func (x tensor) at(t testing.TB, idx ...int) float64 {
	return x.m.Float(x.b.Elem, x.place(t, idx))
}

func (x tensor) place(t testing.TB, idx []int) int64 {
	var wide [3]int64
	for d, i := range idx {
		wide[d] = int64(i)
	}
	p, err := x.b.Place(wide[:len(idx)]...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bind gives each buffer of the kernel memory for the given rows, filled with
// random numbers of the given size; buffers to write hold NaN where they are
// open, and random numbers (a state) where their size is known.
func bind(k *Kernel, rows int, rnd *rand.Rand, size float64) (map[string]tensor, []Memory) {
	byName := map[string]tensor{}
	var all []Memory
	for _, b := range k.Bufs {
		m := NewMemory(b, rows)
		for i := range b.Len(rows) {
			v := rnd.NormFloat64() * size
			if b.Write && b.Dims[0] == 0 {
				v = math.NaN()
			}
			m.SetFloat(b.Elem, i, v)
		}
		byName[b.Name] = tensor{b, m}
		all = append(all, m)
	}
	return byName, all
}

// run runs a kernel in shuffled order, as truth and rounded: the results are
// those of the truth, and the rounded ones must not be far.
func run(t *testing.T, k *Kernel, bufs []Memory, args ...int64) {
	t.Helper()
	rounded := make([]Memory, len(bufs))
	for i, m := range bufs {
		rounded[i] = append(Memory(nil), m...)
	}
	shuffle := rand.New(rand.NewSource(int64(len(bufs)))).Perm
	if err := (Interp{Order: shuffle, Races: true}).Run(k, bufs, args); err != nil {
		t.Fatal(err)
	}
	if err := (Interp{Round32: true, Races: true}).Run(k, rounded, args); err != nil {
		t.Fatal(err)
	}
	for i, b := range k.Bufs {
		for j := range int64(len(bufs[i]) / 4) {
			got, want := rounded[i].Float(F32, j), bufs[i].Float(F32, j)
			if math.Abs(got-want) > 1e-4*(1+math.Abs(want)) || math.IsNaN(got) != math.IsNaN(want) {
				t.Fatalf("%s[%d] is %v rounded, %v not", b.Name, j, got, want)
			}
		}
	}
}

func TestContract(t *testing.T) {
	k := readKernels(t, "contract.kernel")[0]
	for _, n := range lengths {
		v, bufs := bind(k, n, rand.New(rand.NewSource(1)), 1)
		run(t, k, bufs, int64(n))
		for j := range 512 {
			w := v["w"].row(t, j, 0, 256)
			for i := range n {
				want := 0.0
				for k, x := range v["x"].row(t, i, 0, 256) {
					want += x * w[k]
				}
				if got := v["y"].at(t, i, j); !near(got, want) {
					t.Fatalf("n = %d: y[%d,%d] is %v, not %v", n, i, j, got, want)
				}
			}
		}
	}
}

func TestAttend(t *testing.T) {
	k := readKernels(t, "attend.kernel")[0]
	for _, n := range lengths {
		for _, pos := range []int{0, 100, 1<<40 + 77} {
			t.Run(fmt.Sprintf("n=%d,pos=%d", n, pos), func(t *testing.T) {
				v, bufs := bind(k, n, rand.New(rand.NewSource(2)), 1)
				run(t, k, bufs, int64(n), int64(pos))
				for h := range 2 {
					for i := range n {
						checkAttend(t, v, h, i, pos)
					}
				}
			})
		}
	}
}

// checkAttend compares one row of one head with a softmax in one go.
func checkAttend(t *testing.T, v map[string]tensor, h, i, pos int) {
	t.Helper()
	sum, want := 0.0, make([]float64, 64)
	q, keys, values := v["q"].row(t, i, h*64, 64), v["kr"], v["vr"]
	for p := max(0, pos+i-127); p <= pos+i; p++ {
		s := 0.0
		for c := range q {
			s += q[c] * keys.at(t, h, p%320, c)
		}
		e := math.Exp(s / 8)
		sum += e
		for c := range want {
			want[c] += e * values.at(t, h, p%320, c)
		}
	}
	for c := range 64 {
		if got := v["y"].at(t, i, h*64+c); !near(got, want[c]/sum) {
			t.Fatalf("y[%d,%d] is %v, not %v", i, h*64+c, got, want[c]/sum)
		}
	}
}

// mlp is one head's memory f(W; x) = x + W1·(silu(W0·x) ∘ (W2·x)).
type mlp struct{ w0, w1, w2 [][]float64 }

// weights reads a head's weights out of the buffers.
func weights(t *testing.T, v map[string]tensor, h int) mlp {
	read := func(name string) [][]float64 {
		d := v[name].b.Dims
		w := make([][]float64, d[1])
		for i := range w {
			w[i] = make([]float64, d[2])
			for j := range w[i] {
				w[i][j] = v[name].at(t, h, i, j)
			}
		}
		return w
	}
	return mlp{read("w0"), read("w1"), read("w2")}
}

func (w mlp) apply(x []float64) []float64 {
	y := append([]float64(nil), x...)
	for f := range w.w0 {
		g, u := 0.0, 0.0
		for a := range x {
			g += w.w0[f][a] * x[a]
			u += w.w2[f][a] * x[a]
		}
		for a := range y {
			y[a] += w.w1[a][f] * g / (1 + math.Exp(-g)) * u
		}
	}
	return y
}

func (x tensor) row(t testing.TB, i, from, n int) []float64 {
	row := make([]float64, n)
	for j := range row {
		row[j] = x.at(t, i, from+j)
	}
	return row
}

func TestRecurRead(t *testing.T) {
	k := readKernels(t, "recur.kernel")[0]
	for _, n := range lengths {
		v, bufs := bind(k, n, rand.New(rand.NewSource(3)), 0.3)
		run(t, k, bufs, int64(n))
		for h := range 2 {
			w := weights(t, v, h)
			for i := range n {
				want := w.apply(v["x"].row(t, i, h*32, 32))
				for a := range want {
					if got := v["y"].at(t, i, h*32+a); !near(got, want[a]) {
						t.Fatalf("n = %d: y[%d,%d] is %v, not %v", n, i, h*32+a, got, want[a])
					}
				}
			}
		}
	}
}

// TestRecurWrite compares some elements' gradients with difference quotients
// of the loss, which know nothing of the chain rule.
func TestRecurWrite(t *testing.T) {
	k := readKernels(t, "recur.kernel")[1]
	const step = 1e-5
	for _, n := range lengths {
		rnd := rand.New(rand.NewSource(4))
		v, bufs := bind(k, n, rnd, 0.3)
		before := []mlp{weights(t, v, 0), weights(t, v, 1)}
		run(t, k, bufs, int64(n))
		for range 30 {
			h, which := rnd.Intn(2), rnd.Intn(3)
			w := [][][]float64{before[h].w0, before[h].w1, before[h].w2}[which]
			i := rnd.Intn(len(w))
			j := rnd.Intn(len(w[i]))
			loss := func(x float64) float64 {
				old := w[i][j]
				w[i][j] = x
				defer func() { w[i][j] = old }()
				sum := 0.0
				for row := range n {
					y, target := before[h].apply(v["x"].row(t, row, h*32, 32)), v["v"].row(t, row, h*32, 32)
					for a := range y {
						sum += v["rate"].at(t, row, h*3+which) * (y[a] - target[a]) * (y[a] - target[a]) / 2
					}
				}
				return sum
			}
			want := w[i][j] - (loss(w[i][j]+step)-loss(w[i][j]-step))/(2*step)
			got := v[fmt.Sprintf("w%d", which)].at(t, h, i, j)
			if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
				t.Fatalf("n = %d: w%d[%d,%d,%d] is %v, not %v", n, which, h, i, j, got, want)
			}
		}
	}
}
