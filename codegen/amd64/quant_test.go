package amd64

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// product is x[M,K] by a quantised w[N,K] in panels, added to y where add.
func quantisedProduct(e kernel.Elem, m, k, n, panel int, add bool) *kernel.Kernel {
	out := &kernel.Kernel{Name: fmt.Sprintf("%s.%d.%d.%d.%d.%v", e, m, k, n, panel, add)}
	x := &kernel.Buf{Name: "x", Elem: kernel.F32, Dims: []int{m, k}}
	w := &kernel.Buf{Name: "w", Elem: e, Dims: []int{n, k}, Panel: panel}
	y := &kernel.Buf{Name: "y", Elem: kernel.F32, Dims: []int{m, n}, Write: true}
	out.Bufs = []*kernel.Buf{x, w, y}
	r, c := ints.V(kernel.Row), ints.V(kernel.Col)
	const cols = 64
	j := ints.V("j")
	valid := ints.Least(ints.C(cols), ints.Minus(ints.C(int64(n)), j))
	xt, wt, yt := out.NewTile("xt", kernel.F32, m, k), out.NewTile("wt", kernel.F32, k, cols), out.NewTile("yt", kernel.F32, m, cols)
	wt.ValidCols, yt.ValidCols = valid, valid
	body := []kernel.Stmt{
		&kernel.Load{Dst: xt, Buf: x, Idx: []*ints.Expr{r, c}},
		&kernel.Load{Dst: wt, Buf: w, Idx: []*ints.Expr{ints.Plus(j, c), r}},
	}
	if add {
		body = append(body, &kernel.Load{Dst: yt, Buf: y, Idx: []*ints.Expr{r, ints.Plus(j, c)}})
	}
	body = append(body,
		&kernel.Dot{Dst: yt, A: xt, B: wt, Acc: add, Group: k}, // matrix tiles may compute it
		&kernel.Store{Buf: y, Idx: []*ints.Expr{r, ints.Plus(j, c)}, Src: yt})
	out.Parts = []kernel.Part{{Grid: []kernel.Axis{{Var: "j", Extent: ints.C(int64(n)), Step: cols}}, Body: body}}
	return out
}

func setRows(rng *rand.Rand, b *kernel.Buf, m kernel.Memory) {
	row := make([]float32, b.Dims[1])
	for n := range b.Dims[0] {
		size := math.Exp2(float64(rng.IntN(20) - 10))
		for i := range row {
			row[i] = float32((rng.Float64()*2 - 1) * size)
		}
		b.SetRow(m, row, []int64{int64(n)})
	}
}

// fused is x*y + z, rounded once to f32: where the f64 sum of the exact product
// is not exact, its last bit is made odd before the second rounding.
func fused(x, y, z float32) float32 {
	p := float64(x) * float64(y)
	s := p + float64(z)
	t := s - p
	lost := (p - (s - t)) + (float64(z) - t)
	if bits := math.Float64bits(s); lost != 0 && bits&1 == 0 {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// wholeNumbers is what a product with codes makes of the elements that meet
// one group of them: whole numbers times 2^-up.
func wholeNumbers(x []float32) (whole []int64, up int) {
	most := float32(0)
	for _, x := range x {
		most = max(most, x, -x)
	}
	up = fixedLargest + 127 - max(int(math.Float32bits(most*fixedMargin)>>23), 1)
	for _, x := range x {
		whole = append(whole, int64(math.RoundToEven(math.Ldexp(float64(x), up))))
	}
	return whole, up
}

// joinedDigits is the f32 that a sum in whole numbers becomes; lower is the part of
// it that the lower two digits have.
func joinedDigits(e kernel.Elem, exact, lower int64) float32 {
	if e == kernel.Q4 {
		return float32(exact)
	}
	return fused(float32((exact-lower)>>16), 1<<16, float32(lower))
}

// byGroups computes the product as its order of sums is defined: each group's in a
// chain, or in whole numbers.
func byGroups(k *kernel.Kernel, ms []kernel.Memory, add, whole bool) {
	x, w, y := k.Bufs[0], k.Bufs[1], k.Bufs[2]
	for m := range int64(x.Dims[0]) {
		for n := range int64(w.Dims[0]) {
			at := m*int64(w.Dims[0]) + n
			var sum float32
			if add {
				sum = float32(ms[2].Float(kernel.F32, at))
			}
			for from := 0; from < w.Dims[1]; from += w.Elem.Group() {
				var part, scale float32
				var xs []float32
				exact, lower, end := int64(0), int64(0), min(from+w.Elem.Group(), w.Dims[1])
				for i := from; i < end; i++ {
					xs = append(xs, float32(ms[0].Float(kernel.F32, m*int64(w.Dims[1])+int64(i))))
				}
				ns, up := wholeNumbers(xs)
				for i := from; i < end; i++ {
					_, s, _ := w.Elem.Place(n, int64(i), int64(w.Dims[1]), w.Panel)
					scale = math.Float32frombits(uint32(binary.LittleEndian.Uint16(ms[1][s:])) << 16)
					code := float32(0)
					if scale > 0 {
						code = w.Element(ms[1], []int64{n, int64(i)}) / scale
					}
					part = fused(xs[i-from], code, part)
					exact += ns[i-from] * int64(code)
					lower += (int64(int16(ns[i-from]+0x80)) - 0x80) * int64(code)
				}
				if whole {
					part = float32(math.Ldexp(float64(joinedDigits(w.Elem, exact, lower)), -up))
				}
				for _, x := range xs {
					if whole && x-x != 0 {
						part = float32(math.NaN())
					}
				}
				sum = fused(part, scale, sum)
			}
			ms[2].SetFloat(y.Elem, at, float64(sum))
		}
	}
}

// setOperand fills rows with numbers of all sizes; some groups have one that is much
// larger than the others, only zeros, numbers that are denormal, or one that is none.
func setOperand(rng *rand.Rand, m kernel.Memory, group, cols int) {
	n := len(m) / 4
	for row := 0; row < n; row += cols {
		for from := 0; from < cols; from += group {
			size, end := math.Exp2(float64(rng.IntN(40)-20)), min(from+group, cols, n-row)
			kind := rng.IntN(12)
			switch kind {
			case 0:
				size = 0
			case 1:
				size = 0x1p-128
			case 2:
				size = 0x1p-100
			case 3:
				size = 0x1p90
			}
			for i := from; i < end; i++ {
				m.SetFloat(kernel.F32, int64(row+i), (rng.Float64()*2-1)*size)
			}
			at := int64(row + from + rng.IntN(max(end-from, 1)))
			switch {
			case end <= from:
			case kind == 4:
				m.SetFloat(kernel.F32, at, 1000*size)
			case kind == 5:
				m.SetFloat(kernel.F32, at, -float64(math.Nextafter32(float32(2*size), 0)))
			case kind == 6 && rng.IntN(4) == 0:
				m.SetFloat(kernel.F32, at, math.Inf(1-2*rng.IntN(2)))
			case kind == 7 && rng.IntN(4) == 0:
				m.SetFloat(kernel.F32, at, math.NaN())
			}
		}
	}
}

// toTheBit runs a kernel whose third buffer is f32 and holds want afterwards.
func (p *program) toTheBit(t *testing.T, machine string, k *kernel.Kernel, ms []kernel.Memory, want kernel.Memory) {
	t.Helper()
	for _, workers := range []int{1, 3} {
		got := p.run(t, k, ms, nil, workers)[2]
		for i := range int64(len(want) / 4) {
			g, w := float32(got.Float(kernel.F32, i)), float32(want.Float(kernel.F32, i))
			if math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
				t.Errorf("%s, %s, %d workers: element %d is %v, not %v", machine, k.Name, workers, i, g, w)
				break
			}
		}
	}
}

// Products with quantised operands sum each group's codes and add that times its
// scale, for few rows and many, whatever ends early.
func TestQuantisedProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var ks []*kernel.Kernel
	for _, e := range []kernel.Elem{kernel.Q8, kernel.Q4} {
		for _, m := range []int{1, 2, 3, 7, 8, 9, 63} {
			ks = append(ks, quantisedProduct(e, m, 1+rng.IntN(200), 1+rng.IntN(100), 32, m == 7 || m == 63))
		}
		ks = append(ks,
			quantisedProduct(e, 1, 64, 32, 32, false), quantisedProduct(e, 1, 63, 31, 16, true), quantisedProduct(e, 33, 300, 17, 16, false),
			quantisedProduct(e, 1, 31, 129, 32, false), quantisedProduct(e, 15, 513, 33, 32, true), quantisedProduct(e, 3, 1, 1, 32, false),
			quantisedProduct(e, 7, 1024, 256, 32, false), quantisedProduct(e, 16, 64, 16, 16, false), quantisedProduct(e, 35, 200, 40, 32, true))
	}
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, k := range ks {
			ms := fill(rng, &kernel.Kernel{Bufs: []*kernel.Buf{k.Bufs[0], k.Bufs[2]}}, 0)
			if m.fixes(k.Bufs[1].Elem) {
				setOperand(rng, ms[0], k.Bufs[1].Elem.Group(), k.Bufs[0].Dims[1])
			}
			w := kernel.NewMemory(k.Bufs[1], 0)
			setRows(rng, k.Bufs[1], w)
			ms = []kernel.Memory{ms[0], w, ms[1]}
			want := clone(ms)
			byGroups(k, want, strings.HasSuffix(k.Name, "true"), m.fixes(k.Bufs[1].Elem))
			p.toTheBit(t, m.Name, k, ms, want[2])
		}
	}
}

// Code says that it needs instructions for bytes only where it has them.
func TestFeatures(t *testing.T) {
	for e, want := range map[kernel.Elem]bool{kernel.Q4: true, kernel.Q8: true, kernel.BF16: false} {
		k := quantisedProduct(e, 1, 64, 32, 32, false)
		b, err := Compile(t.Context(), []*kernel.Kernel{k}, AVX512, nil)
		if err != nil {
			t.Skip(err)
		}
		asm, err := Assembly(t.Context(), []*kernel.Kernel{k}, AVX512)
		if err != nil {
			t.Fatal(err)
		}
		if has := slices.Contains(b.Features, "avx512vnni"); has != want || strings.Contains(asm, "vpdpbusd") != want {
			t.Errorf("%s needs %v", e, b.Features)
		}
		if slices.Contains(AVX512.Features, "avx512vnni") {
			t.Error("one program's features have become the target's")
		}
		if asm, err = Assembly(t.Context(), []*kernel.Kernel{k}, AMX); err != nil {
			t.Fatal(err)
		}
		if tiles := AMX.with([]*kernel.Kernel{k}).Features; slices.Contains(tiles, byteTiles) != (e == kernel.Q8) || strings.Contains(asm, "tdpbssd") != (e == kernel.Q8) {
			t.Errorf("%s on matrix tiles needs %v", e, tiles)
		}
	}
}

// Rows stored as Q8 are the bytes that kernel.Buf.SetRow makes of them, in rows
// and in panels, also of numbers that are none.
func TestQuantisedStores(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	var ks []*kernel.Kernel
	r, c := ints.V(kernel.Row), ints.V(kernel.Col)
	for i, s := range []struct{ rows, cols, panel int }{{5, 64, 0}, {64, 128, 32}, {3, 1, 0}, {7, 16, 32}, {9, 77, 16}, {40, 100, 0}, {2, 130, 8}} {
		k := &kernel.Kernel{Name: fmt.Sprintf("store%d", i), Ints: []string{"n"}}
		x := &kernel.Buf{Name: "x", Elem: kernel.F32, Dims: []int{s.rows, s.cols}}
		y := &kernel.Buf{Name: "y", Elem: kernel.Q8, Dims: []int{2, s.rows, s.cols}, Panel: s.panel, Write: true}
		z := &kernel.Buf{Name: "z", Elem: kernel.F32, Dims: []int{s.rows, s.cols}, Write: true}
		k.Bufs = []*kernel.Buf{x, y, z}
		a, b := k.NewTile("a", kernel.F32, s.rows, s.cols), k.NewTile("b", kernel.F32, s.rows, s.cols)
		a.ValidRows = ints.V("n")
		b.ValidRows = ints.V("n")
		col := c
		if s.cols == 1 {
			col = ints.C(0)
		}
		k.Parts = []kernel.Part{{Body: []kernel.Stmt{
			&kernel.Load{Dst: a, Buf: x, Idx: []*ints.Expr{r, col}},
			&kernel.Store{Buf: y, Idx: []*ints.Expr{ints.C(1), r, col}, Src: a},
			&kernel.Load{Dst: b, Buf: y, Idx: []*ints.Expr{ints.C(1), r, col}},
			&kernel.Store{Buf: z, Idx: []*ints.Expr{r, col}, Src: b},
		}}}
		ks = append(ks, k)
	}
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, k := range ks {
			x, y, z := kernel.NewMemory(k.Bufs[0], 0), kernel.NewMemory(k.Bufs[1], 0), kernel.NewMemory(k.Bufs[2], 0)
			for i := range int64(len(x) / 4) {
				v := (rng.Float64()*2 - 1) * math.Exp2(float64(rng.IntN(30)-15))
				switch rng.IntN(150) {
				case 0:
					v = math.NaN()
				case 1:
					v = math.Inf(-1)
				case 2, 3, 4, 5:
					v = 0
				case 6:
					v = 1e-44
				}
				x.SetFloat(kernel.F32, i, v)
			}
			args := []int64{int64(max(k.Bufs[0].Dims[0]-1, 1))}
			want := clone([]kernel.Memory{x, y, z})
			if err := k.Run(want, args); err != nil {
				t.Fatal(err)
			}
			got := p.run(t, k, []kernel.Memory{x, y, z}, args, 1)
			if !bytes.Equal(got[1], want[1]) {
				t.Errorf("%s, %s: other codes", m.Name, k.Name)
			}
			same(t, m.Name, &kernel.Kernel{Name: k.Name, Bufs: k.Bufs[2:]}, want[2:], got[2:], 0)
		}
	}
}
