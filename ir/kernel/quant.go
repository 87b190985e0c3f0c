package kernel

import (
	"encoding/binary"
	"math"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Matrix is the size of the matrix that a buffer's last two dimensions are: one
// row for a vector or a scalar.
func (b *Buf) Matrix() (n, k int64) {
	n, k = 1, 1
	if nd := len(b.Dims); nd > 0 {
		k = int64(b.Dims[nd-1])
		if nd > 1 {
			n = int64(b.Dims[nd-2])
		}
	}
	return n, k
}

// Codes is where the element at the given indices of a quantised buffer lies, as
// expressions over the indices: the byte at which its code begins (Q4: the word
// with its digit), the byte at which its scale begins, and how many bits the
// digit stands from the word's lowest.
func (b *Buf) Codes(idx []*ints.Expr) (code, scale, shift *ints.Expr) {
	nd := len(b.Dims)
	rows, ks := b.Matrix()
	p, g := int64(max(b.Panel, 1)), int64(b.Elem.Group())
	at := ints.C(0)
	stride := b.Elem.MatrixBytes(rows, ks, b.Panel)
	for d := nd - 3; d >= 0; d-- {
		at = ints.Plus(at, ints.Times(idx[d], ints.C(stride)))
		stride *= int64(b.Dims[d])
	}
	n, k := ints.C(0), ints.C(0)
	if nd > 0 {
		k = idx[nd-1]
	}
	if nd > 1 {
		n = idx[nd-2]
	}
	in := ints.Rem(n, ints.C(p))
	at = ints.Plus(at, ints.Times(ints.Quo(n, ints.C(p)), ints.C(p*b.Elem.RowBytes(ks))))
	at = ints.Plus(at, ints.Times(ints.Quo(k, ints.C(g)), ints.C(p*b.Elem.BlockBytes())))
	scale = ints.Plus(at, ints.Times(in, ints.C(elem.ScaleBytes)))
	at = ints.Plus(at, ints.C(p*elem.ScaleBytes))
	if b.Elem.Lanes(ks, b.Panel) {
		of := func(e *ints.Expr, by, mod, size int64) *ints.Expr { // the digit e/by mod mod, as so many bytes or bits
			return ints.Times(ints.Rem(ints.Quo(e, ints.C(by)), ints.C(mod)), ints.C(size))
		}
		at = ints.Plus(at, ints.Times(in, ints.C(b.Elem.CodeBytes(g))))
		if b.Elem == Q4 {
			return ints.Plus(at, of(k, 2, 4, 4)), scale, ints.Plus(of(k, 1, 2, 16), of(k, 8, 4, 4))
		}
		at = ints.Plus(at, ints.Plus(of(k, 2, 4, 16), of(k, 16, 4, 4)))
		return ints.Plus(at, ints.Plus(of(k, 1, 2, 2), of(k, 8, 2, 1))), scale, ints.C(0)
	}
	if b.Elem == Q4 {
		word := ints.Plus(ints.Times(ints.Quo(ints.Rem(k, ints.C(g)), ints.C(8)), ints.C(p)), in)
		return ints.Plus(at, ints.Times(word, ints.C(4))), scale, ints.Times(ints.Rem(k, ints.C(8)), ints.C(4))
	}
	if p == 1 {
		return ints.Plus(at, ints.Rem(k, ints.C(g))), scale, ints.C(0)
	}
	word := ints.Plus(ints.Times(ints.Quo(ints.Rem(k, ints.C(g)), ints.C(4)), ints.C(p)), in)
	return ints.Plus(at, ints.Plus(ints.Times(word, ints.C(4)), ints.Rem(k, ints.C(4)))), scale, ints.C(0)
}

// quantum is where an element of a quantised buffer lies: Codes, computed.
func (b *Buf) quantum(idx []int64) (code, scale int64, shift uint) {
	nd := len(b.Dims)
	rows, ks := b.Matrix()
	matrix, n, k := int64(0), int64(0), int64(0)
	for d := range nd - 2 {
		matrix = matrix*int64(b.Dims[d]) + idx[d]
	}
	if nd > 0 {
		k = idx[nd-1]
	}
	if nd > 1 {
		n = idx[nd-2]
	}
	at := matrix * b.Elem.MatrixBytes(rows, ks, b.Panel)
	code, scale, shift = b.Elem.Place(n, k, ks, b.Panel)
	return at + code, at + scale, shift
}

// Element is the element of a quantised buffer at the given indices, which are
// inside it.
func (b *Buf) Element(m Memory, idx []int64) float32 {
	at, scale, shift := b.quantum(idx)
	code := int32(int8(m[at]))
	if b.Elem == Q4 {
		code = int32(binary.LittleEndian.Uint32(m[at:])>>shift&15) - 8
	}
	return float32(code) * math.Float32frombits(uint32(binary.LittleEndian.Uint16(m[scale:]))<<16)
}

// SetRow stores a whole row of a quantised buffer, the one that idx gives without
// the last index.
func (b *Buf) SetRow(m Memory, row []float32, idx []int64) {
	idx = append(append([]int64{}, idx...), 0)
	last := len(idx) - 1
	for from := 0; from < len(row); from += b.Elem.Group() {
		group := row[from:min(from+b.Elem.Group(), len(row))]
		s := b.Elem.Scale(elem.Largest(group))
		for i, x := range group {
			idx[last] = int64(from + i)
			at, scale, shift := b.quantum(idx)
			binary.LittleEndian.PutUint16(m[scale:], uint16(math.Float32bits(s)>>16))
			code := b.Elem.Code(x, s)
			if b.Elem != Q4 {
				m[at] = byte(code)
				continue
			}
			word := binary.LittleEndian.Uint32(m[at:]) &^ (15 << shift)
			binary.LittleEndian.PutUint32(m[at:], word|uint32(code+8)<<shift)
		}
	}
}
