package runtime

import (
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// layout says where the elements of a buffer lie: a row-major tensor is count
// matrices of rows x cols, each stored row-major, or in panels of so many rows
// that are stored column by column (see kernel.Buf).
type layout struct {
	size             int // bytes of an element
	count            int // matrices
	rows, cols       int
	panel            int  // 0: row-major
	pairs            bool // of 2-byte elements: those of two columns are adjacent
	group, perMatrix int  // rows stored together; groups of a matrix
}

// weightLayout is the layout of a weight, which may have pairs.
func weightLayout(b *plan.Buffer) layout {
	l := layoutOf(b.Elem, b.Dims, b.Panel)
	l.pairs = b.Pairs
	return l
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
	switch l.size {
	case 1:
		moveAs[uint8](l, panel, elements, rows, in)
	case 2:
		if l.pairs { // elements twice as large, half as many in a row
			words := layout{size: 4, cols: l.cols / 2, panel: l.panel}
			moveAs[uint32](&words, panel, elements, rows, in)
			return
		}
		moveAs[uint16](l, panel, elements, rows, in)
	case 4:
		moveAs[uint32](l, panel, elements, rows, in)
	default:
		moveAs[uint64](l, panel, elements, rows, in)
	}
}

// moveAs goes through blocks of columns: one cache line of each row, and as
// many of the panel as stay in the first cache.
func moveAs[T uint8 | uint16 | uint32 | uint64](l *layout, panel, elements []byte, rows int, in bool) {
	const block = 16
	p := values[T](panel[:l.panel*l.cols*l.size])
	elements = elements[:rows*l.cols*l.size]
	r, aligned := memory.Values[T](elements)
	if !aligned { // part of a file
		r = make([]T, rows*l.cols)
		copy(memory.Raw(r), elements)
		if !in {
			defer func() { copy(elements, memory.Raw(r)) }()
		}
	}
	for from := 0; from < l.cols; from += block {
		to := min(from+block, l.cols)
		for i := range rows {
			row := r[i*l.cols+from : i*l.cols+to]
			at := from*l.panel + i
			if in {
				for _, v := range row {
					p[at] = v
					at += l.panel
				}
				continue
			}
			for k := range row {
				row[k] = p[at]
				at += l.panel
			}
		}
	}
}

// values shows memory that begins at a multiple of its elements' size, as
// buffers and what make gives do.
func values[T memory.Numbers](b []byte) []T {
	v, ok := memory.Values[T](b)
	if !ok {
		panic("runtime: unaligned memory")
	}
	return v
}

// narrow writes f32 values as elements of type e, rounding to nearest even.
func narrow(dst []byte, src []float32, e plan.Elem) {
	dst = dst[:len(src)*e.Size()]
	switch e {
	case plan.F32:
		copy(dst, memory.Raw(src))
	case plan.BF16:
		for i, to := 0, values[uint16](dst); i < len(to); i++ {
			to[i] = toBrain(src[i])
		}
	case plan.F16:
		for i, to := 0, values[uint16](dst); i < len(to); i++ {
			to[i] = toHalf(src[i])
		}
	}
}
