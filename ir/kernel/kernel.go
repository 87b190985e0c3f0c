// Package kernel is the target-neutral form of one launch: a grid of blocks,
// each a short program over two-dimensional tiles. Both back ends print it,
// and an interpreter runs it; nothing in it names a thread, a vector width, a
// barrier or an atomic.
//
// A block runs its statements in order. Tiles are the block's own named
// variables ("near" memory: L1/L2 scratch on a CPU, shared memory on a GPU);
// buffers are tensors in memory that the launch was given. Blocks of one launch
// may run in any order and at the same time: two blocks never store to one
// element, and no block loads what another one stores.
package kernel

import (
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Elem is an element type. Tiles hold F32, I32 or I64; Bool is the type of a
// test inside a map; BF16, F16, Q8 and Q4 exist in memory only and widen when
// loaded: an element of the latter two is its code times its scale.
type Elem = elem.Type

// The element types.
const (
	F32  = elem.F32
	BF16 = elem.BF16
	F16  = elem.F16
	I32  = elem.I32
	I64  = elem.I64
	Bool = elem.Bool
	Q8   = elem.Q8
	Q4   = elem.Q4
)

// Buf is a parameter of a kernel: a dense tensor in memory, 64-byte aligned and
// followed by at least 64 readable bytes. Dims are its sizes, outermost first;
// Dims[0] may be 0 where the kernel does not know it (growing or call-sized).
//
// Panel > 0 says that the last two dimensions [n, k] are stored transposed in
// panels: element (n, k) of a matrix lies at (n/Panel)*k_size*Panel + k*Panel +
// n%Panel, and a matrix takes ceil(n_size/Panel)*k_size*Panel elements. A row
// of k then is the left operand's order, and Panel values of n are adjacent:
// the layout in which a product reads its right operand. With Pairs, those of two
// adjacent ks, an even one and the next, are adjacent too, in words of 32 bits: an
// element lies at (n/Panel)*k_size*Panel + k/2*2*Panel + n%Panel*2 + k%2. Its size is
// two bytes, and k_size is even.
//
// Bufs of one type and shape are different memory. Those of different shapes may
// be the same; Write then holds for all of them.
//
// A buffer of Q8 or Q4 lies in blocks of groups along its last dimension, as
// ir/elem lays them out, matrix after matrix; a vector is a matrix of one row.
type Buf struct {
	Name  string
	Elem  Elem
	Dims  []int
	Panel int
	Pairs bool
	Write bool // the kernel stores to it (and may load from it too)
}

// MatrixLen is the number of elements that the last two dimensions (the last
// one, for a vector) take in memory.
func (b *Buf) MatrixLen() int64 {
	d := b.Dims
	switch {
	case len(d) == 0:
		return 1
	case len(d) == 1:
		return int64(d[0])
	}
	n, k := int64(d[len(d)-2]), int64(d[len(d)-1])
	if b.Panel > 0 {
		n = (n + int64(b.Panel) - 1) / int64(b.Panel) * int64(b.Panel)
	}
	return n * k
}

// Offset is the place of an element, counted in elements from the start, as an
// expression over the index expressions (one per dimension).
func (b *Buf) Offset(idx []*ints.Expr) *ints.Expr {
	off := ints.C(0)
	nd := len(b.Dims)
	stride := b.MatrixLen()
	for d := nd - 3; d >= 0; d-- {
		off = ints.Plus(off, ints.Times(idx[d], ints.C(stride)))
		stride *= int64(b.Dims[d])
	}
	switch {
	case nd == 0:
	case nd == 1:
		off = ints.Plus(off, idx[0])
	case b.Panel > 0:
		n, k, p, ks := idx[nd-2], idx[nd-1], ints.C(int64(b.Panel)), int64(b.Dims[nd-1])
		off = ints.Plus(off, ints.Times(ints.Quo(n, p), ints.C(ks*int64(b.Panel))))
		if two := ints.C(2); b.Pairs {
			word := ints.Plus(ints.Times(ints.Quo(k, two), p), ints.Rem(n, p))
			off = ints.Plus(off, ints.Plus(ints.Times(word, two), ints.Rem(k, two)))
			break
		}
		off = ints.Plus(off, ints.Plus(ints.Times(k, p), ints.Rem(n, p)))
	default:
		off = ints.Plus(off, ints.Plus(ints.Times(idx[nd-2], ints.C(int64(b.Dims[nd-1]))), idx[nd-1]))
	}
	return off
}

// Tile is a block's variable: at most Rows x Cols elements. ValidRows and
// ValidCols (nil: all) say how many of them exist in this block; what lies
// outside is undefined, and no statement reads or writes it. Both are
// expressions over the kernel's Ints, the grid's axes and enclosing loops.
type Tile struct {
	Name       string
	Elem       Elem
	Rows, Cols int
	ValidRows  *ints.Expr
	ValidCols  *ints.Expr
}

// Axis is one axis of a grid: Var takes the values 0, Step, 2*Step, ... below
// Extent, one a block.
type Axis struct {
	Var    string
	Extent *ints.Expr // over the kernel's Ints
	Step   int
}

// Part is a grid of blocks and the program that each of them runs. A fused
// launch of two kinds of block has two parts; their blocks are independent.
type Part struct {
	Grid []Axis // the first axis is the slowest
	Body []Stmt
}

// Kernel is one launch.
type Kernel struct {
	Name  string
	Bufs  []*Buf
	Ints  []string // integer parameters, 64 bits, read from the call descriptor
	Tiles []*Tile
	Parts []Part
}

// Stmt is one statement; its Note is the provenance ("file.spec:12 local.q").
type Stmt interface{ stmt() }

// Row and Col are the variables by which an index expression or a test names
// the row and the column within a tile; Pick names the value of a gathering
// tile in that row.
const (
	Row  = "r"
	Col  = "c"
	Pick = "x"
)

// Load reads Dst[r,c] = Buf[Idx...] over Dst's valid region. Idx has one
// expression a dimension of Buf, over Ints, axes, loop variables, r, c, and x
// where Gather is given: x is Gather[r,0], an integer tile of [Rows,1]. The
// column c occurs in at most one of them, added with factor 1. Floating types
// widen to f32, i32 may widen to i64.
type Load struct {
	Dst    *Tile
	Buf    *Buf
	Idx    []*ints.Expr
	Gather *Tile
	Note   string
}

// Store writes Buf[Idx...] = Src[r,c] over Src's valid region, rounding to
// nearest even where Buf is narrower. Rows go to different places. Into a buffer
// of Q8 it writes whole rows: the last index is c, and Src has all columns of
// Buf, each of them valid. Q4 is not stored.
type Store struct {
	Buf  *Buf
	Idx  []*ints.Expr
	Src  *Tile
	Note string
}

// Map computes Dst[r,c] = Expr over Dst's valid region. A tile in Expr has
// Dst's shape, or one row, or one column, or both (it is then repeated). Dst
// itself may occur in Expr.
type Map struct {
	Dst  *Tile
	Expr *Val
	Note string
}

// Dot computes Dst = A·B, or Dst += A·B where Acc is set. A is [M,K], or [K,M]
// where TransA; B is [K,N], or [N,K] where TransB. Every element is one chain
// of fused multiply-adds over k in ascending order, starting from Dst's element
// or from 0: the result does not depend on tile sizes. Two things may loosen
// that. Group > 1 says that the tile's first k lies at a multiple of Group in the
// whole sum: a target may then sum each Group of ks, from the first on, in a
// fixed order of its own, by itself or on top of those before it. Where B was loaded from a quantised
// buffer, a target may sum the codes of each of its groups in a chain of their
// own and add that sum times the scale; for that it may first round the elements
// of A that meet a group of Q4 to multiples of a power of two that is at most
// 2^-21 of the largest of them, and then makes no other error in the chain. Where A was
// loaded from Q8 too, it may sum the products of codes, which are exact, and add them
// times both scales. Valid counts of K agree.
//
// Operands is F32, or BF16 where every element of A and B is rounded to bf16,
// to nearest even, before it is multiplied; sums stay f32.
//
// In and Out, where given, say what a target may leave out: products (m, k) outside
// the band In, whose elements of A are 0, and elements (m, n) of Dst outside the band
// Out, which have any value afterwards. A sum of 0 may get another sign by that.
type Dot struct {
	Dst, A, B      *Tile
	TransA, TransB bool
	Acc            bool
	Group          int
	Operands       Elem
	In, Out        *Band
	Note           string
}

// Band is a part of a matrix along a diagonal: its elements (r, c) with
// Lo <= c - r div Per <= Hi. The bounds are expressions over what the counts of
// tiles are over; Per is at least 1.
type Band struct {
	Lo, Hi *ints.Expr
	Per    int
}

// Reduction is how Reduce joins elements.
type Reduction uint8

// The reductions.
const (
	Sum Reduction = iota
	Largest
)

// Reduce joins Src over its columns (Dst is [Rows,1]), or over its rows where
// OverRows (Dst is [1,Cols]). The order depends on the tile's static shape and
// valid counts, and on the kernel unless Alike: it is the same then in every kernel.
type Reduce struct {
	Dst, Src *Tile
	Op       Reduction
	OverRows bool
	Alike    bool
	Note     string
}

// Transpose computes Dst[c,r] = Src[r,c].
type Transpose struct {
	Dst, Src *Tile
	Note     string
}

// Slice computes Dst[r,c] = Src[Row+r, Col+c] over Dst's valid region.
type Slice struct {
	Dst, Src *Tile
	Row, Col int
	Note     string
}

// Paste computes Dst[Row+r, Col+c] = Src[r,c] over Src's valid region.
type Paste struct {
	Dst, Src *Tile
	Row, Col int
	Note     string
}

// For runs Body with Var = Lo, Lo+Step, ... below Hi. Tiles keep their values
// from turn to turn. Stages > 1 allows loads of later turns to be in flight.
type For struct {
	Var    string
	Lo, Hi *ints.Expr
	Step   int
	Stages int
	Body   []Stmt
}

// When runs Body where Cond, the same for the whole block, is not 0.
type When struct {
	Cond *ints.Expr
	Body []Stmt
}

func (*Load) stmt()      {}
func (*Store) stmt()     {}
func (*Map) stmt()       {}
func (*Dot) stmt()       {}
func (*Reduce) stmt()    {}
func (*Transpose) stmt() {}
func (*Slice) stmt()     {}
func (*Paste) stmt()     {}
func (*For) stmt()       {}
func (*When) stmt()      {}

// ValOp is an operator inside a map.
type ValOp uint8

// The operators of a map. Floating ones work on f32; integer ones on i32 or
// i64 (both operands of one type, wrapping); tests give Bool.
const (
	Ref      ValOp = iota // Tile[r,c]
	Num                   // F, an f32 constant
	Index                 // I, an integer expression over Ints, axes, loops, r and c, as i64
	Test                  // I != 0, as Bool
	Neg                   // -a
	Abs                   // |a|
	Exp                   // e^a; exactly 1 at 0 and 0 at -inf
	Exp2                  // 2^a; exactly 1 at 0 and 0 below -126, where floats are no longer normal
	Exp2Near              // Exp2 that may be off by 2⁻²² of its value, beside operands that are rounded to bf16
	Log                   // ln a
	Sqrt                  // √a
	Rsqrt                 // 1/√a, correctly rounded operations: 1 / sqrt(a)
	Sigmoid               // 1/(1+e^-a)
	Silu                  // a/(1+e^-a)
	Softplus              // ln(1+e^a), without overflow
	Tanh                  // tanh a
	CosTurn               // cos 2πa, |a| <= 1/2
	SinTurn               // sin 2πa, |a| <= 1/2
	Floor                 // ⌊a⌋
	Turns                 // i64 a read as a signed fraction of 2^64 of a turn: f32 in [-1/2, 1/2)
	Add                   // a + b
	Sub                   // a - b
	Mul                   // a * b
	Div                   // a / b; integers: rounded down, b > 0
	Mod                   // integers: a mod b, b > 0
	Min                   // min(a, b)
	Max                   // max(a, b)
	Less                  // a < b
	AtMost                // a <= b
	Same                  // a == b
	Both                  // a && b
	Either                // a || b
	Not                   // !a
	Choose                // a ? b : c
	ToF32                 // integer or Bool to f32
	ToI64                 // f32, i32 or Bool to i64; an f32 goes towards zero, to the nearest there is where it is beyond them, NaN to 0
	ToI32                 // f32 (as to i64), i64 (its low 32 bits) or Bool to i32
)

// Val is an expression evaluated for every element of a tile.
type Val struct {
	Op   ValOp
	Elem Elem
	Tile *Tile      // Ref
	F    float32    // Num
	I    *ints.Expr // Index, Test
	Args []*Val
}

// R refers to a tile.
func R(t *Tile) *Val { return &Val{Op: Ref, Elem: t.Elem, Tile: t} }

// N is a constant.
func N(f float32) *Val { return &Val{Op: Num, Elem: F32, F: f} }

// IndexOf is an integer expression over r and c as an i64 value.
func IndexOf(e *ints.Expr) *Val { return &Val{Op: Index, Elem: I64, I: e} }

// TestOf is the truth of an integer expression over r and c.
func TestOf(e *ints.Expr) *Val { return &Val{Op: Test, Elem: Bool, I: e} }

// F applies an operator; the result's type follows from the operator and its
// operands.
func F(op ValOp, args ...*Val) *Val {
	e := args[len(args)-1].Elem
	switch op {
	case Less, AtMost, Same, Both, Either, Not:
		e = Bool
	case Turns, ToF32:
		e = F32
	case ToI64:
		e = I64
	case ToI32:
		e = I32
	}
	return &Val{Op: op, Elem: e, Args: args}
}

// NewTile declares a tile with every element valid.
func (k *Kernel) NewTile(name string, e Elem, rows, cols int) *Tile {
	t := &Tile{Name: name, Elem: e, Rows: rows, Cols: cols}
	k.Tiles = append(k.Tiles, t)
	return t
}
