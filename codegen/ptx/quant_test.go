package ptx

import (
	"bytes"
	"math"
	"math/rand"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// coded is x[t, 77] by a quantised w[50, 77], and rows of w that x numbers.
func coded(t testing.TB, e kernel.Elem, panel int) *kernel.Kernel {
	t.Helper()
	k := &kernel.Kernel{Name: "coded", Ints: []string{"n"}}
	x := &kernel.Buf{Name: "x", Elem: kernel.F32, Dims: []int{0, 77}}
	w := &kernel.Buf{Name: "w", Elem: e, Dims: []int{50, 77}, Panel: panel}
	ids := &kernel.Buf{Name: "ids", Elem: kernel.I32, Dims: []int{0}}
	y := &kernel.Buf{Name: "y", Elem: kernel.F32, Dims: []int{0, 50}, Write: true}
	z := &kernel.Buf{Name: "z", Elem: kernel.F32, Dims: []int{0, 77}, Write: true}
	k.Bufs = []*kernel.Buf{x, w, ids, y, z}
	rows := ex(t, "min(16, n - i)")
	xt, wt, it := k.NewTile("xt", kernel.F32, 16, 77), k.NewTile("wt", kernel.F32, 77, 50), k.NewTile("it", kernel.I32, 16, 1)
	yt, zt := k.NewTile("yt", kernel.F32, 16, 50), k.NewTile("zt", kernel.F32, 16, 77)
	for _, v := range []*kernel.Tile{xt, it, yt, zt} {
		v.ValidRows = rows
	}
	k.Parts = []kernel.Part{{Grid: []kernel.Axis{{Var: "i", Extent: ints.V("n"), Step: 16}}, Body: []kernel.Stmt{
		&kernel.Load{Dst: xt, Buf: x, Idx: exs(t, "i + r", "c")},
		&kernel.Load{Dst: wt, Buf: w, Idx: exs(t, "c", "r")},
		&kernel.Load{Dst: it, Buf: ids, Idx: exs(t, "i + r")},
		&kernel.Dot{Dst: yt, A: xt, B: wt},
		&kernel.Load{Dst: zt, Buf: w, Idx: exs(t, "x", "c"), Gather: it},
		&kernel.Store{Buf: y, Idx: exs(t, "i + r", "c"), Src: yt},
		&kernel.Store{Buf: z, Idx: exs(t, "i + r", "c"), Src: zt},
	}}}
	return k
}

// Quantised weights load as what they stand for.
func TestQuantisedWeights(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for _, e := range []kernel.Elem{kernel.Q8, kernel.Q4} {
		for _, panel := range []int{0, 32} {
			k := coded(t, e, panel)
			const n = 21
			var bufs []kernel.Memory
			for _, b := range k.Bufs {
				m := kernel.NewMemory(b, n)
				switch b.Elem {
				case kernel.F32:
					for i := range int64(len(m) / 4) {
						m.SetFloat(b.Elem, i, r.Float64()-0.5)
					}
				case kernel.I32:
					for i := range int64(n) {
						m.SetInt(b.Elem, i, int64(r.Intn(50)))
					}
				default:
					row := make([]float32, 77)
					for i := range int64(50) {
						for j := range row {
							row[j] = r.Float32() - 0.5
						}
						b.SetRow(m, row, []int64{i})
					}
				}
				bufs = append(bufs, m)
			}
			agree(t, "sm_80", k, bufs, []int64{n}, 2, 1e-5)
		}
	}
}

// stored is a store of rows of 77 as codes.
func stored(t testing.TB, e kernel.Elem, panel int) *kernel.Kernel {
	t.Helper()
	k := &kernel.Kernel{Name: "stored", Ints: []string{"n"}}
	x := &kernel.Buf{Name: "x", Elem: kernel.F32, Dims: []int{0, 77}}
	y := &kernel.Buf{Name: "y", Elem: e, Dims: []int{3, 64, 77}, Panel: panel, Write: true}
	k.Bufs = []*kernel.Buf{x, y}
	xt := k.NewTile("xt", kernel.F32, 16, 77)
	xt.ValidRows = ex(t, "min(16, n - i)")
	k.Parts = []kernel.Part{{Grid: []kernel.Axis{{Var: "i", Extent: ints.V("n"), Step: 16}}, Body: []kernel.Stmt{
		&kernel.Load{Dst: xt, Buf: x, Idx: exs(t, "i + r", "c")},
		&kernel.Store{Buf: y, Idx: exs(t, "(i + r) div 64", "(i + r) mod 64", "c"), Src: xt, Note: "layer.spec:7 keep"},
	}}}
	return k
}

// Rows are stored as the codes and scales that the interpreter stores, to the
// bit; what has no codes is refused in a sentence.
func TestQuantisedStore(t *testing.T) {
	for _, panel := range []int{0, 32} {
		k := stored(t, kernel.Q8, panel)
		const n = 75
		bufs := []kernel.Memory{kernel.NewMemory(k.Bufs[0], n), kernel.NewMemory(k.Bufs[1], 0)}
		r := rand.New(rand.NewSource(6))
		for i := range int64(77 * n) {
			v := r.NormFloat64()
			switch {
			case i/77 == 4: // a row of zeros
				v = 0
			case i == 5*77+40:
				v = math.NaN()
			case i == 6*77+1:
				v = math.Inf(-1)
			case i/77 == 7:
				v *= 1e-39
			}
			bufs[0].SetFloat(kernel.F32, i, v)
		}
		want := clone(bufs)
		if err := (kernel.Interp{Round32: true, Races: true}).Run(k, want, []int64{n}); err != nil {
			t.Fatal(err)
		}
		simulate(t, "sm_80", k, bufs, []int64{n}, 2)
		if !bytes.Equal(bufs[1], want[1]) {
			t.Errorf("panels of %d: other bytes than the interpreter's", panel)
		}
	}
	_, err := Print([]*kernel.Kernel{stored(t, kernel.Q4, 0)}, "sm_80")
	if err == nil || !strings.Contains(err.Error(), "layer.spec:7") {
		t.Errorf("%v", err)
	}
}

// codedProducts multiply by weights whose codes travel as they are: as the right
// operand and as the left one, for rows and for columns that are not valid, beside
// operands of f32 and bf16, out of one matrix of several.
const codedProducts = `kernel right(x: f32[0,192], w: Q[200,192]/8, y: f32[0,200] write) ints(n) {
  tile a: f32[64,192] rows min(64, n - i)
  tile b: f32[192,128] cols min(128, 200 - j)
  tile s: f32[64,128] rows min(64, n - i) cols min(128, 200 - j)
  part grid(i: n step 64, j: 200 step 128) {
    a = load x[i + r, c] // q.spec:1 x
    b = load w[j + c, r] // q.spec:1 w
    s = dot(a, b by 192) // q.spec:2 y
    store y[i + r, j + c] = s // q.spec:2 y
  }
}

kernel left(x: f32[192], w: Q[200,192]/8, y: f32[200] write) ints() {
  tile a: f32[128,192] rows min(128, 200 - j)
  tile b: f32[192,1]
  tile s: f32[128,1] rows min(128, 200 - j)
  part grid(j: 200 step 128) {
    a = load w[j + r, c] // q.spec:1 w
    b = load x[r] // q.spec:1 x
    s = dot(a, b by 192) // q.spec:2 y
    store y[j + r] = s // q.spec:2 y
  }
}

kernel added(x: bf16[0,64], w: Q[3,40,64]/8, y: f32[0,40] write) ints(n) {
  tile a: f32[32,64] rows min(32, n - i)
  tile b: f32[40,64]
  tile s: f32[32,40] rows min(32, n - i)
  part grid(i: n step 32) {
    s = load y[i + r, c] // q.spec:2 y
    a = load x[i + r, c] // q.spec:1 x
    b = load w[1, r, c] // q.spec:1 w
    s += dot(a, b' by 16) // q.spec:2 y
    store y[i + r, c] = s // q.spec:2 y
  }
}
`

func codedKernels(t testing.TB, e kernel.Elem) []*kernel.Kernel {
	t.Helper()
	ks, err := kernel.Parse(strings.ReplaceAll(codedProducts, "Q[", e.String()+"["))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ks {
		k.Name += e.String()
	}
	return ks
}

// coding gives buffers random numbers, those of codes rows of them.
func coding(k *kernel.Kernel, rows int, r *rand.Rand) []kernel.Memory {
	var bufs []kernel.Memory
	for _, b := range k.Bufs {
		m := kernel.NewMemory(b, rows)
		if nd := len(b.Dims); b.Elem.Quantised() {
			lines, ks := b.Matrix()
			row := make([]float32, ks)
			idx := make([]int64, nd-1)
			for i := range int64(max(1, b.Dims[0])) * lines {
				for j := range row {
					row[j] = r.Float32() - 0.5
				}
				if idx[nd-2] = i % lines; nd > 2 {
					idx[0] = i / lines
				} else if i >= lines {
					break
				}
				b.SetRow(m, row, idx)
			}
		} else {
			for i := range b.Len(rows) {
				m.SetFloat(b.Elem, i, r.Float64()-0.5)
			}
		}
		bufs = append(bufs, m)
	}
	return bufs
}

// Codes are widened on their way into fragments, and give what they stand for; a
// row alone has the bits that it has among others.
func TestProductsOfCodes(t *testing.T) {
	for _, e := range []kernel.Elem{kernel.Q8, kernel.Q4} {
		for _, k := range codedKernels(t, e) {
			t.Run(k.Name, func(t *testing.T) {
				text := mustPrint(t, "sm_80", k).Text
				if strings.Contains(text, "ld.global.u8") || !strings.Contains(text, "fma.rn.bf16x2") {
					t.Error("codes are dequantised one by one")
				}
				for n, ctas := range map[int64]int{1: 1, 37: 2} {
					args := []int64{n}[:len(k.Ints)]
					bufs := coding(k, 37, rand.New(rand.NewSource(n)))
					before := clone(bufs)
					agree(t, "sm_80", k, bufs, args, ctas, 3e-6)
					if n == 37 && len(args) > 0 {
						row := len(bufs[0]) / 37
						copy(before[0], before[0][row*36:])
						out := len(bufs[2]) / 37
						copy(before[2], before[2][out*36:])
						simulate(t, "sm_80", k, before, []int64{1}, 1)
						if !bytes.Equal(before[2][:out], bufs[2][out*36:]) {
							t.Error("a row alone has other bits")
						}
					}
				}
			})
		}
	}
}
