package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
)

// quantise stores the rows of the job's group as codes with scales (see ir/elem).
// What the codes are depends on the row alone.
func (j *job) quantise(v []float32) error {
	l, e := &j.layout, j.elem
	matrix, first := int64(j.group/l.perMatrix), int64(j.group%l.perMatrix*l.group)
	ks, p := int64(l.cols), int64(max(l.panel, 1))
	to := j.to[matrix*e.MatrixBytes(int64(l.rows), ks, l.panel):]
	for r := int64(0); r*ks < int64(len(v)); r++ {
		row := v[r*ks:][:ks]
		for k := int64(0); k < ks; k += int64(e.Group()) {
			group := row[k:min(k+int64(e.Group()), ks)]
			most := uint32(0) // magnitudes are ordered as their bits are, what is no number last
			for _, x := range group {
				most = max(most, math.Float32bits(x)&math.MaxInt32)
			}
			if !plan.Quantisable(math.Float32frombits(most)) {
				bad := slices.IndexFunc(group, func(x float32) bool { return !plan.Quantisable(x) })
				return fmt.Errorf("the tensor %s holds %v, which cannot be stored as %s", j.tensor, group[bad], e)
			}
			s := e.Scale(math.Float32frombits(most))
			at, scale, _ := e.Place(first+r, k, ks, l.panel)
			binary.LittleEndian.PutUint16(to[scale:], uint16(math.Float32bits(s)>>16))
			switch {
			case e.Lanes(ks, l.panel):
				for i, x := range group {
					at, _, shift := e.Place(first+r, k+int64(i), ks, l.panel)
					if e == plan.Q8 {
						to[at] = byte(e.Code(x, s))
						continue
					}
					at += int64(shift / 8)
					to[at] = to[at]&^(15<<(shift%8)) | byte(e.Code(x, s)+8)<<(shift%8)
				}
				continue
			case e == plan.Q8:
				for i := 0; i < len(group); i += 4 {
					for d, x := range group[i:min(i+4, len(group))] {
						to[at+int64(d)] = byte(e.Code(x, s))
					}
					at += 4 * p
				}
				continue
			}
			for i := 0; i < len(group); i += 8 {
				word := uint32(0)
				for d, x := range group[i:min(i+8, len(group))] {
					word |= uint32(e.Code(x, s)+8) << (4 * d)
				}
				binary.LittleEndian.PutUint32(to[at+int64(i/8)*4*p:], word)
			}
		}
	}
	return nil
}

// saved is how a state of that shape stands in a file, and how its memory lies
// as such: a quantised one as the bytes of its matrices, as they lie.
func saved(b *plan.Buffer, dims []int) (Elem, []int, layout) {
	if !b.Elem.Quantised() {
		return elemOf(b.Elem), dims, layoutOf(b.Elem, dims, b.Panel)
	}
	last := dims[max(len(dims)-2, 0):]
	one, err := plan.Bytes(b.Elem, last, b.Panel)
	if err != nil {
		panic(err) // the plan was verified
	}
	shape := append(slices.Clone(dims[:len(dims)-len(last)]), int(one))
	return U8, shape, layoutOf(plan.Bool, shape, 0) // bytes
}
