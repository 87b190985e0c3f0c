package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/x448/float16"
)

// Memory is a buffer's contents in the layout of its Buf, little-endian.
type Memory []byte

// behind is the number of bytes behind a buffer that a kernel may read.
const behind = 64

// NewMemory gives zeroed memory for the buffer, with Dims[0] = rows where the
// buffer leaves it open (0). It is aligned, and followed by readable bytes, as
// Buf demands.
func NewMemory(b *Buf, rows int) Memory {
	size := int(b.Bytes(rows))
	m := make([]byte, size+2*behind)
	skip := -int(uintptr(unsafe.Pointer(&m[0]))) & (behind - 1)
	return m[skip : skip+size : skip+size+behind]
}

// Len is the number of elements that the buffer takes, with Dims[0] = rows
// where the buffer leaves it open.
func (b *Buf) Len(rows int) int64 {
	full := b.sized(rows)
	n := full.MatrixLen()
	for d := range len(full.Dims) - 2 {
		n *= int64(full.Dims[d])
	}
	return n
}

// Bytes is what the buffer takes in memory, with Dims[0] = rows where it leaves
// that open.
func (b *Buf) Bytes(rows int) int64 {
	if !b.Elem.Quantised() {
		return b.Len(rows) * int64(b.Elem.Size())
	}
	full := b.sized(rows)
	n, k := full.Matrix()
	total := b.Elem.MatrixBytes(n, k, b.Panel)
	for d := range len(full.Dims) - 2 {
		total *= int64(full.Dims[d])
	}
	return total
}

// sized is the buffer with the size of Dims[0] filled in.
func (b *Buf) sized(rows int) *Buf {
	if len(b.Dims) == 0 || b.Dims[0] != 0 {
		return b
	}
	full := *b
	full.Dims = append([]int{rows}, b.Dims[1:]...)
	return &full
}

// Place is the number of the element at the given indices: Offset, computed.
// An index outside the buffer is an error; Dims[0] = 0 leaves the first one open.
func (b *Buf) Place(idx ...int64) (int64, error) {
	nd := len(b.Dims)
	if len(idx) != nd {
		return 0, fmt.Errorf("%s has %d dimensions, not %d", b.Name, nd, len(idx))
	}
	for d, i := range idx {
		open := d == 0 && b.Dims[0] == 0
		if i < 0 || i >= int64(b.Dims[d]) && !open {
			return 0, fmt.Errorf("index %d of %s is %d, outside 0 to %d", d, b.Name, i, b.Dims[d]-1)
		}
	}
	switch nd {
	case 0:
		return 0, nil
	case 1:
		return idx[0], nil
	}
	matrix := int64(0)
	for d := range nd - 2 {
		matrix = matrix*int64(b.Dims[d]) + idx[d]
	}
	n, k, ks := idx[nd-2], idx[nd-1], int64(b.Dims[nd-1])
	at := n*ks + k
	if p := int64(b.Panel); p > 0 {
		at = n/p*ks*p + k*p + n%p
		if b.Pairs {
			at = n/p*ks*p + (k/2*p+n%p)*2 + k%2
		}
	}
	return matrix*b.MatrixLen() + at, nil
}

// Float is element i as a floating type.
func (m Memory) Float(e Elem, i int64) float64 {
	b := m[i*int64(e.Size()):]
	switch e {
	case BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	case F16:
		return float64(float16.Frombits(binary.LittleEndian.Uint16(b)).Float32())
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
}

// SetFloat stores f, rounded to f32 and then to the type, to nearest even.
func (m Memory) SetFloat(e Elem, i int64, f float64) {
	b := m[i*int64(e.Size()):]
	switch e {
	case BF16:
		binary.LittleEndian.PutUint16(b, bf16(float32(f)))
	case F16:
		binary.LittleEndian.PutUint16(b, float16.Fromfloat32(float32(f)).Bits())
	default:
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(f)))
	}
}

// Int is element i as an integer type.
func (m Memory) Int(e Elem, i int64) int64 {
	b := m[i*int64(e.Size()):]
	if e == I32 {
		return int64(int32(binary.LittleEndian.Uint32(b)))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

// SetInt stores v, which the type can hold.
func (m Memory) SetInt(e Elem, i, v int64) {
	b := m[i*int64(e.Size()):]
	if e == I32 {
		binary.LittleEndian.PutUint32(b, uint32(v))
		return
	}
	binary.LittleEndian.PutUint64(b, uint64(v))
}

// toBF16 is the bf16 nearest to f.
func toBF16(f float64) float64 {
	return float64(math.Float32frombits(uint32(bf16(float32(f))) << 16))
}

// bf16 rounds to nearest even; a NaN stays a NaN.
func bf16(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
