package elem

import "math"

// A quantised tensor's last dimension is cut into groups, from its start: 64
// elements of Q8, 32 of Q4, the last group what is left. An element is a whole
// number, its code, times its group's scale, a bf16; the product is exact in
// f32. So a group is stored in 66 bytes (8.25 bits an element) and in 18 (4.5).
//
// The scale is the group's largest magnitude over the largest code, rounded up
// to a bf16, so that no code is cut off; codes are rounded to nearest, ties to
// even. A group with a value that is not finite becomes NaN as a whole.
//
// In memory the last two dimensions [n, k] are one matrix in panels of P rows (P
// = 1 where the buffer has no panels), each group of a panel as a block: the
// scales of its P rows, then the codes in words of 32 bits, those of the same ks
// adjacent. A word of Q8 is four codes that follow each other along k, one a byte;
// a word of Q4 is eight, each plus 8, as digits, lowest first. Matrices begin at
// multiples of 64 bytes.
//
// In panels of 8 whose rows are whole groups (Lanes), the codes of a row are
// adjacent instead, in the order in which the lanes of a tensor core's fragment take
// them (PTX ISA, "Matrix Fragments for mma.m16n8k16"): lane n·4 + t of 32 has those of
// row n at the ks 2t, 2t+1, 2t+8, 2t+9 of each 16. A lane's codes of Q8 are 16 bytes,
// four for each 16 ks, in the order 2t, 2t+8, 2t+1, 2t+9: the even bytes of a word and
// the odd ones are pairs of neighbours. A lane's codes of Q4 are a word, the digits of
// even ks below those of odd ones.

// Group is the number of elements that share a scale; 0 for other types.
func (t Type) Group() int {
	switch t {
	case Q8:
		return 64
	case Q4:
		return 32
	}
	return 0
}

// Most is the largest code.
func (t Type) Most() float32 {
	if t == Q4 {
		return 7
	}
	return 127
}

// CodeBytes is the number of bytes that the codes of k elements of a row take.
func (t Type) CodeBytes(k int64) int64 {
	if t == Q4 {
		return (k + 7) / 8 * 4
	}
	return (k + 3) &^ 3
}

// ScaleBytes is the number of bytes of a scale.
const ScaleBytes = 2

// BlockBytes is what a row takes in a block: a scale and a whole group's codes.
func (t Type) BlockBytes() int64 { return ScaleBytes + t.CodeBytes(int64(t.Group())) }

// RowBytes is what a row of k elements takes in all its blocks.
func (t Type) RowBytes(k int64) int64 {
	g := int64(t.Group())
	return (k+g-1)/g*ScaleBytes + t.CodeBytes(k)
}

// Lanes reports whether rows of ks elements in panels of so many lie in the order of
// fragments.
func (t Type) Lanes(ks int64, panel int) bool {
	return panel == FragmentRows && t.Quantised() && ks%int64(t.Group()) == 0
}

// FragmentRows is how many rows a panel has that may lie in the order of fragments.
const FragmentRows = 8

// MatrixBytes is what n rows of k elements take in panels of so many rows (0:
// no panels).
func (t Type) MatrixBytes(n, k int64, panel int) int64 {
	p := max(int64(panel), 1)
	return ((n+p-1)/p*p*t.RowBytes(k) + 63) &^ 63
}

// Place says where the element (n, k) of a matrix with rows of ks elements lies:
// the byte at which its code or its word begins, the byte at which its scale
// begins, and how far its digit stands from the lowest, in bits.
func (t Type) Place(n, k, ks int64, panel int) (code, scale int64, shift uint) {
	p, g := max(int64(panel), 1), int64(t.Group())
	block := n/p*p*t.RowBytes(ks) + k/g*p*t.BlockBytes()
	scale = block + n%p*ScaleBytes
	if t.Lanes(ks, panel) {
		at, shift := t.inLanes(k % g)
		return block + p*ScaleBytes + n%p*t.CodeBytes(g) + at, scale, shift
	}
	if t == Q4 {
		return block + p*ScaleBytes + (k%g/8*p+n%p)*4, scale, uint(k%8) * 4
	}
	return block + p*ScaleBytes + (k%g/4*p+n%p)*4 + k%4, scale, 0
}

// inLanes is where code k of a group lies among its row's, and in a word of Q4.
func (t Type) inLanes(k int64) (at int64, shift uint) {
	lane := k % 8 / 2
	if t == Q4 {
		return lane * 4, uint(k%2*4+k/8) * 4
	}
	return lane*16 + k/16*4 + k%2*2 + k/8%2, 0
}

// Scale is the scale of a group with this largest magnitude: an f32 that a bf16
// holds.
func (t Type) Scale(largest float32) float32 {
	if !(largest <= math.MaxFloat32) {
		return float32(math.NaN())
	}
	b := math.Float32bits(largest / t.Most())
	return math.Float32frombits((b + 0xffff) &^ 0xffff)
}

// MostScale is the largest scale that Quantisable values have.
func (t Type) MostScale() float32 { return t.Scale(mostQuantisable) }

// Code is the whole number that stands for x under a scale.
func (t Type) Code(x, scale float32) int8 {
	if !(scale > 0) {
		return 0
	}
	return int8(math.Float32bits(x/scale + whole))
}

// whole is a number whose neighbours in f32 are the whole numbers around it: a
// small number that is added to it is rounded to one of them, ties to even, and
// stands in the low bits of the sum in two's complement.
const whole = 3 << 22

// Quantisable reports whether a weight can be stored as codes: it is finite, and
// of a size that leaves room for what is computed on the way to it.
func Quantisable(x float32) bool { return x >= -mostQuantisable && x <= mostQuantisable }

const mostQuantisable = 1e30

// Largest is the largest magnitude of a group, NaN where one of its values is.
func Largest(group []float32) float32 {
	largest := float32(0)
	for _, x := range group {
		switch {
		case x != x:
			return x
		case x > largest:
			largest = x
		case -x > largest:
			largest = -x
		}
	}
	return largest
}

// Round replaces the elements of rows of ks by what the type holds of them. Types
// that are not quantised leave them.
func (t Type) Round(rows []float32, ks int) {
	g := t.Group()
	if g == 0 || ks == 0 {
		return
	}
	for ; len(rows) > 0; rows = rows[min(ks, len(rows)):] {
		for row := rows[:min(ks, len(rows))]; len(row) > 0; row = row[min(g, len(row)):] {
			group := row[:min(g, len(row))]
			s := t.Scale(Largest(group))
			for i, x := range group {
				group[i] = float32(t.Code(x, s)) * s
			}
		}
	}
}

// Bytes is the number of bytes of so many elements in rows of ks, without what
// aligns them. Types that are not quantised need no ks.
func (t Type) Bytes(elements, ks int64) int64 {
	if !t.Quantised() {
		return elements * int64(t.Size())
	}
	return elements / max(ks, 1) * t.RowBytes(ks)
}
