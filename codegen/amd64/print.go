package amd64

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Print gives the LLVM IR of kernels and of walk and work, with the
// kernels' statements as comments. An error names the kernel and the statement.
func Print(ks []*kernel.Kernel, m Machine) (llvm string, err error) {
	mod, _, err := build(ks, m)
	if err != nil {
		return "", err
	}
	return mod.m.String(), nil
}

// build makes a module of kernels, walk and work, and gives the bytes of
// scratch that each kernel's worker needs.
func build(ks []*kernel.Kernel, m Machine) (mod *module, scratch map[string]int64, err error) {
	mod = newModule(m)
	scratch = map[string]int64{}
	for _, k := range ks {
		mod.where = "kernel " + k.Name
		if err := errors.Join(k.Verify()...); err != nil {
			return nil, nil, &KernelError{k.Name, err}
		}
		if _, twice := scratch[k.Name]; twice || !nameable(k.Name) {
			return nil, nil, fmt.Errorf("kernel %q: the name is taken or not made of letters, digits, '.' and '_'", k.Name)
		}
		scratch[k.Name] = mod.kernel(k)
		if mod.err != nil {
			return nil, nil, &KernelError{k.Name, mod.err}
		}
	}
	mod.where = "walk"
	if mod.walk(); mod.err != nil {
		return nil, nil, mod.err
	}
	return mod, scratch, nil
}

// walkName is the name of the function that runs a step list.
const walkName = "walk"

func nameable(s string) bool {
	if s == "" || s == walkName || strings.HasPrefix(s, "memc.") || strings.HasPrefix(s, "llvm.") || len(s) > 200 {
		return false
	}
	for _, c := range s {
		if c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// private keeps a function inside its module.
func (f *fn) private() { f.f.Linkage = enum.LinkageInternal }

// kernel emits one kernel; the native ABI is described in ir/plan.
func (m *module) kernel(k *kernel.Kernel) (scratchBytes int64) {
	word := types.NewPointer(i64)
	bufs, slots, record := ir.NewParam("bufs", types.NewPointer(bytePtr)), ir.NewParam("slots", word), ir.NewParam("record", word)
	scratch, worker, workers := ir.NewParam("scratch", bytePtr), ir.NewParam("worker", i64), ir.NewParam("workers", i64)
	claimed := ir.NewParam("claimed", bytePtr)
	f := m.newFunc(k.Name, types.Void, bufs, slots, record, scratch, worker, workers, claimed)
	f.push()
	squares := anyProduct(k, m.machine.squared)
	var shape value.Value
	if squares {
		shape = f.squaresOn()
	}
	at := map[*kernel.Buf]value.Value{}
	bytes := func(p value.Value) value.Value {
		i := ir.NewBitCast(p, bytePtr)
		f.emit(i)
		return i
	}
	bufBytes, slotBytes, recordBytes := bytes(bufs), bytes(slots), bytes(record)
	for i, b := range k.Bufs {
		at[b] = f.load(bytePtr, bufBytes, c64(int64(i)*8))
	}
	for i, name := range k.Ints {
		slot := f.load(i64, slotBytes, c64(int64(i)*8))
		f.vars[name] = f.load(i64, recordBytes, f.mul(slot, c64(8)))
	}
	var sizes [][]value.Value // blocks along each axis of each part
	var counts []value.Value  // blocks of each part
	for _, p := range k.Parts {
		var axes []value.Value
		var n value.Value = c64(1)
		for _, a := range p.Grid {
			if a.Step < 1 || a.Extent == nil {
				f.fail("axis %s has no extent or no positive step", a.Var)
				return 0
			}
			e := f.smax(f.int(a.Extent), c64(0))
			c, _ := f.floorDiv(f.add(e, c64(int64(a.Step)-1)), c64(int64(a.Step)), true, false)
			axes = append(axes, c)
			n = f.mul(n, c)
		}
		sizes = append(sizes, axes)
		counts = append(counts, n)
	}
	for i, p := range k.Parts {
		m.where = fmt.Sprintf("kernel %s, part %d", k.Name, i)
		f.note(m.where)
		// Blocks of one part cost about the same, those of two parts may not: every
		// part is shared out by itself, beginning with another worker each time.
		share := f.bin(urem, f.add(worker, c64(int64(i))), workers)
		body := rowOf(p)
		b := &block{fn: f, bufs: at, scratch: scratch, shape: shape, entry: f.cur, uses: usages(body), stores: storesOf(body), lives: lifetimes(body),
			places: map[*kernel.Tile]place{}, views: map[*kernel.Tile]*kernel.Load{}, turns: map[*kernel.Tile]right{}, copies: map[copyKey]copied{}, fixed: map[*kernel.Tile]fixed{}, written: map[*kernel.Tile]bool{}, sums: map[*kernel.Tile]sum{}}
		if rows, ok := b.sharedRows(p, body); ok {
			b.byShares(p, rows, sizes[i], share, workers, body)
		} else {
			f.shareOut(p, i, sizes[i], counts[i], share, workers, claimed, func(from, to value.Value) {
				b.grid(p.Grid, sizes[i], c64(0), from, to, body)
			})
		}
		scratchBytes = max(scratchBytes, b.settle())
	}
	if squares {
		f.squaresOff()
	}
	f.ret()
	return scratchBytes
}

// list emits statements in order.
func (b *block) list(body []kernel.Stmt) {
	outer, rest, first := b.where, b.rest, b.firstCodes
	b.firstCodes = right{}
	end := b.pos + positions(body)
	for i := 0; i < len(body); i++ {
		s := body[i]
		b.pos++
		b.rest = span{b.pos, end}
		b.where = outer + ", " + firstLine(s)
		if b.err != nil {
			return
		}
		if m := scaling(body[i:]); m != nil {
			b.note(firstLine(s))
			b.note(firstLine(body[i+1]))
			b.after = body[i+2:]
			b.dotStmt(body[i+1].(*kernel.Dot), m)
			b.wrote(s)
			i++
			continue
		}
		if loop, first := summing(body[i:]); loop != nil {
			b.note(firstLine(s) + " (by the first product)")
			b.beginSum(s.(*kernel.Map), loop, first)
			b.wrote(s)
			continue
		}
		if run := rowRun(body[i:]); len(run) > 0 {
			for _, s := range run {
				b.note(firstLine(s))
			}
			b.byRows(run)
			for _, s := range run {
				b.wrote(s)
			}
			i += len(run) - 1
			continue
		}
		switch s := s.(type) {
		case *kernel.For:
			if s.Step < 1 || s.Lo == nil || s.Hi == nil {
				b.fail("a loop needs bounds and a positive step")
				return
			}
			b.note(firstLine(s))
			from, to := b.int(s.Lo), b.int(s.Hi)
			b.turnAhead(s, b.icmp(predicate[ints.Lt], b.add(from, c64(int64(s.Step))), to))
			b.fixAhead(s)
			lo, hi := s.Lo.Interval(b.ranges), s.Hi.Interval(b.ranges)
			step := gcd(b.multiple(s.Lo), int64(s.Step))
			if lo.Lo == lo.Hi && hi.Hi <= lo.Lo+int64(s.Step) { // one turn at most
				step, hi.Hi = b.multiple(s.Lo), lo.Lo+1
			}
			b.fillSums(s, from, to)
			outer, turned := b.ahead, b.turn
			b.ahead = nil
			if s.Stages > 1 {
				b.ahead = map[string]*ints.Expr{s.Var: ints.Plus(ints.V(s.Var), ints.C(int64(s.Step)))}
			}
			b.within(s.Body, func() {
				b.count(from, to, int64(s.Step), func(v value.Value) {
					b.turn = turn{s.Var, b.icmp(predicate[ints.Lt], b.add(v, c64(int64(s.Step))), to)}
					b.bind(s.Var, v, ints.Range{Lo: lo.Lo, Hi: max(lo.Lo, hi.Hi-1)}, step, func() { b.list(s.Body) })
				})
			})
			b.ahead, b.turn = outer, turned
			b.endSums(s)
			b.pos++
		case *kernel.When:
			b.note(firstLine(s))
			c := b.truth(s.Cond)
			b.loadSum(s, c)
			b.within(s.Body, func() { b.when(c, func() { b.list(s.Body) }) })
			b.pos++
		default:
			b.after = body[i+1:]
			b.plain(s, body[i+1:])
			b.wrote(s)
		}
	}
	b.where, b.rest, b.firstCodes = outer, rest, first
}

// wrote notes that a statement has written its tile.
func (b *block) wrote(s kernel.Stmt) {
	if w, _ := effects(s); w != nil {
		b.forget(w)
		b.written[w] = true
	}
}

// forget drops the copies of a tile.
func (b *block) forget(t *kernel.Tile) {
	delete(b.turns, t)
	delete(b.fixed, t)
	maps.DeleteFunc(b.copies, func(c copyKey, _ copied) bool { return c.tile == t })
}

// positions is the number of positions that statements take: those that are
// emitted as one take one.
func positions(body []kernel.Stmt) (n int) {
	for i := 0; i < len(body); i++ {
		n++
		switch s := body[i].(type) {
		case *kernel.For:
			n += positions(s.Body) + 1
		case *kernel.When:
			n += positions(s.Body) + 1
		}
		i += together(body[i:]) - 1
	}
	return n
}

// within emits a body that runs again or not at all: what it makes does not
// count behind it, and what it writes has no copy in it before the write.
func (b *block) within(body []kernel.Stmt, emit func()) {
	statements(body, func(s kernel.Stmt) {
		if w, _ := effects(s); w != nil {
			b.forget(w)
		}
	})
	turns, copies, written, fixed := maps.Clone(b.turns), maps.Clone(b.copies), maps.Clone(b.written), maps.Clone(b.fixed)
	emit()
	b.turns, b.copies, b.written, b.fixed = turns, copies, written, fixed
}

func (b *block) plain(s kernel.Stmt, after []kernel.Stmt) {
	if l, ok := s.(*kernel.Load); ok && b.view(l, after) {
		b.note(firstLine(s) + " (a view)")
		return
	}
	if d, ok := s.(*kernel.Dot); ok {
		b.resultView(d, after)
	}
	if st, ok := s.(*kernel.Store); ok && b.places[st.Src].stored {
		b.note(firstLine(s) + " (done)")
		return
	}
	b.note(firstLine(s))
	switch s := s.(type) {
	case *kernel.Load:
		b.loadStmt(s)
	case *kernel.Store:
		b.storeStmt(s)
	case *kernel.Map:
		b.columnMap(s)
	case *kernel.Dot:
		b.dotStmt(s, nil)
	case *kernel.Reduce:
		b.reduceStmt(s)
	case *kernel.Transpose:
		b.transposeStmt(s)
	case *kernel.Slice:
		b.sliceStmt(s)
	case *kernel.Paste:
		b.pasteStmt(s)
	default:
		b.fail("unknown statement %T", s)
	}
}

// firstLine is a statement's text with its note, without what it encloses.
func firstLine(s kernel.Stmt) string {
	line, _, _ := strings.Cut(strings.TrimSpace(kernel.Text(s)), "\n")
	return line
}
