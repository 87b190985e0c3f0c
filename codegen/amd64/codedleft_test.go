package amd64

import (
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

// codedProduct is rows of codes x[M,K] by w[N,K] in panels, which are codes of e, from
// column first on; y begins as what is in it where add.
func codedProduct(e kernel.Elem, m, k, n, first int, add bool) *kernel.Kernel {
	q := quantisedProduct(e, m, k, n, 32, add)
	q.Name = fmt.Sprintf("rows.%s.%d", q.Name, first)
	x := q.Bufs[0]
	x.Elem, x.Dims = kernel.Q8, []int{2, m, first + k}
	for _, s := range q.Parts[0].Body {
		if l, ok := s.(*kernel.Load); ok && l.Buf == x {
			l.Idx = []*ints.Expr{ints.C(1), l.Idx[0], ints.Plus(l.Idx[1], ints.C(int64(first)))}
		}
	}
	return q
}

// scaleOfCode is the scale of an element of codes.
func scaleOfCode(b *kernel.Buf, m kernel.Memory, idx ...int64) float32 {
	n := len(b.Dims)
	_, s, _ := b.Elem.Place(idx[n-2], idx[n-1], int64(b.Dims[n-1]), b.Panel)
	if n > 2 {
		s += idx[0] * b.Elem.MatrixBytes(int64(b.Dims[n-2]), int64(b.Dims[n-1]), b.Panel)
	}
	return math.Float32frombits(uint32(binary.LittleEndian.Uint16(m[s:])) << 16)
}

// exactGroups computes such a product as its order of sums is defined: each group of
// the right operand exactly, times both scales, added with one rounding.
func exactGroups(k *kernel.Kernel, ms []kernel.Memory, first int, add bool) {
	x, w := k.Bufs[0], k.Bufs[1]
	depth := w.Dims[1]
	code := func(b *kernel.Buf, m kernel.Memory, scale float32, idx ...int64) int64 {
		if !(scale > 0) {
			return 0
		}
		return int64(math.Round(float64(b.Element(m, idx) / scale)))
	}
	for m := range int64(x.Dims[1]) {
		for n := range int64(w.Dims[0]) {
			at := m*int64(w.Dims[0]) + n
			var sum float32
			if add {
				sum = float32(ms[2].Float(kernel.F32, at))
			}
			for from := 0; from < depth; from += w.Elem.Group() {
				k0 := int64(from)
				sx, sw := scaleOfCode(x, ms[0], 1, m, k0+int64(first)), scaleOfCode(w, ms[1], n, k0)
				exact := int64(0)
				for i := k0; i < int64(min(from+w.Elem.Group(), depth)); i++ {
					exact += code(x, ms[0], sx, 1, m, i+int64(first)) * code(w, ms[1], sw, n, i)
				}
				sum = fused(float32(exact), sx*sw, sum)
			}
			ms[2].SetFloat(kernel.F32, at, float64(sum))
		}
	}
}

// TestCodedRows: a product of codes with codes sums each group exactly, for one row and
// for many, whatever ends early, to the bit.
func TestCodedRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	firsts := map[*kernel.Kernel]int{}
	var ks []*kernel.Kernel
	for _, e := range []kernel.Elem{kernel.Q8, kernel.Q4} {
		for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 29, 63} {
			first := 64 * rng.IntN(2)
			k := codedProduct(e, m, 1+rng.IntN(200), 1+rng.IntN(100), first, m == 7 || m == 63)
			firsts[k] = first
			ks = append(ks, k)
		}
		ks = append(ks, codedProduct(e, 7, 64, 32, 0, false), codedProduct(e, 1, 1024, 256, 0, false), codedProduct(e, 15, 513, 33, 0, true), codedProduct(e, 3, 1, 1, 0, false))
	}
	for _, m := range machines(t) {
		if !m.fixes(kernel.Q8) {
			continue // it widens both: random kernels say how well
		}
		p := compile(t, m, ks...)
		for _, k := range ks {
			ms := []kernel.Memory{kernel.NewMemory(k.Bufs[0], 0), kernel.NewMemory(k.Bufs[1], 0), nil}
			ms[2] = fill(rng, &kernel.Kernel{Bufs: k.Bufs[2:]}, 0)[0]
			row := make([]float32, k.Bufs[0].Dims[2])
			for r := range k.Bufs[0].Dims[1] {
				size := math.Exp2(float64(rng.IntN(60) - 30))
				for i := range row {
					row[i] = float32((rng.Float64()*2 - 1) * size)
				}
				switch rng.IntN(8) {
				case 0:
					clear(row)
				case 1:
					row[rng.IntN(len(row))] = float32(math.NaN()) // its group is none
				}
				k.Bufs[0].SetRow(ms[0], row, []int64{1, int64(r)})
			}
			setRows(rng, k.Bufs[1], ms[1])
			want := clone(ms)
			exactGroups(k, want, firsts[k], strings.Contains(k.Name, "true"))
			p.toTheBit(t, m.Name, k, ms, want[2])
		}
	}
}

// TestCodedRowsAsTheyLie: products read rows of codes where they lie, and multiply
// them as whole numbers; beside other operands they are widened.
func TestCodedRowsAsTheyLie(t *testing.T) {
	k := codedProduct(kernel.Q8, 7, 128, 32, 0, false)
	for _, m := range []Machine{AVX512, AMX} {
		asm, err := Assembly(t.Context(), []*kernel.Kernel{k}, m)
		if err != nil {
			t.Skip(err)
		}
		if n := strings.Count(asm, "vpmovsxbd"); n > 0 || !strings.Contains(asm, "vpdpbusd") {
			t.Errorf("%s: codes are widened by %d instructions", m.Name, n)
		}
	}
	for _, m := range machines(t) {
		rng := rand.New(rand.NewPCG(3, 3))
		k := codedProduct(kernel.Q8, 9, 100, 40, 0, false)
		k.Bufs[1].Elem, k.Bufs[1].Panel = kernel.F32, 16
		p := compile(t, m, k)
		ms := []kernel.Memory{kernel.NewMemory(k.Bufs[0], 0), nil, nil}
		copy(ms[1:], fill(rng, &kernel.Kernel{Bufs: k.Bufs[1:]}, 0))
		row := make([]float32, k.Bufs[0].Dims[2])
		for r := range k.Bufs[0].Dims[1] {
			for i := range row {
				row[i] = float32(rng.NormFloat64())
			}
			k.Bufs[0].SetRow(ms[0], row, []int64{1, int64(r)})
		}
		want := clone(ms)
		if err := k.Run(want, nil); err != nil {
			t.Fatal(err)
		}
		same(t, m.Name, &kernel.Kernel{Name: k.Name, Bufs: slices.Clone(k.Bufs[2:])}, want[2:], p.run(t, k, ms, nil, 2)[2:], 1e-5)
	}
}
