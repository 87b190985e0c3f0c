package runtime

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// Tensor is a dense tensor: Data is row-major and little-endian.
type Tensor = safetensors.Tensor

// Elem is an element type of a Tensor.
type Elem = safetensors.Elem

// The element types that programs take and give.
const (
	F32  = safetensors.F32
	BF16 = safetensors.BF16
	F16  = safetensors.F16
	I32  = safetensors.I32
	I64  = safetensors.I64
	Bool = safetensors.Bool
	F64  = safetensors.F64
	U8   = safetensors.U8 // the states of quantised histories alone
)

// elemOf is the same type as e. The first six types of a file are numbered as
// those of a plan; a test holds them together.
func elemOf(e plan.Elem) Elem { return Elem(e) }

// FromFloat32 makes a tensor of f32 that shares data on little-endian machines.
// The shape's product must be len(data); no shape means a vector.
func FromFloat32(data []float32, shape ...int) Tensor {
	return Tensor{Elem: F32, Shape: shapeOr(shape, len(data)), Data: memory.Raw(data)}
}

// FromInt32 makes a tensor of i32 that shares data.
func FromInt32(data []int32, shape ...int) Tensor {
	return Tensor{Elem: I32, Shape: shapeOr(shape, len(data)), Data: memory.Raw(data)}
}

// FromFloat64 makes a tensor of f64 that shares data.
func FromFloat64(data []float64, shape ...int) Tensor {
	return Tensor{Elem: F64, Shape: shapeOr(shape, len(data)), Data: memory.Raw(data)}
}

func shapeOr(shape []int, n int) []int {
	if len(shape) == 0 {
		return []int{n}
	}
	return shape
}

// Float32 gives the tensor's elements as float32: a view of Data where it holds
// aligned f32, a converted copy of other floating types. An error names a type
// that is not floating.
func Float32(t Tensor) ([]float32, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.Elem == F32 {
		if v, ok := memory.Values[float32](t.Data); ok {
			return v, nil
		}
	}
	read, err := floatReader(t, false)
	if err != nil {
		return nil, err
	}
	v := make([]float32, t.Len())
	read(v, 0)
	return v, nil
}

// Float64 gives the elements of a floating tensor as float64, exactly: a view
// of Data where it holds aligned f64, else a copy.
func Float64(t Tensor) ([]float64, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.Elem != F64 {
		f, err := Float32(t)
		if err != nil {
			return nil, err
		}
		v := make([]float64, len(f))
		for i := range f {
			v[i] = float64(f[i])
		}
		return v, nil
	}
	if v, ok := memory.Values[float64](t.Data); ok {
		return v, nil
	}
	v := make([]float64, t.Len())
	for i := range v {
		v[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return v, nil
}

// Int32 gives the elements of an i32 tensor: a view of Data where it is aligned.
func Int32(t Tensor) ([]int32, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.Elem != I32 {
		return nil, fmt.Errorf("the tensor holds %s, not I32", t.Elem)
	}
	if v, ok := memory.Values[int32](t.Data); ok {
		return v, nil
	}
	v := make([]int32, t.Len())
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return v, nil
}

// floatReader gives a function that fills dst with the elements from the given
// one on, as f32: exactly, or rounded from f64, to nearest even or, where the
// result is to be rounded once more, to odd.
func floatReader(t Tensor, odd bool) (func(dst []float32, from int), error) {
	le := binary.LittleEndian
	data := t.Data
	switch t.Elem {
	case F32:
		return func(dst []float32, from int) { copy(memory.Raw(dst), data[4*from:]) }, nil
	case BF16, F16:
		widen := fromBrain
		if t.Elem == F16 {
			widen = fromHalf
		}
		if v, ok := memory.Values[uint16](data); ok {
			if t.Elem == BF16 { // the usual case, in a loop without calls
				return func(dst []float32, from int) {
					for i, b := range v[from : from+len(dst)] {
						dst[i] = fromBrain(b)
					}
				}, nil
			}
			return func(dst []float32, from int) {
				for i, b := range v[from : from+len(dst)] {
					dst[i] = fromHalf(b)
				}
			}, nil
		}
		return func(dst []float32, from int) {
			src := data[2*from:]
			for i := range dst {
				dst[i] = widen(le.Uint16(src[2*i:]))
			}
		}, nil
	case F64:
		return func(dst []float32, from int) {
			src := data[8*from:]
			for i := range dst {
				d := math.Float64frombits(le.Uint64(src[8*i:]))
				if odd {
					dst[i] = toOdd(d)
				} else {
					dst[i] = float32(d)
				}
			}
		}, nil
	}
	return nil, fmt.Errorf("it holds %s, which is no floating type", t.Elem)
}
