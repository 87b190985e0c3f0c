package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
)

// A weight's codes come in rows as a file holds them (see coded.go), whether they
// were read or have just been made, and are placed from there.

// scratch is what a worker needs to read a piece of a weight.
type scratch struct {
	floats                []float32
	bytes, codes, scaling []byte
}

// take gives a slice of n elements, in the memory that it had where that is enough.
func take[T any](had *[]T, n int) []T {
	if cap(*had) < n {
		*had = make([]T, n)
	}
	return (*had)[:n]
}

// coder reads a weight of rows of ks elements as codes of one type.
type coder struct {
	tensor string
	elem   plan.Elem
	ks     int
	read   func(dst []float32, from int) // what is to be quantised
	stored *coded                        // or codes that there are
}

// rows gives the codes of n rows from the first on, and their scales. They are
// part of s or of a file.
func (c *coder) rows(s *scratch, first, n int) (codes, scales []byte, err error) {
	if c.stored != nil {
		return c.stored.rows(first, n)
	}
	v := take(&s.floats, n*c.ks)
	c.read(v, first*c.ks)
	codes, scales = take(&s.codes, n*rowCodes(c.elem, c.ks)), take(&s.scaling, n*rowScales(c.elem, c.ks))
	return codes, scales, c.encode(codes, scales, v)
}

// encode quantises whole rows. What a row's codes are depends on the row alone.
func (c *coder) encode(codes, scales []byte, v []float32) error {
	e := c.elem
	for ; len(v) > 0; v = v[c.ks:] {
		row, to := v[:c.ks], codes[:rowCodes(e, c.ks)]
		codes = codes[len(to):]
		for len(row) > 0 {
			group := row[:min(e.Group(), len(row))]
			row = row[len(group):]
			most := uint32(0) // magnitudes are ordered as their bits are, what is no number last
			for _, x := range group {
				most = max(most, math.Float32bits(x)&math.MaxInt32)
			}
			if !plan.Quantisable(math.Float32frombits(most)) {
				bad := slices.IndexFunc(group, func(x float32) bool { return !plan.Quantisable(x) })
				return fmt.Errorf("the tensor %s holds %v, which cannot be stored as %s", c.tensor, group[bad], e)
			}
			s := e.Scale(math.Float32frombits(most))
			binary.LittleEndian.PutUint16(scales, uint16(math.Float32bits(s)>>16))
			scales = scales[plan.ScaleBytes:]
			if e == plan.Q8 {
				for i, x := range group {
					to[i] = byte(e.Code(x, s))
				}
				to = to[len(group):]
				continue
			}
			for i := 1; i < len(group); i += 2 {
				to[i/2] = byte(e.Code(group[i-1], s)+8) | byte(e.Code(group[i], s)+8)<<4
			}
			if n := len(group); n%2 == 1 {
				to[n/2] = byte(e.Code(group[n-1], s) + 8)
			}
			to = to[(len(group)+1)/2:]
		}
	}
	return nil
}

// quantise stores the rows of the job's group as codes with scales (see ir/elem).
func (j *job) quantise(s *scratch) error {
	l, e := &j.layout, j.elem
	from, rows, _ := l.piece(j.group)
	codes, scales, err := j.codes.rows(s, from/l.cols, rows)
	if err != nil {
		return err
	}
	matrix, first := int64(j.group/l.perMatrix), int64(j.group%l.perMatrix*l.group)
	ks, p := int64(l.cols), int64(max(l.panel, 1))
	to := j.to[matrix*e.MatrixBytes(int64(l.rows), ks, l.panel):]
	le := binary.LittleEndian
	word := 4 // codes in one of 32 bits
	if e == plan.Q4 {
		word = 8
	}
	for r := int64(0); r < int64(rows); r++ {
		row := codes[:rowCodes(e, l.cols)]
		codes = codes[len(row):]
		for k := int64(0); k < ks; k += int64(e.Group()) {
			n := int(min(ks-k, int64(e.Group())))
			group := row[:rowCodes(e, n)]
			row = row[len(group):]
			at, scale, _ := e.Place(first+r, k, ks, l.panel)
			le.PutUint16(to[scale:], le.Uint16(scales))
			scales = scales[plan.ScaleBytes:]
			if e.Lanes(ks, l.panel) {
				for i := range n {
					at, _, shift := e.Place(first+r, k+int64(i), ks, l.panel)
					if e == plan.Q8 {
						to[at] = group[i]
						continue
					}
					at += int64(shift / 8)
					to[at] = to[at]&^(15<<(shift%8)) | group[i/2]>>(i%2*4)&15<<(shift%8)
				}
				continue
			}
			for i := 0; i < n; i += word {
				var last [4]byte
				four := group
				if len(four) < 4 {
					copy(last[:], four)
					four = last[:]
				}
				le.PutUint32(to[at:], le.Uint32(four))
				group = group[min(4, len(group)):]
				at += 4 * p
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
