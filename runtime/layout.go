package runtime

import (
	"encoding/binary"
	"math"

	"github.com/memc-lang/memc/ir/plan"
)

// layout says where the elements of a buffer lie: a row-major tensor is count
// matrices of rows x cols, each stored row-major, or in panels of so many rows
// that are stored column by column (see kernel.Buf).
type layout struct {
	size             int // bytes of an element
	count            int // matrices
	rows, cols       int
	panel            int // 0: row-major
	group, perMatrix int // rows stored together; groups of a matrix
}

func layoutOf(e plan.Elem, dims []int, panel int) layout {
	l := layout{size: e.Size(), count: 1, rows: 1, cols: 1, panel: panel}
	if n := len(dims); n > 0 {
		l.cols = dims[n-1]
		if n > 1 {
			l.rows = dims[n-2]
		}
		for i := range n - 2 {
			l.count *= dims[i]
		}
	}
	l.group = panel
	if panel == 0 { // about 64 Ki elements
		l.group = max(1, 1<<16/max(l.cols, 1))
	}
	l.perMatrix = (l.rows + l.group - 1) / l.group
	return l
}

// groups is the number of pieces in which the tensor can be moved.
func (l *layout) groups() int {
	if l.cols == 0 {
		return 0
	}
	return l.count * l.perMatrix
}

// piece is group g: the first element in row-major order, the number of rows
// in it, and the byte where its memory begins.
func (l *layout) piece(g int) (element, rows int, offset int64) {
	m, p := g/l.perMatrix, g%l.perMatrix
	rows = min(l.group, l.rows-p*l.group)
	element = (m*l.rows + p*l.group) * l.cols
	if l.panel == 0 {
		return element, rows, int64(element) * int64(l.size)
	}
	return element, rows, int64(g) * int64(l.panel) * int64(l.cols) * int64(l.size)
}

// put stores row-major elements as group g of the buffer.
func (l *layout) put(buffer, elements []byte, g int) {
	_, rows, off := l.piece(g)
	if l.panel == 0 {
		copy(buffer[off:off+int64(len(elements))], elements)
		return
	}
	l.move(buffer[off:], elements, rows, true)
}

// get loads group g of the buffer as row-major elements.
func (l *layout) get(elements, buffer []byte, g int) {
	_, rows, off := l.piece(g)
	if l.panel == 0 {
		copy(elements, buffer[off:off+int64(len(elements))])
		return
	}
	l.move(buffer[off:], elements, rows, false)
}

// move transposes between a panel and rows of elements.
func (l *layout) move(panel, elements []byte, rows int, in bool) {
	le := binary.LittleEndian
	for r := range rows {
		row := elements[r*l.cols*l.size:][:l.cols*l.size]
		col := panel[r*l.size:]
		step := l.panel * l.size
		switch {
		case l.size == 2 && in:
			for k := range l.cols {
				le.PutUint16(col[k*step:], le.Uint16(row[2*k:]))
			}
		case l.size == 4 && in:
			for k := range l.cols {
				le.PutUint32(col[k*step:], le.Uint32(row[4*k:]))
			}
		default:
			for k := range l.cols {
				a, b := col[k*step:][:l.size], row[k*l.size:][:l.size]
				if in {
					copy(a, b)
				} else {
					copy(b, a)
				}
			}
		}
	}
}

// narrow writes f32 values as elements of type e, rounding to nearest even.
func narrow(dst []byte, src []float32, e plan.Elem) {
	le := binary.LittleEndian
	switch e {
	case plan.F32:
		for i, f := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(f))
		}
	case plan.BF16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], toBrain(f))
		}
	case plan.F16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], toHalf(f))
		}
	}
}
