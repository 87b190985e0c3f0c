package sim

import "encoding/binary"

// Matrices that the lanes of a warp hold in pieces (PTX ISA, "Matrix
// multiply-accumulate operation using mma instruction"). Lane l is number l mod
// 4 of the group l div 4, there and here.
//
// An mma computes each element of D in f32 as a chain over k from 0 on, D = C +
// a·b + a·b + ..., each product exact and each sum rounded to nearest even. The
// ISA does not say in which order hardware adds, nor how it rounds within one
// mma: its last bits may be others.

// fragment says where the elements of a lane's registers lie in a matrix: the
// row and column of element i for a lane's group and its number there.
type fragment struct {
	regs  int // registers of a lane
	each  int // elements in a register
	place func(group, number, i int) (row, col int)
}

// shape is one form of mma.
type shape struct {
	k       int
	a, b    fragment
	operand func(v uint16) float32 // of 16 bits; nil: tf32
}

const mmaRows, mmaCols = 16, 8

// accumulator is C and D ("Matrix Fragments for mma.m16n8k16 with floating point
// type", Figure of the accumulator; the same for all shapes m16n8).
var accumulator = fragment{4, 1, func(g, n, i int) (int, int) { return g + i/2*8, n*2 + i%2 }}

// shapes are the forms that are known, by shape and operand type.
var shapes = map[string]shape{}

func init() {
	// "Matrix Fragments for mma.m16n8k16 with floating point type": A's elements
	// 0, 1, 4, 5 are in the group's row, the others 8 below; from 4 on they are 8
	// columns further. B's elements from 2 on are 8 rows further.
	a16 := fragment{4, 2, func(g, n, i int) (int, int) { return g + i/2%2*8, n*2 + i%2 + i/4*8 }}
	b16 := fragment{2, 2, func(g, n, i int) (int, int) { return n*2 + i%2 + i/2*8, g }}
	// "Matrix Fragments for mma.m16n8k8": the first half of both.
	a8 := fragment{2, 2, func(g, n, i int) (int, int) { return g + i/2*8, n*2 + i%2 }}
	b8 := fragment{1, 2, func(g, n, i int) (int, int) { return n*2 + i, g }}
	for name, h := range halves {
		shapes["m16n8k16."+name] = shape{16, a16, b16, h.read}
		shapes["m16n8k8."+name] = shape{8, a8, b8, h.read}
	}
	// The same section, .tf32: A's elements 0 and 2 are in the group's row, 2 and
	// 3 are 4 columns further.
	shapes["m16n8k8.tf32"] = shape{8,
		fragment{4, 1, func(g, n, i int) (int, int) { return g + i%2*8, n + i/2*4 }},
		fragment{2, 1, func(g, n, i int) (int, int) { return n + i*4, g }}, nil}
	// "Matrix Fragments for mma.m16n8k4 with .tf32".
	shapes["m16n8k4.tf32"] = shape{4,
		fragment{2, 1, func(g, n, i int) (int, int) { return g + i*8, n }},
		fragment{1, 1, func(g, n, _ int) (int, int) { return n, g }}, nil}
}

// spots lists where each element of a fragment lies, row by row in a matrix with
// that many columns: by lane, then by element.
func (f fragment) spots(cols int) [][]int32 {
	out := make([][]int32, lanes)
	for l := range out {
		for i := range f.regs * f.each {
			r, c := f.place(l/4, l%4, i)
			out[l] = append(out[l], int32(r*cols+c))
		}
	}
	return out
}

func (x *build) mma() {
	if !x.has("sync") || !x.has("aligned") || len(x.mods) != 7 || x.mods[1] != "row" || x.mods[2] != "col" {
		x.unknown()
		return
	}
	m := x.mods
	s, ok := shapes[m[0]+"."+m[4]]
	if !ok || m[3] != "f32" || m[4] != m[5] || m[6] != "f32" {
		x.unknown()
		return
	}
	if !x.wants(4) {
		return
	}
	d := x.vector(0, accumulator.regs, bits32, true)
	a := x.vector(1, s.a.regs, bits32, false)
	b := x.vector(2, s.b.regs, bits32, false)
	c := x.vector(3, accumulator.regs, bits32, false)
	if x.err != nil {
		return
	}
	atA, atB, atC := s.a.spots(s.k), s.b.spots(mmaCols), accumulator.spots(mmaCols)
	x.in.kind = gathers
	x.in.run = func(w *warp, _ *inst, _ uint32) {
		var ma [mmaRows * 16]float32
		var mb [16 * mmaCols]float32
		var md [mmaRows * mmaCols]float32
		w.collect(ma[:], a, atA, s.operand)
		w.collect(mb[:], b, atB, s.operand)
		for i, r := range c {
			for l, v := range w.r32[r] {
				md[atC[l][i]] = float(v)
			}
		}
		// A row of D at a time: its sums do not wait for each other.
		for row := range mmaRows {
			d := (*[mmaCols]float32)(md[row*mmaCols:])
			d0, d1, d2, d3, d4, d5, d6, d7 := d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
			for k, v := range ma[row*s.k : row*s.k+s.k] {
				u := (*[mmaCols]float32)(mb[k*mmaCols:])
				d0 += v * u[0] // the products are exact
				d1 += v * u[1]
				d2 += v * u[2]
				d3 += v * u[3]
				d4 += v * u[4]
				d5 += v * u[5]
				d6 += v * u[6]
				d7 += v * u[7]
			}
			*d = [mmaCols]float32{d0, d1, d2, d3, d4, d5, d6, d7}
		}
		for i, r := range d {
			for l := range lanes {
				w.r32[r][l] = bitsOf(md[atC[l][i]])
			}
		}
	}
}

// collect puts a matrix together from what the lanes hold of it.
func (w *warp) collect(to []float32, regs []int32, at [][]int32, half func(uint16) float32) {
	for i, r := range regs {
		for l, v := range w.r32[r] {
			if half == nil {
				to[at[l][i]] = float(v &^ 0x1fff) // tf32 has 10 bits behind the first
				continue
			}
			to[at[l][2*i]], to[at[l][2*i+1]] = half(uint16(v)), half(uint16(v>>16))
		}
	}
}

// ldmatrix (PTX ISA, "ldmatrix"): lanes 8j ... 8j+7 give the addresses of the
// rows of matrix j, 16 bytes each; lane l gets elements 2·(l mod 4) and the next
// of row l div 4, or of column l div 4 with .trans.
func (x *build) ldmatrix() {
	n, trans := x.matrixForm()
	if !x.wants(2) {
		return
	}
	regs := x.vector(0, n, bits32, true)
	x.memory(1)
	rows := uint32(uint64(1)<<(8*n) - 1) // lanes that give addresses
	x.in.run = func(w *warp, in *inst, _ uint32) {
		w.counted(in, in.flags, rows, 16, func(l int) uint64 { return w.addressOf(in, in.a, l) })
		for j, r := range regs {
			var m [8][16]byte
			for row := range m {
				p, err := w.locate(in.flags, w.addressOf(in, in.a, 8*j+row), 16)
				if err == nil {
					err = w.touch(p, everyone, allLanes, false)
				}
				if err != nil {
					w.fail(1<<(8*j+row), "%w", err)
					return
				}
				copy(m[row][:], p.data)
			}
			for l := range lanes {
				g, e := l/4, l%4*2
				if trans {
					w.r32[r][l] = uint32(binary.LittleEndian.Uint16(m[e][2*g:])) | uint32(binary.LittleEndian.Uint16(m[e+1][2*g:]))<<16
				} else {
					w.r32[r][l] = binary.LittleEndian.Uint32(m[g][2*e:])
				}
			}
		}
	}
}

// stmatrix is the way back (PTX ISA, "stmatrix").
func (x *build) stmatrix() {
	n, trans := x.matrixForm()
	if !x.wants(2) {
		return
	}
	x.memory(0)
	regs := x.vector(1, n, bits32, false)
	x.in.run = func(w *warp, in *inst, _ uint32) {
		for j, r := range regs {
			var m [8][16]byte
			for l := range lanes {
				g, e, v := l/4, l%4*2, w.r32[r][l]
				if trans {
					binary.LittleEndian.PutUint16(m[e][2*g:], uint16(v))
					binary.LittleEndian.PutUint16(m[e+1][2*g:], uint16(v>>16))
				} else {
					binary.LittleEndian.PutUint32(m[g][2*e:], v)
				}
			}
			for row := range m {
				p, err := w.locate(in.flags, w.addressOf(in, in.a, 8*j+row), 16)
				if err == nil {
					err = w.touch(p, everyone, 0, true)
				}
				if err != nil {
					w.fail(1<<(8*j+row), "%w", err)
					return
				}
				copy(p.data, m[row][:])
			}
		}
	}
}

// matrixForm reads the modifiers of both: the number of matrices of 8 x 8
// elements of 16 bits, and whether they are transposed.
func (x *build) matrixForm() (n int, trans bool) {
	sync, shape := x.has("sync") && x.has("aligned"), x.has("m8n8")
	trans = x.has("trans")
	for name, k := range map[string]int{"x1": 1, "x2": 2, "x4": 4} {
		if x.has(name) {
			n = k
		}
	}
	x.in.flags = x.space()
	if !sync || !shape || n == 0 || x.in.flags&(toShared|toGeneric) == 0 || !x.is("b16") {
		x.unknown()
	}
	x.mods = nil
	x.in.kind = gathers
	return max(n, 1), trans
}
