// Package kerneltest makes random kernels, with data to run them on and the
// error that f32 arithmetic may make, for testing what runs kernels.
//
// A test draws a Case, runs its kernel on two copies of one Memory, once with
// kernel.Interp and once with what it tests, and Compares the copies.
package kerneltest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand"

	"github.com/memc-lang/memc/ir/kernel"
)

// Case is a kernel that Verify accepts and the interpreter runs without fault
// for every Args and Memory drawn from it.
type Case struct {
	Kernel *kernel.Kernel
	fills  map[*kernel.Buf]fill
	tol    map[*kernel.Buf]float64
}

// fill says what a buffer holds before a run.
type fill struct {
	kind  fillKind
	below int64 // indices: 0 ... below-1
}

type fillKind uint8

const (
	untouched fillKind = iota // a mark that a run must leave where it stores nothing
	rowsOfN                   // eighths from -2 to 2 in the first n rows, NaN behind them
	numbers                   // eighths from -2 to 2; integers of all sizes
	positive                  // integers from 1 to 50
	indices                   // integers from 0 to below-1
)

// Args draws the kernel's Ints: n, the number of rows, from 0 to 100, often
// next to a block's border, and p, a position up to 2^40.
func (c *Case) Args(r *rand.Rand) []int64 {
	n := [...]int64{0, 1, int64(r.Intn(101)), 15 + int64(r.Intn(4)), 31 + int64(r.Intn(4)), 63 + int64(r.Intn(4))}[r.Intn(6)]
	p := [...]int64{0, int64(r.Intn(200)), r.Int63n(1 << 40)}[r.Intn(3)]
	return []int64{n, p}
}

// Memory draws the contents of the kernel's buffers for the given Ints.
func (c *Case) Memory(r *rand.Rand, args []int64) []kernel.Memory {
	n := int(args[0])
	var all []kernel.Memory
	for _, b := range c.Kernel.Bufs {
		f := c.fills[b]
		rows := rowsFor(n)
		m := kernel.NewMemory(b, rows)
		total := b.Len(rows)
		if b.Elem.Quantised() {
			f.codes(r, b, m, n, rows)
			all = append(all, m)
			continue
		}
		for i := range total {
			if b.Elem.Float() {
				m.SetFloat(b.Elem, i, f.float(r))
			} else {
				m.SetInt(b.Elem, i, f.int(r, b.Elem))
			}
		}
		if f.kind == rowsOfN && b.Elem.Float() {
			poison(b, m, n, rows)
		}
		all = append(all, m)
	}
	return all
}

// rowsFor is the size of open dimensions: more than any index in use.
func rowsFor(n int) int { return 4*n + 5 }

// Marks of buffers that are only stored to.
const (
	floatMark = 7.25
	intMark   = 0x55
)

func (f fill) float(r *rand.Rand) float64 {
	if f.kind == untouched {
		return floatMark
	}
	return float64(r.Intn(33)-16) / 8
}

func (f fill) int(r *rand.Rand, e kernel.Elem) int64 {
	switch f.kind {
	case untouched:
		return intMark
	case positive:
		return 1 + r.Int63n(50)
	case indices:
		return r.Int63n(f.below)
	}
	v := int64(r.Uint64()) >> r.Intn(64)
	if e == kernel.I32 {
		return int64(int32(v))
	}
	return v
}

// codesMost is the largest magnitude of a quantised buffer's elements.
func codesMost(e kernel.Elem) float64 { return float64(e.Most()) / 8 }

// codes fills a quantised buffer with eighths: the first element of each group
// is the largest code, so that the scale is one. Rows that nothing may read are
// NaN.
func (f fill) codes(r *rand.Rand, b *kernel.Buf, m kernel.Memory, n, rows int) {
	_, ks := b.Matrix()
	row := make([]float32, ks)
	count := b.Len(rows) / max(ks, 1)
	if nd := len(b.Dims); b.Panel > 0 && nd > 1 { // Len pads the rows of a panel
		count = 1
		for d, size := range b.Dims[:nd-1] {
			if d == 0 && size == 0 {
				size = rows
			}
			count *= int64(size)
		}
	}
	idx := make([]int64, max(len(b.Dims)-1, 0))
	for i := range count {
		for k := range row {
			row[k] = float32(r.Intn(2*int(b.Elem.Most())+1))/8 - b.Elem.Most()/8
			if k%b.Elem.Group() == 0 {
				row[k] = b.Elem.Most() / 8
			}
			if f.kind == rowsOfN && i >= int64(n) {
				row[k] = float32(math.NaN())
			}
		}
		rest := i
		for d := len(idx) - 1; d >= 0; d-- {
			idx[d] = rest
			if d > 0 {
				idx[d] = rest % int64(b.Dims[d])
				rest /= int64(b.Dims[d])
			}
		}
		b.SetRow(m, row, idx)
	}
}

// poison fills the rows behind the first n with NaN: nothing may read them.
func poison(b *kernel.Buf, m kernel.Memory, n, rows int) {
	idx := make([]int64, len(b.Dims))
	for row := n; row < rows; row++ {
		for col := range b.Dims[1] {
			idx[0], idx[1] = int64(row), int64(col)
			if i, err := b.Place(idx...); err == nil {
				m.SetFloat(b.Elem, i, math.NaN())
			}
		}
	}
}

// Tolerance is how far the elements of a buffer may be from the interpreter's:
// twice a bound of what rounding every operation to f32, functions to 16 units
// in the last place, can amount to. It is 0 where f32 arithmetic is exact.
func (c *Case) Tolerance(b *kernel.Buf) float64 { return c.tol[b] }

// Compare gives an error where got is further from want than the tolerance.
// Buffers that the kernel does not write are the same to the bit.
func (c *Case) Compare(got, want []kernel.Memory) error {
	for i, b := range c.Kernel.Bufs {
		if !b.Write || !b.Elem.Float() {
			if !bytes.Equal(got[i], want[i]) {
				return fmt.Errorf("the buffer %s (%s) differs at byte %d", b.Name, b.Elem, firstDifference(got[i], want[i]))
			}
			continue
		}
		tol := c.tol[b]
		for j := range int64(len(want[i]) / b.Elem.Size()) {
			g, w := got[i].Float(b.Elem, j), want[i].Float(b.Elem, j)
			if g != w && !(math.Abs(g-w) <= tol) && !(math.IsNaN(g) && math.IsNaN(w)) {
				return fmt.Errorf("element %d of buffer %s is %v, not %v (tolerance %v)", j, b, g, w, tol)
			}
		}
	}
	return nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// Clone copies memories, aligned as the kernel's buffers demand.
func (c *Case) Clone(ms []kernel.Memory) []kernel.Memory {
	var all []kernel.Memory
	for i, b := range c.Kernel.Bufs {
		rows := 0
		if len(b.Dims) > 0 && b.Dims[0] == 0 {
			for b.Bytes(rows) < int64(len(ms[i])) {
				rows++
			}
		}
		m := kernel.NewMemory(b, rows)
		copy(m, ms[i])
		all = append(all, m)
	}
	return all
}
