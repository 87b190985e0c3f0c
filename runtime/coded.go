package runtime

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// A checkpoint may have weights as codes. One called W, of the shape [..., k], is
// two tensors then: W with the codes and W.scales with a BF16 for each group of
// each row. q8: I8 [..., k], a code an element. q4: U8 [..., (k+1)/2], two codes a
// byte, each plus 8, the first in the lower four bits; where k is odd the last
// byte's upper four are 0. The metadata has the keys below: without them, such
// tensors are numbers like others.
const (
	codedFormat  = "memc.quantized" // the version of this format
	codedVersion = "1"
	codedWeight  = "memc.quantized." // and the weight's name: its type and shape, "q4 [96,64]"
	scalesSuffix = ".scales"
)

// coded is a weight that a checkpoint has as codes.
type coded struct {
	elem          plan.Elem
	shape         []int // of the weight
	ks            int   // of a row
	codes, scales Tensor
}

// rowCodes is the number of bytes of a row's codes in a file.
func rowCodes(e plan.Elem, ks int) int {
	if e == plan.Q4 {
		return ks/2 + ks%2
	}
	return ks
}

// rowGroups is the number of a row's scales.
func rowGroups(e plan.Elem, ks int) int { return (ks + e.Group() - 1) / e.Group() }

// rowScales is the number of bytes of a row's scales.
func rowScales(e plan.Elem, ks int) int { return rowGroups(e, ks) * plan.ScaleBytes }

// codedShapes are the types and shapes of the two tensors of a weight.
func codedShapes(e plan.Elem, shape []int) (codes, scales Tensor) {
	rows, ks := shape[:len(shape)-1], shape[len(shape)-1]
	codes = Tensor{Elem: safetensors.I8, Shape: append(slices.Clone(rows), rowCodes(e, ks))}
	if e == plan.Q4 {
		codes.Elem = U8
	}
	return codes, Tensor{Elem: BF16, Shape: append(slices.Clone(rows), rowGroups(e, ks))}
}

// codedMeta is a weight's entry in the metadata.
func codedMeta(e plan.Elem, shape []int) string {
	dims, err := json.Marshal(shape)
	if err != nil {
		panic(err) // whole numbers
	}
	return fmt.Sprintf("%s %s", e, dims)
}

// anew is what to do about a file whose codes are not as memc writes them.
const anew = "write the file anew from the original weights, with memc quantize"

// codedOf finds a checkpoint's weights that are codes, by name. The error lists
// those whose tensors are not what the metadata says. Values are checked later.
func codedOf(c *safetensors.Checkpoint) (map[string]*coded, error) {
	var errs []error
	out := map[string]*coded{}
	for _, key := range slices.Sorted(maps.Keys(c.Meta)) {
		name, ok := strings.CutPrefix(key, codedWeight)
		if !ok {
			continue
		}
		if v := c.Meta[codedFormat]; v != codedVersion {
			return nil, fmt.Errorf("the metadata's %s, the version of the form of quantised weights, is %q; this memc reads %q: %s", codedFormat, v, codedVersion, anew)
		}
		w, err := codedNamed(c, name, c.Meta[key])
		if err != nil && len(errs) < 20 {
			errs = append(errs, fmt.Errorf("the tensor %s: %w: %s", name, err, anew))
		}
		out[name] = w
	}
	return out, errors.Join(errs...)
}

func codedNamed(c *safetensors.Checkpoint, name, meta string) (*coded, error) {
	kind, dims, _ := strings.Cut(meta, " ")
	w := &coded{elem: plan.Q8}
	switch kind {
	case plan.Q8.String():
	case plan.Q4.String():
		w.elem = plan.Q4
	default:
		return nil, fmt.Errorf("the metadata says that it is stored as %.20q; there are q8 and q4", kind)
	}
	if err := json.Unmarshal([]byte(dims), &w.shape); err != nil || len(w.shape) == 0 || slices.Min(w.shape) < 0 {
		return nil, fmt.Errorf("the metadata gives it the shape %.60q, which is none of a weight with rows", dims)
	}
	w.ks = w.shape[len(w.shape)-1]
	codes, scales := codedShapes(w.elem, w.shape)
	for _, part := range []struct {
		name string
		want Tensor
		to   *Tensor
	}{{name, codes, &w.codes}, {name + scalesSuffix, scales, &w.scales}} {
		t, ok := c.Tensors[part.name]
		if !ok {
			return nil, fmt.Errorf("it is stored as %s, and the file has no tensor %s", w.elem, part.name)
		}
		if t.Elem != part.want.Elem || !slices.Equal(t.Shape, part.want.Shape) {
			return nil, fmt.Errorf("it is stored as %s of the shape %v, and %s is %s %v where that is %s %v", w.elem, w.shape, part.name, t.Elem, t.Shape, part.want.Elem, part.want.Shape)
		}
		*part.to = t
	}
	return w, nil
}

// rows gives the codes and scales of n rows from the first on.
func (c *coded) rows(first, n int) (codes, scales []byte, err error) {
	a, b := rowCodes(c.elem, c.ks), rowScales(c.elem, c.ks)
	return c.codes.Data[first*a:][:n*a], c.scales.Data[first*b:][:n*b], nil
}

// floats fills dst with the elements from the given one on: codes times scales,
// which is exact.
func (c *coded) floats(dst []float32, from int) {
	e, width := c.elem, rowCodes(c.elem, c.ks)
	for len(dst) > 0 {
		row, k := from/c.ks, from%c.ks
		g := k / e.Group()
		n := min((g+1)*e.Group()-k, c.ks-k, len(dst))
		s := fromBrain(binary.LittleEndian.Uint16(c.scales.Data[row*rowScales(e, c.ks)+g*plan.ScaleBytes:]))
		codes := c.codes.Data[row*width:][:width]
		for i := range dst[:n] {
			if e == plan.Q8 {
				dst[i] = float32(int8(codes[k+i])) * s
				continue
			}
			dst[i] = float32(int8(codes[(k+i)/2]>>((k+i)%2*4)&15)-8) * s
		}
		dst, from = dst[n:], from+n
	}
}

// pieces are so many rows each, of about 64 Ki elements: what is read, checked or
// written at a time.
func pieces(shape []int) layout {
	return layoutOf(plan.F32, []int{rowsOf(shape), shape[len(shape)-1]}, 0)
}

// rowsOf is the number of rows of a tensor.
func rowsOf(shape []int) int { return count(shape[:len(shape)-1]) }

// check refuses what quantising makes of no weight, in n rows from the first on.
func (c *coded) check(first, n int) error {
	codes, scales, err := c.rows(first, n)
	if err != nil {
		return err
	}
	e, width := c.elem, rowCodes(c.elem, c.ks)
	most := uint16(math.Float32bits(e.MostScale()) >> 16)
	least := -e.Most() - 1
	if e == plan.Q8 && bytes.IndexByte(codes, 0x80) >= 0 {
		return fmt.Errorf("it holds the code %v, and codes of %s are from %v to %v", least, e, -e.Most(), e.Most())
	}
	for ; len(codes) > 0; codes = codes[width:] {
		row := codes[:width]
		if e == plan.Q4 {
			whole := row[:c.ks/2]
			if c.ks%2 == 1 && (row[width-1]&15 == 0 || row[width-1]>>4 != 0) || zeroDigit(whole) {
				return fmt.Errorf("it holds the code %v or something behind a row's last, and codes of %s are from %v to %v", least, e, -e.Most(), e.Most())
			}
		}
		for k := 0; k < c.ks; k += e.Group() {
			s := binary.LittleEndian.Uint16(scales)
			scales = scales[plan.ScaleBytes:]
			if s > most { // as are those with a sign and those that are no number
				return fmt.Errorf("it has the scale %v, and scales of %s are from 0 to %v", fromBrain(s), e, e.MostScale())
			}
			if s != 0 {
				continue
			}
			zero := byte(0)
			if e == plan.Q4 {
				zero = 0x88
			}
			group := row[rowCodes(e, k):rowCodes(e, min(k+e.Group(), c.ks))]
			for i, b := range group {
				if b != zero && !(e == plan.Q4 && c.ks%2 == 1 && k+2*i == c.ks-1 && b == 8) {
					return errors.New("it has the scale 0 for codes that are not 0")
				}
			}
		}
	}
	return nil
}

// zeroDigit reports whether one of the bytes' halves is 0.
func zeroDigit(b []byte) bool {
	const ones = 0x1111111111111111
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		if (v-ones)&^v&(8*ones) != 0 {
			return true
		}
	}
	return slices.ContainsFunc(b, func(x byte) bool { return x&15 == 0 || x>>4 == 0 })
}
