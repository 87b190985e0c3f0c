package amd64

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Up to 16 rows are one tile high. What they cost is laying out the right operand,
// which nothing else shares: a strip of a few tiles of 16 columns takes its sums
// through all of k, and while 32 k of it are laid out, those before them are
// multiplied, instruction by instruction in turn. A square must have left the
// processor's store buffer when a tile is loaded from it, so that two rooms are
// filled in turns, and the last step of a strip is multiplied during the first of the
// next. Tiles have as many rows as the left operand, so that nothing else is read or
// written; up to 8 rows cost the same.

// fewRows is the most rows that are computed so.
const fewRows = 16

// strip is how many tiles of 16 columns are computed at once: what is laid out
// at a time should be more than the store buffer holds, and stay in the nearest
// cache.
func (p pairing) strip() int { return [...]int{0, 4, 2, 2}[p.right] }

// fewRoom is the bytes that fewProduct needs: two rooms for 32 k of a strip.
func (p pairing) fewRoom() int64 { return 2 * int64(p.strip()*p.right) * square }

// fewProduct is the function that computes a product of up to 16 rows, for which
// the tiles are shaped:
//
//	few(left squares, bytes of such a square, right, bytes between its rows of k,
//	    bytes between its panels, k, dst, bytes between its rows, vectors of
//	    columns, add to dst, bytes from what is read of right to what is fetched,
//	    the same for the last strip, room)
//
// room has pairing.fewRoom bytes.
func (m *module) fewProduct(key squareKey) *ir.Func {
	if f := m.squareFews[key]; f != nil {
		return f
	}
	a, size, b := ir.NewParam("a", bytePtr), ir.NewParam("a.square", i64), ir.NewParam("b", bytePtr)
	bStep, bPanel, depth := ir.NewParam("b.step", i64), ir.NewParam("b.panel", i64), ir.NewParam("k", i64)
	dst, dstRow, vecs, acc := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64), ir.NewParam("vecs", i64), ir.NewParam("acc", bit)
	fetch, lastFetch, room := ir.NewParam("fetch", i64), ir.NewParam("fetch.last", i64), ir.NewParam("room", bytePtr)
	name := fmt.Sprintf("memc.few.%dx%d.%s.%d%s", key.left, key.right, key.elem, key.perPanel*lanes, key.next)
	if key.ready {
		name = fmt.Sprintf("memc.few.%dx%d", key.left, key.right)
	}
	f := m.newFunc(name, types.Void, a, size, b, bStep, bPanel, depth, dst, dstRow, vecs, acc, fetch, lastFetch, room)
	f.private()
	m.squareFews[key] = f.f
	p := few{product: product{fn: f, key: productKey{elem: key.elem, perPanel: key.perPanel}, b: b, bStep: bStep, bPanel: bPanel, depth: depth, dst: dst, dstRow: dstRow, vecs: vecs, acc: acc, fetch: fetch},
		parts: key.pairing, a: a, size: size, next: key.next, lastFetch: lastFetch}
	f.nothing(depth, acc, dst, dstRow, f.bin(lshr, size, c64(6)), vecs)
	var done value.Value = c64(0)
	for wide := key.strip(); wide > 0; wide /= 2 {
		end := f.add(done, f.bin(and, f.sub(vecs, done), c64(-int64(wide))))
		p.wide = wide
		if key.ready {
			f.count(done, end, int64(wide), p.readyStrip)
		} else {
			p.strips(done, end, room)
		}
		done = end
	}
	f.ret()
	return f.f
}

// few emits the strips of a product of few rows.
type few struct {
	product
	parts     pairing
	a, size   value.Value
	lastFetch value.Value
	wide      int    // tiles of a strip
	next      string // as in squareKey
}

// rightReg is the register that has 16 rows.
var rightReg = constant.NewInt(i8, 7)

// The others: sums first, then the left operand's parts.
func (p *few) sumReg(w int) value.Value  { return constant.NewInt(i8, int64(w)) }
func (p *few) leftReg(i int) value.Value { return p.sumReg(p.parts.strip() + i) }

// load puts a square into a register.
func (p *few) load(reg, at, row value.Value) {
	p.intrinsic("llvm.x86.tileloadd64", types.Void, reg, at, row)
}

// lefts loads the left operand's parts at k.
func (p *few) lefts(k value.Value) {
	at := p.fn.at(p.a, p.mul(p.mul(p.bin(lshr, k, c64(5)), c64(int64(p.parts.left))), p.size))
	for i := range p.parts.left {
		p.load(p.leftReg(i), p.fn.at(at, p.mul(p.size, c64(int64(i)))), c64(64))
	}
}

// products gives the instructions that add the products with 32 k of a strip:
// tile w, whose parts lie so far apart, is at where(w).
func (p *few) products(where func(w int) value.Value, apart int64) (do []func()) {
	for w := range p.wide {
		have := -1
		for _, ij := range p.parts.pairs() {
			if i := ij[1]; i != have {
				have = i
				do = append(do, func() { p.load(rightReg, p.fn.at(where(w), c64(int64(i)*apart)), c64(64)) })
			}
			do = append(do, func() {
				p.intrinsic("llvm.x86.tdpbf16ps", types.Void, p.sumReg(w), p.leftReg(ij[0]), rightReg)
			})
		}
	}
	return do
}

// readyStrip computes a strip of an operand in squares, two tiles of which lie
// side by side.
func (p *few) readyStrip(v value.Value) {
	var from []value.Value
	for w := range p.wide {
		at := p.mul(p.bin(lshr, p.add(v, c64(int64(w))), c64(1)), p.mul(p.groups(p.depth), c64(int64(p.parts.right)*2*square)))
		from = append(from, p.fn.at(p.fn.at(p.b, at), c64(int64(w%2)*square)))
	}
	p.begin(v)
	p.count(c64(0), p.depth, deep, func(k value.Value) {
		p.lefts(k)
		for _, do := range p.products(func(w int) value.Value { return p.fn.at(from[w], p.mul(k, c64(int64(p.parts.right)*2*square/deep))) }, 2*square) {
			do()
		}
	})
	p.finish(v)
}

// strips computes the strips of vectors [first, end).
func (p *few) strips(first, end, room value.Value) {
	steps := p.mul(p.bin(sdiv, p.sub(end, first), c64(int64(p.wide))), p.groups(p.depth))
	half := int64(p.wide*p.parts.right) * square
	multiply := func(room value.Value) []func() {
		return p.products(func(w int) value.Value { return p.fn.at(room, c64(int64(w*p.parts.right)*square)) }, square)
	}
	// A step lays out 32 k and multiplies what the step before has laid out; the
	// very first multiplies nothing of use.
	state := []value.Value{first, c64(0), c64(0), room, p.fn.at(room, c64(half))}
	state = p.loop(c64(0), steps, 1, state, func(i value.Value, state []value.Value) []value.Value {
		v, k, was, to, from := state[0], state[1], state[2], state[3], state[4]
		p.lefts(was)
		after := p.add(k, c64(deep))
		whole := p.icmp(predicate[ints.Le], after, p.depth)
		p.when(whole, func() {
			lay, do := p.lay(v, k, to), multiply(from)
			for j, pair := range lay {
				pair(2)
				for _, d := range do[j*len(do)/len(lay) : (j+1)*len(do)/len(lay)] {
					d()
				}
			}
		})
		p.when(p.bin(xor, whole, constant.True), func() {
			for _, d := range multiply(from) {
				d()
			}
			p.lastRows(p.sub(p.depth, k), p.layOne(v, k, to))
		})
		p.when(p.icmp(predicate[ints.Eq], k, c64(0)), func() {
			p.when(p.icmp(predicate[ints.Lt], c64(0), i), func() { p.finish(p.sub(v, c64(int64(p.wide)))) })
			p.begin(v)
		})
		more := p.icmp(predicate[ints.Lt], after, p.depth)
		return []value.Value{p.choose(more, v, p.add(v, c64(int64(p.wide)))), p.choose(more, after, c64(0)), k, from, to}
	})
	p.when(p.icmp(predicate[ints.Lt], c64(0), steps), func() {
		p.lefts(state[2])
		for _, d := range multiply(state[4]) {
			d()
		}
		p.finish(p.sub(end, c64(int64(p.wide))))
	})
}

// laid gives how a strip's tiles are laid out: from where, those together that
// share lines, and with what.
func (p *few) laid(v value.Value) (from []value.Value, each int, l laying) {
	size := int64(p.key.elem.Size())
	for w := range p.wide {
		if w%2 == 1 && p.key.perPanel%2 == 0 { // beside the one before
			from = append(from, p.fn.at(from[w-1], c64(lanes*size)))
			continue
		}
		from = append(from, p.column(p.add(v, c64(int64(w)))))
	}
	each = 1
	if p.twins() {
		each = 2
	}
	return from, each, laying{p.fn, p.key.elem, p.parts.right, square, p.bStep, p.fetch}
}

// layOne gives what lays out a pair of rows of k, in all tiles.
func (p *few) layOne(v, k, to value.Value) func(i value.Value, there int) {
	from, each, l := p.laid(v)
	if p.next != "" {
		l.fetch = nil
	}
	return func(i value.Value, there int) {
		for w := 0; w < p.wide; w += each {
			p.pair(l, from[w], p.mul(p.add(k, i), p.bStep), p.fn.at(to, c64(int64(w*p.parts.right)*square)), p.mul(i, c64(64)), there)
		}
	}
}

func (p *few) pair(l laying, from, row, to, at value.Value, there int) {
	if p.twins() {
		l.two(p.fn.at(from, row), p.fn.at(to, at), there)
		return
	}
	l.one(p.fn.at(from, row), p.fn.at(to, at), there)
}

// twins says that tiles are laid out in pairs, which share lines.
func (p *few) twins() bool {
	return p.key.elem == kernel.BF16 && p.key.perPanel%2 == 0 && p.wide > 1
}

// lay gives, pair by pair, what lays out 32 k, and fetches.
func (p *few) lay(v, k, to value.Value) (do []func(there int)) {
	from, each, l := p.laid(v)
	at := p.mul(k, p.bStep)
	for w := range from {
		from[w] = p.fn.at(from[w], at)
	}
	lines := p.lines(v, k)
	if lines != nil {
		l.fetch = nil
	}
	n := 0
	for w := 0; w < p.wide; w += each {
		var base value.Value
		for i := range int64(lanes) {
			do = append(do, func(there int) {
				if i%4 == 0 {
					base = p.fn.at(from[w], p.mul(p.bStep, c64(i)))
				}
				if lines != nil {
					lines(n)
					lines(n + 1)
					n += 2
				}
				p.pair(l, base, p.mul(p.bStep, c64(i%4)), p.fn.at(to, c64(int64(w*p.parts.right)*square)), c64(i*64), there)
			})
		}
	}
	return do
}

// lines fetches line n of those that a step at v, k has to fetch for the next
// product, where that is a stretch of memory for each panel: four runs side by
// side, which bring more than one or two.
func (p *few) lines(v, k value.Value) func(n int) {
	if p.next == "" {
		return nil
	}
	size := int64(p.key.elem.Size())
	step := p.bin(lshr, k, c64(5))
	// A step has as many lines as it reads.
	lines := int64(p.wide) * deep * lanes * size / 64
	const runs = 4
	turn := lines / runs * 64
	var at, near, far value.Value
	switch {
	case p.next == nextRows:
		all := p.mul(p.depth, p.bStep)
		at = p.fn.at(p.b, p.mul(p.add(p.mul(p.bin(sdiv, v, c64(int64(p.wide))), p.groups(p.depth)), step), c64(turn)))
		near, far = p.bin(lshr, all, c64(2)), p.bin(lshr, all, c64(1))
	default:
		all := p.mul(p.depth, c64(int64(p.wide)*lanes*size))
		at = p.fn.at(p.column(v), p.mul(step, c64(turn)))
		near, far = p.bin(lshr, all, c64(2)), p.bin(lshr, all, c64(1))
		switch panels := int64(p.wide) / p.key.perPanel; {
		case panels == 2:
			far = p.bPanel
		case panels > 2:
			near, far = p.bPanel, p.mul(p.bPanel, c64(2))
		}
	}
	more := p.icmp(predicate[ints.Lt], p.add(v, c64(int64(p.wide))), p.vecs)
	at = p.fn.at(at, p.choose(more, p.fetch, p.lastFetch))
	return func(n int) {
		if n >= int(lines) {
			return
		}
		to := at
		if n%2 == 1 {
			to = p.fn.at(to, near)
		}
		if n/2%2 == 1 {
			to = p.fn.at(to, far)
		}
		p.prefetchFar(to, c64(int64(n/runs)*64))
	}
}

// begin gives a strip's sums their first values.
func (p *few) begin(v value.Value) {
	p.when(p.acc, func() { p.move("llvm.x86.tileloadd64", v) })
	p.when(p.bin(xor, p.acc, constant.True), func() {
		for w := range p.wide {
			p.intrinsic("llvm.x86.tilezero", types.Void, p.sumReg(w))
		}
	})
}

// move loads or stores a strip's sums.
func (p *few) move(how string, v value.Value) {
	out := p.fn.at(p.dst, p.mul(v, c64(lanes*4)))
	for w := range int64(p.wide) {
		p.intrinsic(how, types.Void, p.sumReg(int(w)), p.fn.at(out, c64(w*lanes*4)), p.dstRow)
	}
}

// finish stores a strip's sums.
func (p *few) finish(v value.Value) { p.move("llvm.x86.tilestored64", v) }
