package kernel

import (
	"fmt"
	"maps"

	"github.com/memc-lang/memc/ir/ints"
)

// Limits of a legal kernel.
const (
	maxDims   = 8
	maxBuf    = 1 << 48 // elements of a buffer, rows of an open Dims[0] not counted
	maxTile   = 1 << 22 // elements of a tile
	maxTiles  = 1 << 24 // elements of all tiles
	MaxParts  = 16      // parts of a kernel
	maxAxes   = 8
	maxStages = 16
)

// Verify gives all faults of a kernel, each with the text of its statement.
// What it checks:
//
//	names       of the kernel, buffers, tiles and integers: letters, digits, _ and . ; unique
//	            among buffers, among tiles, among integers; no word of the text form
//	variables   of axes and loops: not r, c or x, nor hiding another one in scope
//	buffers     1 to 8 sizes, positive but for an open Dims[0]; panels of two dimensions or more; not bool
//	tiles       f32, i32 or i64; positive sizes, at most 4M elements, together 16M
//	complete    no statement or expression lacks a tile, a buffer or an operand
//	declared    every tile and buffer of a statement is one of the kernel's
//	grids       1 to 16 parts of at most 8 axes; steps are positive; extents are over Ints
//	loops       positive steps, 0 to 16 stages, at most 64 statements deep
//	scope       an expression uses Ints, axes and loops around it; r and c in indices and tests;
//	            x in the indices of a gathering load; a tile's counts are in scope wherever it is used
//	depth       no expression is more than 400 operators deep
//	indices     one a dimension; c at most once, added with factor 1; a store of several columns has c
//	gather      an integer tile [Rows,1] with as many rows as the load's
//	load        widens f32, bf16, f16 to f32; i32 to i32 or i64; i64 to i64
//	store       to a Write buffer, f32 to a floating one, integers to their own type
//	operators   the number and types of operands, and the types of results
//	map         a tile has the shape of the result, or one row, or one column, or both
//	dot         [M,K] · [K,N] = [M,N] of f32, and the counts of K are the same
//	reduce      f32, [Rows,1] or [1,Cols]
//	transpose   [Cols,Rows] of one type
//	slice       and paste: the smaller tile lies within the larger one, of one type
//	in place    only a map may read the tile that it writes (and a dot add to its own)
//	counts      what a statement reads is valid: the operand's count is the result's, or all
//	notes       are of valid UTF-8
//
// Counts are compared as texts. Where a slice or paste has an offset, and where
// a count depends on a loop in which the tile was not written, a run decides.
func (k *Kernel) Verify() []error {
	v := &verifier{k: k, tiles: map[*Tile]bool{}, bufs: map[*Buf]bool{}}
	v.declarations()
	if len(v.errs) > 0 {
		return v.errs // statements would only repeat them
	}
	if n := len(k.Parts); n == 0 || n > MaxParts {
		v.faultf("the kernel has %d parts, not 1 to %d", n, MaxParts)
		return v.errs
	}
	for i := range k.Parts {
		v.part(&k.Parts[i])
	}
	return v.errs
}

type verifier struct {
	k     *Kernel
	tiles map[*Tile]bool
	bufs  map[*Buf]bool
	at    Stmt            // nil: a declaration
	scope map[string]bool // Ints, axes and loops
	errs  []error
}

func (v *verifier) faultf(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if v.at != nil {
		v.errs = append(v.errs, fmt.Errorf("kernel %s: %s: %s", v.k.Name, Text(v.at), msg))
		return
	}
	v.errs = append(v.errs, fmt.Errorf("kernel %s: %s", v.k.Name, msg))
}

// reserved are the words of integer expressions and of what stands behind them.
var reserved = map[string]bool{
	"to": true, "step": true, "stages": true, "rows": true, "cols": true, "gather": true,
	"div": true, "mod": true, "min": true, "max": true, "select": true, "table": true,
}

func (v *verifier) name(what, name string, seen map[string]bool) {
	if !isName(name) {
		v.faultf("%s %q: this is no name", what, name)
	}
	if seen[name] {
		v.faultf("%s %s: the name is taken", what, name)
	}
	seen[name] = true
}

func (v *verifier) variable(what, name string, seen map[string]bool) {
	v.name(what, name, seen)
	if reserved[name] || name == Row || name == Col || name == Pick {
		v.faultf("%s %s: the name has a meaning in expressions", what, name)
	}
}

func (v *verifier) declarations() {
	k := v.k
	v.name("kernel", k.Name, map[string]bool{})
	names := map[string]bool{}
	for _, b := range k.Bufs {
		v.name("buffer", b.Name, names)
		v.bufs[b] = true
		v.buf(b)
	}
	v.scope = map[string]bool{}
	for _, n := range k.Ints {
		v.variable("integer", n, v.scope)
	}
	names = map[string]bool{}
	for _, t := range k.Tiles {
		v.name("tile", t.Name, names)
		if t.Name == "inf" || t.Name == "nan" {
			v.faultf("tile %s: the name is a number", t.Name)
		}
		v.tiles[t] = true
		v.tile(t)
	}
	elements := 0
	for t := range v.tiles {
		elements += min(t.Rows*t.Cols, maxTiles)
		if elements > maxTiles {
			v.faultf("the tiles have more than %d elements", maxTiles)
			return
		}
	}
}

func (v *verifier) buf(b *Buf) {
	if b.Elem == Bool || b.Elem > Q4 {
		v.faultf("buffer %s cannot hold bools", b.Name)
		return
	}
	if len(b.Dims) == 0 || len(b.Dims) > maxDims {
		v.faultf("buffer %s has %d dimensions, not 1 to %d", b.Name, len(b.Dims), maxDims)
	}
	n := int64(1)
	for i, d := range b.Dims {
		if d < 0 || d == 0 && i > 0 {
			v.faultf("buffer %s has the size %d in dimension %d", b.Name, d, i)
			return
		}
		if d > maxBuf || n > maxBuf/int64(max(d, 1)) {
			v.faultf("buffer %s has more than %d elements", b.Name, int64(maxBuf))
			return
		}
		n *= int64(max(d, 1))
	}
	if b.Panel < 0 || b.Panel > 1<<16 || b.Panel > 0 && len(b.Dims) < 2 {
		v.faultf("buffer %s of %d dimensions cannot have panels of %d", b.Name, len(b.Dims), b.Panel)
		return
	}
	if b.Pairs && (b.Panel == 0 || b.Elem.Size() != 2 || b.Dims[len(b.Dims)-1]%2 != 0) {
		v.faultf("buffer %s of %s %v in panels of %d cannot have pairs", b.Name, b.Elem, b.Dims, b.Panel)
	}
}

func (v *verifier) tile(t *Tile) {
	if t.Elem != F32 && t.Elem != I32 && t.Elem != I64 {
		v.faultf("tile %s holds neither f32 nor i32 nor i64", t.Name)
		return
	}
	if t.Rows <= 0 || t.Cols <= 0 || t.Rows > maxTile || t.Cols > maxTile || t.Rows*t.Cols > maxTile {
		v.faultf("tile %s is %d by %d: sizes are positive, and a tile has at most %d elements", t.Name, t.Rows, t.Cols, maxTile)
	}
	for _, e := range []*ints.Expr{t.ValidRows, t.ValidCols} {
		if e != nil && intDepth(e) > maxDepth {
			v.faultf("a count of tile %s is more than %d operators deep", t.Name, maxDepth)
		}
	}
}

func (v *verifier) part(pt *Part) {
	outer := v.scope
	v.scope = maps.Clone(outer)
	if len(pt.Grid) > maxAxes {
		v.faultf("a grid has %d axes, more than %d", len(pt.Grid), maxAxes)
	}
	for _, a := range pt.Grid {
		v.variable("axis", a.Var, v.scope)
		if a.Step <= 0 {
			v.faultf("axis %s has the step %d", a.Var, a.Step)
		}
		v.integer("the extent of axis "+a.Var, a.Extent, outer)
	}
	v.body(pt.Body, 1)
	v.at = nil
	v.scope = outer
}

func (v *verifier) body(ss []Stmt, depth int) {
	for _, s := range ss {
		v.at = nil
		if !complete(s) {
			v.faultf("a %T lacks a tile, a buffer or an expression", s)
			continue
		}
		v.at = s
		if depth > maxNesting {
			v.faultf("statements are nested more than %d deep", maxNesting)
			return
		}
		v.stmt(s, depth)
	}
}

// integer checks an expression whose variables are in scope or in extra.
func (v *verifier) integer(what string, e *ints.Expr, scope map[string]bool, extra ...string) {
	if e == nil {
		v.faultf("%s is missing", what)
		return
	}
	if intDepth(e) > maxDepth {
		v.faultf("%s is more than %d operators deep", what, maxDepth)
		return
	}
	used := map[string]bool{}
	e.Vars(used)
	for _, x := range extra {
		delete(used, x)
	}
	for _, name := range sorted(used) {
		if !scope[name] {
			v.faultf("%s, %s, uses %s, which has no value there", what, e, name)
		}
	}
}

// use checks that a tile is the kernel's, and its counts are in scope.
func (v *verifier) use(ts ...*Tile) bool {
	ok := true
	for _, t := range ts {
		if !v.tiles[t] {
			v.faultf("the kernel does not declare the tile %s", t.Name)
			ok = false
			continue
		}
		for _, e := range []*ints.Expr{t.ValidRows, t.ValidCols} {
			if e != nil {
				v.integer("the count of tile "+t.Name, e, v.scope)
			}
		}
	}
	return ok
}

// apart checks that a statement does not read the tile that it writes.
func (v *verifier) apart(dst *Tile, srcs ...*Tile) {
	for _, s := range srcs {
		if s == dst {
			v.faultf("it reads the tile %s that it writes", dst.Name)
		}
	}
}

func (v *verifier) sameElem(dst, src *Tile) {
	if dst.Elem != src.Elem {
		v.faultf("tile %s is %s but %s is %s", dst.Name, dst.Elem, src.Name, src.Elem)
	}
}

func (v *verifier) stmt(s Stmt, depth int) {
	if err := checkNote(NoteOf(s)); err != nil {
		v.faultf("%v", err)
	}
	switch s := s.(type) {
	case *Load:
		v.load(s)
	case *Store:
		v.store(s)
	case *Map:
		v.mapping(s)
	case *Dot:
		v.dot(s)
	case *Reduce:
		v.reduce(s)
	case *Transpose:
		if v.use(s.Dst, s.Src) {
			v.apart(s.Dst, s.Src)
			v.sameElem(s.Dst, s.Src)
			v.shape(s.Dst, s.Src.Cols, s.Src.Rows)
			v.covers(cols(s.Src), rows(s.Dst))
			v.covers(rows(s.Src), cols(s.Dst))
		}
	case *Slice:
		v.within(s.Dst, s.Src, s.Src, s.Dst, s.Row, s.Col)
	case *Paste:
		v.within(s.Dst, s.Src, s.Dst, s.Src, s.Row, s.Col)
	case *For:
		v.loop(s, depth)
	case *When:
		v.integer("the condition", s.Cond, v.scope)
		v.body(s.Body, depth+1)
	}
}

func (v *verifier) loop(s *For, depth int) {
	v.integer("the lower bound", s.Lo, v.scope)
	v.integer("the upper bound", s.Hi, v.scope)
	if s.Step <= 0 {
		v.faultf("the step is %d", s.Step)
	}
	if s.Stages < 0 || s.Stages > maxStages {
		v.faultf("there are %d stages, not 0 to %d", s.Stages, maxStages)
	}
	hides := v.scope[s.Var]
	v.variable("loop", s.Var, v.scope)
	v.body(s.Body, depth+1)
	if !hides {
		delete(v.scope, s.Var)
	}
}

func (v *verifier) load(s *Load) {
	v.indices(s.Buf, s.Idx, s.Gather != nil)
	if !v.use(s.Dst) {
		return
	}
	if s.Gather != nil && v.use(s.Gather) {
		v.apart(s.Dst, s.Gather)
		if s.Gather.Elem == F32 || s.Gather.Cols != 1 || s.Gather.Rows != s.Dst.Rows {
			v.faultf("it gathers by tile %s, %s[%d,%d]: it needs integers [%d,1]", s.Gather.Name, s.Gather.Elem, s.Gather.Rows, s.Gather.Cols, s.Dst.Rows)
		} else {
			v.covers(rows(s.Gather), rows(s.Dst))
		}
	}
	from, to := s.Buf.Elem, s.Dst.Elem
	if from.Float() != (to == F32) || from == I64 && to == I32 {
		v.faultf("it cannot load %s as %s", from, to)
	}
}

func (v *verifier) store(s *Store) {
	v.indices(s.Buf, s.Idx, false)
	if !s.Buf.Write {
		v.faultf("buffer %s is not for writing", s.Buf.Name)
	}
	if !v.use(s.Src) {
		return
	}
	from, to := s.Src.Elem, s.Buf.Elem
	if from != to && !(from == F32 && to.Float()) {
		v.faultf("it cannot store %s as %s", from, to)
	}
	if to.Quantised() {
		n, cols := len(s.Idx), s.Src.Cols
		whole := n > 0 && len(s.Buf.Dims) == n && cols == s.Buf.Dims[n-1] && s.Src.ValidCols == nil
		if last := n - 1; to != Q8 || !whole || !ints.Equal(s.Idx[last], ints.V(Col)) && cols > 1 {
			v.faultf("it stores %s in whole rows only: %s is the last index, and the tile has all columns of %s", Q8, Col, s.Buf.Name)
		}
	}
	hasCol := false
	for _, e := range s.Idx {
		hasCol = hasCol || e.Has(Col)
	}
	if s.Src.Cols > 1 && !hasCol {
		v.faultf("it stores %d columns to one place: no index has %s", s.Src.Cols, Col)
	}
}

func (v *verifier) indices(b *Buf, idx []*ints.Expr, gather bool) {
	if !v.bufs[b] {
		v.faultf("the kernel does not declare the buffer %s", b.Name)
		return
	}
	if len(idx) != len(b.Dims) {
		v.faultf("buffer %s has %d dimensions, not %d", b.Name, len(b.Dims), len(idx))
	}
	extra := []string{Row, Col}
	if gather {
		extra = append(extra, Pick)
	}
	withCol := 0
	for _, e := range idx {
		faults := len(v.errs)
		v.integer("an index", e, v.scope, extra...)
		if len(v.errs) > faults || !e.Has(Col) {
			continue
		}
		withCol++
		if f, _, ok := e.Coeff(Col); !ok || f != 1 || occurrences(e, Col) != 1 {
			v.faultf("%s is not %s, once, plus something", e, Col)
		}
	}
	if withCol > 1 {
		v.faultf("%s occurs in %d indices", Col, withCol)
	}
}

func occurrences(e *ints.Expr, name string) int {
	n := 0
	if e.Op == ints.Var && e.Name == name {
		n = 1
	}
	for _, a := range e.Args {
		n += occurrences(a, name)
	}
	return n
}

func (v *verifier) dot(s *Dot) {
	if !v.use(s.Dst, s.A, s.B) {
		return
	}
	v.apart(s.Dst, s.A, s.B)
	for _, t := range []*Tile{s.Dst, s.A, s.B} {
		if t.Elem != F32 {
			v.faultf("tile %s is %s, not f32", t.Name, t.Elem)
		}
	}
	m, ka := rows(s.A), cols(s.A)
	if s.TransA {
		m, ka = ka, m
	}
	kb, n := rows(s.B), cols(s.B)
	if s.TransB {
		kb, n = n, kb
	}
	if ka.size != kb.size {
		v.faultf("%s sums %d products, but %s has %d", s.A.Name, ka.size, s.B.Name, kb.size)
	} else if !sameCount(ka, kb) {
		v.faultf("of the products, %s has %s valid, but %s has %s", s.A.Name, ka, s.B.Name, kb)
	}
	if s.Operands != F32 && s.Operands != BF16 {
		v.faultf("operands of products are %s or %s, not %s", F32, BF16, s.Operands)
	}
	if s.Group < 0 {
		v.faultf("groups of %d products", s.Group)
	}
	v.band(s.In)
	v.band(s.Out)
	v.shape(s.Dst, m.size, n.size)
	v.covers(m, rows(s.Dst))
	v.covers(n, cols(s.Dst))
}

func (v *verifier) band(b *Band) {
	if b == nil {
		return
	}
	v.integer("the lower bound of a band", b.Lo, v.scope)
	v.integer("the upper bound of a band", b.Hi, v.scope)
	if b.Per < 1 {
		v.faultf("a band goes one column on every %d rows", b.Per)
	}
}

func (v *verifier) reduce(s *Reduce) {
	if !v.use(s.Dst, s.Src) {
		return
	}
	v.apart(s.Dst, s.Src)
	if s.Dst.Elem != F32 || s.Src.Elem != F32 {
		v.faultf("a reduction is of f32, not %s to %s", s.Src.Elem, s.Dst.Elem)
	}
	if s.OverRows {
		v.shape(s.Dst, 1, s.Src.Cols)
		v.covers(cols(s.Src), cols(s.Dst))
	} else {
		v.shape(s.Dst, s.Src.Rows, 1)
		v.covers(rows(s.Src), rows(s.Dst))
	}
}

// within checks a slice or paste: small lies in large at row, col.
func (v *verifier) within(dst, src, large, small *Tile, row, col int) {
	if !v.use(dst, src) {
		return
	}
	v.apart(dst, src)
	v.sameElem(dst, src)
	if row < 0 || col < 0 || row > large.Rows-small.Rows || col > large.Cols-small.Cols {
		v.faultf("%s, %d by %d, does not fit into %s, %d by %d, at [%d, %d]", small.Name, small.Rows, small.Cols, large.Name, large.Rows, large.Cols, row, col)
		return
	}
	if row == 0 {
		v.covers(rows(large), rows(small))
	}
	if col == 0 {
		v.covers(cols(large), cols(small))
	}
}

func (v *verifier) shape(t *Tile, wantRows, wantCols int) {
	if t.Rows != wantRows || t.Cols != wantCols {
		v.faultf("tile %s is %d by %d, but the result is %d by %d", t.Name, t.Rows, t.Cols, wantRows, wantCols)
	}
}

// extent is one dimension of a tile: its size, and how much of it is valid.
type extent struct {
	t     *Tile
	size  int
	valid *ints.Expr // nil: all
}

func rows(t *Tile) extent { return extent{t, t.Rows, t.ValidRows} }
func cols(t *Tile) extent { return extent{t, t.Cols, t.ValidCols} }

func (x extent) String() string {
	if x.all() {
		return fmt.Sprintf("all %d", x.size)
	}
	return x.valid.String()
}

func (x extent) all() bool {
	if x.valid == nil {
		return true
	}
	n, ok := x.valid.IsConst()
	return ok && n == int64(x.size)
}

func sameCount(a, b extent) bool {
	return a.all() && b.all() || a.valid != nil && b.valid != nil && ints.Equal(a.valid, b.valid)
}

// covers checks that src is valid wherever dst is: that it is whole, or has the
// same count, or a constant one that dst never passes.
func (v *verifier) covers(src, dst extent) {
	if src.all() || sameCount(src, dst) {
		return
	}
	if n, ok := src.valid.IsConst(); ok {
		most := int64(dst.size)
		if d, ok := constant(dst.valid); ok {
			most = d
		}
		if most <= n {
			return
		}
	}
	v.faultf("of %s only %s are valid, but of %s %s", src.t.Name, src, dst.t.Name, dst)
}

func constant(e *ints.Expr) (int64, bool) {
	if e == nil {
		return 0, false
	}
	return e.IsConst()
}
