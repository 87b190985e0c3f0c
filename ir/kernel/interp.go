package kernel

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
)

// Interp runs kernels slowly and obviously: the truth that generated code is
// tested against. Tiles hold float64; buffers hold what their types hold.
// Beside the result it checks the contract: every tile is undefined when a
// block begins, and where a statement left it undefined; reading there, outside
// a tile's valid region or outside a buffer is an error that names the statement.
type Interp struct {
	// Order gives the order in which the blocks run, a permutation of
	// 0 ... blocks-1 (all parts together, later axes fastest); nil: in order.
	Order func(blocks int) []int
	// Round32 rounds each floating element that a statement gives a tile to f32.
	Round32 bool
	// Chain32 computes every Dot in f32 as it is defined, one chain of fused
	// multiply-adds over ascending k: the bits that any target must give where
	// the operands are the same bits, the Dot has no Group, and B is not read from
	// a quantised buffer.
	Chain32 bool
	// Races makes it an error that two blocks store to one element, that one
	// store does so twice, or that a block loads what another one stores.
	Races bool
}

// Run runs every block in order, checking for races. bufs has the memory of
// each of the kernel's Bufs, args the value of each of its Ints.
func (k *Kernel) Run(bufs []Memory, args []int64) error {
	return Interp{Races: true}.Run(k, bufs, args)
}

// Run runs the kernel's blocks one after another. Where it gives an error, the
// buffers hold what the statements before it stored.
func (in Interp) Run(k *Kernel, bufs []Memory, args []int64) error {
	if err := errors.Join(k.Verify()...); err != nil {
		return err
	}
	m := &machine{Interp: in, k: k, mem: map[*Buf]Memory{}, shadows: map[*byte]*shadow{}, tiles: map[*Tile]*cells{}}
	if len(bufs) != len(k.Bufs) || len(args) != len(k.Ints) {
		return fmt.Errorf("kernel %s takes %d buffers and %d integers, not %d and %d", k.Name, len(k.Bufs), len(k.Ints), len(bufs), len(args))
	}
	for i, b := range k.Bufs {
		if need := b.Bytes(0); int64(len(bufs[i])) < need {
			return fmt.Errorf("kernel %s: buffer %s has %d bytes, but needs %d", k.Name, b.Name, len(bufs[i]), need)
		}
		m.mem[b] = bufs[i]
	}
	params := map[string]int64{}
	for i, name := range k.Ints {
		params[name] = args[i]
	}
	blocks, err := k.blocks(params)
	if err != nil {
		return err
	}
	order := make([]int, len(blocks))
	for i := range order {
		order[i] = i
	}
	if in.Order != nil {
		order = in.Order(len(blocks))
	}
	for _, i := range order {
		if err := m.block(i, blocks[i]); err != nil {
			return fmt.Errorf("kernel %s, block %s: %w", k.Name, blocks[i].where(), err)
		}
	}
	return nil
}

// block is one block of a part's grid.
type block struct {
	part *Part
	env  map[string]int64 // Ints and axes
}

func (b block) where() string {
	var at []string
	for _, a := range b.part.Grid {
		at = append(at, fmt.Sprintf("%s=%d", a.Var, b.env[a.Var]))
	}
	return "(" + strings.Join(at, ", ") + ")"
}

// blocks lists the blocks of all parts.
func (k *Kernel) blocks(params map[string]int64) ([]block, error) {
	var all []block
	for i := range k.Parts {
		pt := &k.Parts[i]
		here := []block{{pt, params}}
		for _, a := range pt.Grid {
			extent, err := a.Extent.Eval(params)
			if err != nil {
				return nil, fmt.Errorf("kernel %s, axis %s: %w", k.Name, a.Var, err)
			}
			var finer []block
			for _, b := range here {
				for v := int64(0); v < extent; v += int64(a.Step) {
					finer = append(finer, block{pt, with(b.env, a.Var, v)})
				}
			}
			here = finer
		}
		all = append(all, here...)
	}
	return all, nil
}

func with(env map[string]int64, name string, v int64) map[string]int64 {
	wider := map[string]int64{name: v}
	for n, v := range env {
		wider[n] = v
	}
	return wider
}

// value is an element while it is computed: f where its type is floating, else
// i (0 or 1 for a Bool).
type value struct {
	f float64
	i int64
}

// cells is a tile's contents.
type cells struct {
	val []value
	set []bool // false: undefined
}

// poison is what an undefined element holds.
var poison = value{math.NaN(), 0x5a5a5a5a5a5a5a5a}

func (c *cells) undefine() {
	for i := range c.val {
		c.val[i], c.set[i] = poison, false
	}
}

// shadow remembers who used the elements of a buffer: block number + 1, or 0.
type shadow struct {
	stored []int32
	loaded []int32 // many: several blocks
	serial []int64 // the last store statement, by number of execution
}

const many = -1

// machine is the state of a run. The first fault in err ends it.
type machine struct {
	Interp
	k       *Kernel
	mem     map[*Buf]Memory
	shadows map[*byte]*shadow
	tiles   map[*Tile]*cells
	id      int32 // block number + 1
	env     map[string]int64
	serial  int64
	err     error
}

func (m *machine) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func (m *machine) block(i int, b block) error {
	m.id = int32(i) + 1
	m.env = with(b.env, Row, 0)
	for _, t := range m.k.Tiles {
		if m.tiles[t] == nil {
			m.tiles[t] = &cells{make([]value, t.Rows*t.Cols), make([]bool, t.Rows*t.Cols)}
		}
		m.tiles[t].undefine()
	}
	m.body(b.part.Body)
	return m.err
}

func (m *machine) body(ss []Stmt) {
	for _, s := range ss {
		if m.err != nil {
			return
		}
		m.serial++
		m.stmt(s)
		if m.err != nil && !errors.As(m.err, new(*stmtError)) {
			m.err = &stmtError{Text(s), m.err}
		}
	}
}

// stmtError is a fault with the statement in which it occurred.
type stmtError struct {
	text string
	err  error
}

func (e *stmtError) Error() string { return e.text + ": " + e.err.Error() }
func (e *stmtError) Unwrap() error { return e.err }

func (m *machine) int(e *ints.Expr) int64 {
	v, err := e.Eval(m.env)
	if err != nil {
		m.fail("%w", err)
	}
	return v
}

// view is a tile with its valid counts in the block as it stands.
type view struct {
	*cells
	t          *Tile
	rows, cols int
}

func (m *machine) view(t *Tile) view {
	return view{m.tiles[t], t, m.count(t, "rows", t.ValidRows, t.Rows), m.count(t, "columns", t.ValidCols, t.Cols)}
}

func (m *machine) count(t *Tile, what string, valid *ints.Expr, all int) int {
	if valid == nil {
		return all
	}
	n := m.int(valid)
	if n < 0 || n > int64(all) {
		m.fail("tile %s has %s = %d valid %s, outside 0 to %d", t.Name, valid, n, what, all)
		return 0
	}
	return int(n)
}

func (m *machine) get(v view, r, c int) value {
	if r >= v.rows || c >= v.cols {
		m.fail("it reads %s[%d,%d], outside the %d valid rows and %d valid columns", v.t.Name, r, c, v.rows, v.cols)
		return poison
	}
	if !v.set[r*v.t.Cols+c] {
		m.fail("it reads %s[%d,%d], which is undefined", v.t.Name, r, c)
	}
	return v.val[r*v.t.Cols+c]
}

func (m *machine) round(t *Tile, v value) value {
	if t.Elem == F32 && m.Round32 {
		v.f = float64(float32(v.f))
	}
	return v
}

// fill gives every valid element of the tile its value, computed from the old
// ones; the rest becomes undefined.
func (m *machine) fill(dst view, element func(r, c int) value) {
	fresh := make([]value, dst.rows*dst.cols)
	for i := range fresh {
		if m.err != nil {
			return
		}
		fresh[i] = m.round(dst.t, element(i/dst.cols, i%dst.cols))
	}
	dst.undefine()
	for i, v := range fresh {
		at := i/dst.cols*dst.t.Cols + i%dst.cols
		dst.val[at], dst.set[at] = v, true
	}
}

func (m *machine) stmt(s Stmt) {
	switch s := s.(type) {
	case *Load:
		m.fill(m.view(s.Dst), func(r, c int) value { return m.load(s, r, c) })
	case *Store:
		src := m.view(s.Src)
		for r := range src.rows {
			for c := range src.cols {
				m.store(s, src, r, c)
			}
		}
	case *Map:
		refs := map[*Tile]view{}
		m.views(s.Expr, refs)
		m.fill(m.view(s.Dst), func(r, c int) value {
			m.env[Row], m.env[Col] = int64(r), int64(c)
			return m.eval(s.Expr, refs, r, c)
		})
	case *Dot:
		m.dot(s)
	case *Reduce:
		m.reduce(s)
	case *Transpose:
		src := m.view(s.Src)
		m.fill(m.view(s.Dst), func(r, c int) value { return m.get(src, c, r) })
	case *Slice:
		src := m.view(s.Src)
		m.fill(m.view(s.Dst), func(r, c int) value { return m.get(src, s.Row+r, s.Col+c) })
	case *Paste:
		m.paste(s)
	case *For:
		for v, hi := m.int(s.Lo), m.int(s.Hi); v < hi && m.err == nil; v += int64(s.Step) {
			m.env[s.Var] = v
			m.body(s.Body)
		}
		delete(m.env, s.Var)
	case *When:
		if m.int(s.Cond) != 0 {
			m.body(s.Body)
		}
	}
}

// at is the element of the buffer that the indices name for r and c, by its
// number (in a quantised buffer by the byte of its code) and by its indices.
func (m *machine) at(b *Buf, idx []*ints.Expr, r, c int) (int64, []int64, bool) {
	m.env[Row], m.env[Col] = int64(r), int64(c)
	at := make([]int64, len(idx))
	for d, e := range idx {
		at[d] = m.int(e)
	}
	if m.err != nil {
		return 0, nil, false
	}
	i, err := b.Place(at...)
	if err != nil {
		m.fail("at r = %d, c = %d: %w", r, c, err)
		return 0, nil, false
	}
	size := max(int64(b.Elem.Size()), 1)
	if b.Elem.Quantised() {
		i, _, _ = b.quantum(at)
	}
	if end := int64(len(m.mem[b])) / size; i >= end {
		m.fail("at r = %d, c = %d: element %d of %s, which has %d", r, c, i, b.Name, end)
		return 0, nil, false
	}
	return i, at, true
}

func (m *machine) load(s *Load, r, c int) value {
	if s.Gather != nil {
		m.env[Pick] = m.get(m.view(s.Gather), r, 0).i
		defer delete(m.env, Pick)
	}
	i, at, ok := m.at(s.Buf, s.Idx, r, c)
	if !ok {
		return poison
	}
	if m.Races {
		sh, e := m.shadow(s.Buf, i)
		if by := sh.stored[e]; by != 0 && by != m.id {
			m.fail("it loads element %d of %s, which block %d stores", i, s.Buf.Name, by-1)
		}
		if by := sh.loaded[e]; by == 0 {
			sh.loaded[e] = m.id
		} else if by != m.id {
			sh.loaded[e] = many
		}
	}
	if s.Buf.Elem.Quantised() {
		return value{f: float64(s.Buf.Element(m.mem[s.Buf], at))}
	}
	if s.Buf.Elem.Float() {
		return value{f: m.mem[s.Buf].Float(s.Buf.Elem, i)}
	}
	return value{i: m.mem[s.Buf].Int(s.Buf.Elem, i)}
}

func (m *machine) store(s *Store, src view, r, c int) {
	v := m.get(src, r, c)
	i, at, ok := m.at(s.Buf, s.Idx, r, c)
	if !ok {
		return
	}
	if m.Races {
		sh, e := m.shadow(s.Buf, i)
		switch by := sh.loaded[e]; {
		case by == many:
			m.fail("it stores element %d of %s, which other blocks load", i, s.Buf.Name)
		case by != 0 && by != m.id:
			m.fail("it stores element %d of %s, which block %d loads", i, s.Buf.Name, by-1)
		}
		if by := sh.stored[e]; by != 0 && by != m.id {
			m.fail("it stores element %d of %s, which block %d stores too", i, s.Buf.Name, by-1)
		}
		if sh.serial[e] == m.serial {
			m.fail("it stores element %d of %s twice", i, s.Buf.Name)
		}
		sh.stored[e], sh.serial[e] = m.id, m.serial
	}
	if m.err != nil {
		return
	}
	if s.Buf.Elem.Quantised() {
		if c == src.cols-1 { // the row's last element
			row := make([]float32, src.cols)
			for j := range row {
				row[j] = float32(m.get(src, r, j).f)
			}
			s.Buf.SetRow(m.mem[s.Buf], row, at[:len(at)-1])
		}
		return
	}
	if s.Buf.Elem.Float() {
		m.mem[s.Buf].SetFloat(s.Buf.Elem, i, v.f)
	} else {
		m.mem[s.Buf].SetInt(s.Buf.Elem, i, v.i)
	}
}

// shadow gives the shadow of a buffer's memory, which two buffers may share,
// and the byte in it at which the element lies.
func (m *machine) shadow(b *Buf, i int64) (*shadow, int64) {
	mem := m.mem[b]
	sh := m.shadows[&mem[0]]
	if n := int64(len(mem)); sh == nil || int64(len(sh.stored)) < n {
		grown := &shadow{make([]int32, n), make([]int32, n), make([]int64, n)}
		if sh != nil {
			copy(grown.stored, sh.stored)
			copy(grown.loaded, sh.loaded)
			copy(grown.serial, sh.serial)
		}
		sh = grown
		m.shadows[&mem[0]] = sh
	}
	return sh, i * max(int64(b.Elem.Size()), 1)
}

func (m *machine) dot(s *Dot) {
	dst, a, b := m.view(s.Dst), m.view(s.A), m.view(s.B)
	ka, kb := a.cols, b.rows
	if s.TransA {
		ka = a.rows
	}
	if s.TransB {
		kb = b.cols
	}
	if ka != kb {
		m.fail("%s has %d valid products to sum, but %s has %d", s.A.Name, ka, s.B.Name, kb)
		return
	}
	in, out := m.band(s.In), m.band(s.Out)
	m.fill(dst, func(r, c int) value {
		var sum value
		if s.Acc {
			sum = m.get(dst, r, c)
		}
		if !out(r, c) {
			return value{f: math.NaN()} // any value will do
		}
		for k := range ka {
			ar, ac, br, bc := r, k, k, c
			if s.TransA {
				ar, ac = k, r
			}
			if s.TransB {
				br, bc = c, k
			}
			x, y := m.get(a, ar, ac).f, m.get(b, br, bc).f
			if !in(r, k) {
				if x != 0 {
					m.fail("%s[%d,%d] is %g, not 0, outside the product's band", s.A.Name, ar, ac, x)
				}
				continue
			}
			if s.Operands == BF16 {
				x, y = toBF16(x), toBF16(y)
			}
			if m.Chain32 {
				sum.f = fma32(x, y, sum.f)
			} else {
				sum.f += x * y
			}
		}
		return sum
	})
}

// band says what lies in a band; without one, all does.
func (m *machine) band(b *Band) func(r, c int) bool {
	if b == nil {
		return func(r, c int) bool { return true }
	}
	lo, hi := m.int(b.Lo), m.int(b.Hi)
	return func(r, c int) bool {
		at := int64(c - r/b.Per)
		return lo <= at && at <= hi
	}
}

// fma32 is x·y + z of f32 values, rounded once to f32. The product is exact in
// f64; where the sum is not, its last bit is made odd, so that the second
// rounding falls as if it were the only one (Boldo and Melquiond, 2008).
func fma32(x, y, z float64) float64 {
	x, y, z = float64(float32(x)), float64(float32(y)), float64(float32(z))
	p := x * y
	s := p + z
	t := s - p
	lost := (p - (s - t)) + (z - t)
	if bits := math.Float64bits(s); lost != 0 && bits&1 == 0 && !math.IsInf(s, 0) && s == s {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float64(float32(s))
}

func (m *machine) reduce(s *Reduce) {
	src := m.view(s.Src)
	m.fill(m.view(s.Dst), func(r, c int) value {
		n := src.cols
		if s.OverRows {
			n = src.rows
		}
		var all value
		if s.Op == Largest {
			all.f = math.Inf(-1)
		}
		for j := range n {
			var v value
			if s.OverRows {
				v = m.get(src, j, c)
			} else {
				v = m.get(src, r, j)
			}
			if s.Op == Largest {
				all.f = math.Max(all.f, v.f)
			} else {
				all.f += v.f
			}
		}
		return all
	})
}

func (m *machine) paste(s *Paste) {
	dst, src := m.view(s.Dst), m.view(s.Src)
	for r := range src.rows {
		for c := range src.cols {
			if s.Row+r >= dst.rows || s.Col+c >= dst.cols {
				m.fail("it writes %s[%d,%d], outside the %d valid rows and %d valid columns", dst.t.Name, s.Row+r, s.Col+c, dst.rows, dst.cols)
				return
			}
			at := (s.Row+r)*dst.t.Cols + s.Col + c
			dst.val[at], dst.set[at] = m.get(src, r, c), true
		}
	}
}
