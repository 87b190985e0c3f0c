package passes

import (
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// attendPart adds masked attention to a kernel: one block for some query rows of
// one head walks over blocks of 64 keys, which lie on absolute borders, with an
// online softmax (Milakov and Gimelshein, arXiv 1805.02867). A key block that is
// masked for a row leaves that row's sums as they are, to the bit: what other
// rows the block holds does not matter, so neither does how the stream was cut.
func (sc *scope) attendPart(k *kernelBuilder, n *ir.Node) {
	b := sc.block(k, layAttend(n, k.tiling), map[*ir.Node]bool{n: true}, "")
	b.attend(n)
	b.end()
}

// layAttend lays an attend on a grid: some rows of one head of the keys.
func layAttend(n *ir.Node, t Tiling) *layout {
	rows, heads, out := n.Type.Dims[0], n.Type.Dims[1], n.Type.Dims[2]
	size, kvHeads := n.Args[0].Type.Dims[2], n.Args[1].Type.Dims[1].Size
	shared := heads.Size / kvHeads // heads that read the same keys: one tile has them all
	l := &layout{kind: "attend", axes: []axis{
		{dim: ir.Dim{Name: heads.Name, Size: kvHeads}, kind: axisOne},
		{dim: rows, kind: axisRows, step: max(1, t.AttendQ/shared)},
		{dim: size, kind: axisLocal},
		{dim: out, kind: axisLocal},
	}}
	if size.Name == out.Name {
		l.axes = l.axes[:3]
	}
	return l
}

// attend writes the program of an attend's block, up to its store.
func (b *block) attend(n *ir.Node) {
	sc, k := b.sc, b.k
	q, kk, vv := n.Args[0], n.Args[1], n.Args[2]
	rows, heads, out := n.Type.Dims[0], n.Type.Dims[1], n.Type.Dims[2]
	size := q.Type.Dims[2]
	shared := heads.Size / kk.Type.Dims[1].Size
	at := note(n)
	tokens, some := b.span(rows)
	if shared > 1 {
		b.pack = &pack{rows: rows.Name, dim: heads.Name, each: int64(shared)}
	}
	bq, valid := b.span(rows)

	cd := size.Name
	if size.Size == 1 {
		cd = ""
	}
	qt := b.tile(q, rows.Name, cd)
	// The exponentials are powers of two, which are cheaper: the scores are
	// multiplied by log2 e, with the scale and thus in the queries where nothing
	// comes between.
	bent := n.Attr.Cap > 0 || len(n.Attr.Floats) > 0
	scale := n.Attr.Value
	if !n.Attr.Linear && !bent {
		scale *= math.Log2E
	}
	if scale != 1 {
		scaled := k.tile(elem.F32, bq, size.Size, valid, nil)
		b.emit(before, &kernel.Map{Dst: scaled, Expr: kernel.F(kernel.Mul, kernel.R(qt), kernel.N(float32(scale))), Note: at})
		qt = scaled
	}
	column := func() *kernel.Tile { return k.tile(elem.F32, bq, 1, valid, nil) }
	set := func(t *kernel.Tile, v *kernel.Val) kernel.Stmt { return &kernel.Map{Dst: t, Expr: v, Note: at} }
	acc := k.tile(elem.F32, bq, out.Size, valid, nil)
	b.emit(before, set(acc, kernel.N(0)))
	var most, total *kernel.Tile
	if !n.Attr.Linear {
		most, total = column(), column()
		b.emit(before, set(most, kernel.N(-1e30))) // finite: the first difference is no NaN
		b.emit(before, set(total, kernel.N(0)))
	}

	ks, vs := sc.historyOf(kk), sc.historyOf(vv)
	h := ks.history
	head := b.base[heads.Name]
	first := ints.Plus(sc.rowNumber(k, rows.Clock), b.base[rows.Name]) // number of the tile's first row
	last := ints.Plus(first, ints.C(int64(tokens-1)))
	if some != nil {
		last = ints.Plus(first, ints.Minus(some, ints.C(1)))
	}
	c64 := ints.C(historyBlock)

	scores := k.tile(elem.F32, bq, historyBlock, valid, nil)
	var slope *kernel.Tile // of this block's heads
	if len(n.Attr.Floats) > 0 {
		table := &ir.Node{Op: ir.Ops["table"], Type: ir.Type{Dims: []ir.Dim{heads}}, Attr: ir.Attr{Dims: []ir.Dim{heads}, Floats: n.Attr.Floats}}
		from, idx := sc.address(k, table, b.indices(table, rows.Name, ""))
		slope = column()
		b.emit(before, &kernel.Load{Dst: slope, Buf: k.buf(from, false), Idx: idx, Note: at})
	}
	asked, fetch := b.maskRows(n)
	walk := func(v string, from, to, slot *ints.Expr) kernel.Stmt {
		// Tiles of this walk alone: written once, they need not be copies.
		keys := k.tile(elem.F32, size.Size, historyBlock, nil, nil)
		values := k.tile(elem.F32, historyBlock, out.Size, nil, nil)
		blk := ints.V(v)
		r, c := ints.V(kernel.Row), ints.V(kernel.Col)
		i := ints.Plus(first, ints.Quo(r, ints.C(int64(shared))))
		mask := maskTest(n.Attr.Where, map[string]*ints.Expr{
			"i": i,
			"j": ints.Plus(ints.Times(blk, c64), c),
		}, asked)
		start := ints.Times(blk, c64)
		bounds := map[string][2]*ints.Expr{"i": {first, last}, "j": {start, ints.Plus(start, ints.C(historyBlock-1))}}
		band := bandOf(n.Attr.Where, bounds, ints.Minus(first, start), shared)
		scaled := kernel.R(scores)
		if n.Attr.Cap > 0 {
			limit := kernel.N(float32(n.Attr.Cap))
			scaled = kernel.F(kernel.Mul, limit, kernel.F(kernel.Tanh, kernel.F(kernel.Div, scaled, limit)))
		}
		if slope != nil {
			away := ints.Minus(ints.Plus(start, c), i)
			scaled = kernel.F(kernel.Add, scaled, kernel.F(kernel.Mul, kernel.R(slope), kernel.F(kernel.ToF32, kernel.IndexOf(away))))
		}
		if bent && !n.Attr.Linear {
			scaled = kernel.F(kernel.Mul, scaled, kernel.N(math.Log2E))
		}
		body := append(fetch(slot),
			&kernel.Load{Dst: keys, Buf: k.buf(ks, false), Idx: []*ints.Expr{slot, head, c, r}, Note: at},
			&kernel.Load{Dst: values, Buf: k.buf(vs, false), Idx: []*ints.Expr{slot, head, r, c}, Note: at},
			&kernel.Dot{Dst: scores, A: qt, B: keys, Group: size.Size, Operands: sc.lw.operands(kk), Out: band, Note: at})
		if n.Attr.Linear {
			body = append(body,
				set(scores, kernel.F(kernel.Choose, mask, scaled, kernel.N(0))),
				&kernel.Dot{Dst: acc, A: scores, B: values, Acc: true, Group: historyBlock, Operands: sc.lw.operands(vv), In: band, Note: at})
		} else {
			top, next, keep, sum := column(), column(), column(), column()
			exp2 := kernel.Exp2
			// Where the product rounds the scores to 8 bits, 2⁻²² is nothing beside that, in
			// what keeps the sums' scale as well.
			if sc.lw.operands(vv) == elem.BF16 {
				exp2 = kernel.Exp2Near
			}
			masked := set(scores, kernel.F(kernel.Choose, mask, scaled, kernel.N(float32(math.Inf(-1)))))
			full := certain(n.Attr.Where, bounds, true)
			body = append(body, &kernel.When{Cond: ints.No(full), Body: []kernel.Stmt{masked}})
			if bent {
				body = append(body, &kernel.When{Cond: full, Body: []kernel.Stmt{set(scores, scaled)}})
			}
			body = append(body,
				&kernel.Reduce{Dst: top, Src: scores, Op: kernel.Largest, Note: at},
				set(next, kernel.F(kernel.Max, kernel.R(most), kernel.R(top))),
				set(keep, kernel.F(exp2, kernel.F(kernel.Sub, kernel.R(most), kernel.R(next)))),
				set(scores, kernel.F(exp2, kernel.F(kernel.Sub, kernel.R(scores), kernel.R(next)))),
				&kernel.Reduce{Dst: sum, Src: scores, Op: kernel.Sum, Note: at},
				set(total, kernel.F(kernel.Add, kernel.F(kernel.Mul, kernel.R(total), kernel.R(keep)), kernel.R(sum))),
				set(acc, kernel.F(kernel.Mul, kernel.R(acc), kernel.R(keep))),
				&kernel.Dot{Dst: acc, A: scores, B: values, Acc: true, Group: historyBlock, Operands: sc.lw.operands(vv), In: band, Note: at},
				set(most, kernel.R(next)))
		}
		if empty := certain(n.Attr.Where, bounds, false); !isZero(empty) {
			body = []kernel.Stmt{&kernel.When{Cond: ints.No(empty), Body: body}}
		}
		return &kernel.For{Var: v, Lo: from, Hi: to, Step: 1, Stages: 2, Body: body}
	}
	end := ints.Plus(ints.Quo(last, c64), ints.C(1)) // one behind the last row's own block
	switch {
	case h.ring == 0:
		b.emit(before, walk("kb", ints.C(0), end, ints.V("kb")))
	default:
		if h.pinned > 0 {
			b.emit(before, walk("kp", ints.C(0), ints.Least(ints.C(int64(h.pinned)), end), ints.V("kp")))
		}
		back := ints.Quo(ints.Plus(ints.Minus(first, ints.C(int64(h.keep.Ring))), ints.C(1)), c64)
		slot := ints.Plus(ints.C(int64(h.pinned)), ints.Rem(ints.V("kb"), ints.C(int64(h.ring))))
		b.emit(before, walk("kb", ints.Most(ints.C(int64(h.pinned)), back), end, slot))
	}
	y := kernel.R(acc)
	if !n.Attr.Linear {
		y = kernel.F(kernel.Choose, kernel.F(kernel.Less, kernel.N(0), kernel.R(total)), kernel.F(kernel.Div, y, kernel.R(total)), kernel.N(0))
	}
	// What a band leaves out depends on what other rows the block has, and may turn the
	// sign of a 0: adding 0 makes it +.
	result := k.tile(elem.F32, bq, out.Size, valid, nil)
	b.emit(before, set(result, kernel.F(kernel.Add, y, kernel.N(0))))
	b.tiles[tileKey{n, rows.Name, out.Name}] = result
	if out.Size == 1 {
		b.tiles[tileKey{n, rows.Name, ""}] = result
	}
	b.out(n)
}

// maskRows gives what stands in a tile for the integers of rows that attend's
// mask asks for: a column for the query's rows, loaded once, a row for those of
// a key block, which fetch loads from the slot of the block.
func (b *block) maskRows(n *ir.Node) (asked map[string]*kernel.Val, fetch func(slot *ints.Expr) []kernel.Stmt) {
	key, err := ir.KeyRows(n.Attr.Where, len(n.Args)-3)
	if err != nil {
		fail(n, "%v", err)
	}
	asked = map[string]*kernel.Val{}
	var tiles []*kernel.Tile
	var from []*store
	for x, a := range n.Args[3:] {
		if !key[x] {
			asked[fmt.Sprintf("i.%d", x)] = b.value(a, a.Type.Dims[0].Name, "")
			continue
		}
		t := b.k.tile(a.Type.Elem, 1, historyBlock, nil, nil)
		asked[fmt.Sprintf("j.%d", x)] = kernel.R(t)
		tiles, from = append(tiles, t), append(from, b.sc.historyOf(a))
	}
	return asked, func(slot *ints.Expr) []kernel.Stmt {
		var body []kernel.Stmt
		for i, t := range tiles {
			idx := []*ints.Expr{slot, ints.C(0), ints.V(kernel.Col)}
			body = append(body, &kernel.Load{Dst: t, Buf: b.k.buf(from[i], false), Idx: idx, Note: note(n)})
		}
		return body
	}
}
