// Package safetensors reads and writes tensors in the safetensors format: eight
// bytes with the header's length (little-endian), a JSON header, and the
// tensors' bytes, row-major and little-endian, one after another
// (https://github.com/huggingface/safetensors, "Format"). The reader is strict:
// what it accepts, every other reader understands alike.
package safetensors

import (
	"fmt"
	"math"
)

// Elem is an element type; the first six are numbered as ir/elem numbers them.
type Elem uint8

// The element types of the format that hold numbers of whole bytes.
const (
	F32 Elem = iota
	BF16
	F16
	I32
	I64
	Bool
	F64
	I8
	I16
	U8
	U16
	U32
	U64
)

var elems = [...]struct {
	name string
	size int
}{
	F32: {"F32", 4}, BF16: {"BF16", 2}, F16: {"F16", 2}, I32: {"I32", 4}, I64: {"I64", 8}, Bool: {"BOOL", 1}, F64: {"F64", 8},
	I8: {"I8", 1}, I16: {"I16", 2}, U8: {"U8", 1}, U16: {"U16", 2}, U32: {"U32", 4}, U64: {"U64", 8},
}

// String is the type's name in a header.
func (e Elem) String() string {
	if int(e) < len(elems) {
		return elems[e].name
	}
	return fmt.Sprintf("elem(%d)", uint8(e))
}

// Size is the number of bytes of one element.
func (e Elem) Size() int { return elems[e].size }

// Tensor is a dense tensor: row-major, little-endian.
type Tensor struct {
	Elem  Elem
	Shape []int
	Data  []byte
}

// Len is the number of elements that the shape says.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Check reports whether the shape and the data agree.
func (t *Tensor) Check() error {
	if int(t.Elem) >= len(elems) {
		return fmt.Errorf("element type %d does not exist", t.Elem)
	}
	n, err := bytesOf(t.Elem, t.Shape)
	if err != nil {
		return err
	}
	if n != int64(len(t.Data)) {
		return fmt.Errorf("%s %v takes %d bytes, but there are %d", t.Elem, t.Shape, n, len(t.Data))
	}
	return nil
}

// bytesOf multiplies a shape out, or says which dimension makes it impossible.
func bytesOf(e Elem, shape []int) (int64, error) {
	n, empty := int64(e.Size()), false
	for i, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("dimension %d of %v is negative", i, shape)
		case d == 0:
			empty = true
		case n > math.MaxInt64/int64(d):
			return 0, fmt.Errorf("the shape %v is too large for 64 bits", shape)
		default:
			n *= int64(d)
		}
	}
	if empty {
		return 0, nil
	}
	return n, nil
}
