package amd64

import (
	"cmp"
	"slices"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/kernel"
)

// Scratch memory is given out while statements are emitted, and placed when all
// of them are: two pieces share memory if they are never alive together.

// maxScratch bounds the memory that a worker's scratch may take.
const maxScratch = 1 << 30

// span is a time: from the first to the last of the positions that statements
// of a part have in the order of their text. A loop and a condition take one
// position before their body and one behind it.
type span struct{ first, last int }

func (s span) meets(t span) bool { return s.first <= t.last && t.first <= s.last }

// piece is one tile or copy in scratch.
type piece struct {
	bytes int64
	alive span
	at    *constant.Int // the offset, known in the end
}

// life is what one list of statements does with a tile.
type life struct {
	span
	fresh bool // every run of the list writes it whole before it reads it
	maybe bool // so far, only within a loop or a condition of the list
}

// lifetimes gives the time in which each tile of a part is in use. A tile that
// a loop's body may read before it writes it keeps its value from turn to turn:
// it is in use throughout the loop.
func lifetimes(body []kernel.Stmt) map[*kernel.Tile]life {
	pos := 0
	var list func(body []kernel.Stmt) map[*kernel.Tile]life
	list = func(body []kernel.Stmt) map[*kernel.Tile]life {
		lives := map[*kernel.Tile]life{}
		mention := func(t *kernel.Tile, s span, fresh, maybe bool) {
			l, seen := lives[t]
			if !seen {
				lives[t] = life{s, fresh, maybe}
				return
			}
			l.fresh = l.fresh && !l.maybe
			l.maybe = false
			l.first, l.last = min(l.first, s.first), max(l.last, s.last)
			lives[t] = l
		}
		run := 0 // statements that share the position
		for i, s := range body {
			if run--; run <= 0 {
				pos++
				run = together(body[i:])
			}
			start := pos
			var inner []kernel.Stmt
			loop := false
			switch s := s.(type) {
			case *kernel.For:
				inner, loop = s.Body, true
			case *kernel.When:
				inner = s.Body
			default:
				w, reads := effects(s)
				for _, r := range reads {
					mention(r.tile, span{pos, pos}, false, false)
				}
				if w != nil {
					_, part := s.(*kernel.Paste)
					mention(w, span{pos, pos}, !part, false)
				}
				continue
			}
			within := list(inner)
			pos++
			for t, l := range within {
				if loop && !l.fresh {
					l.span = span{start, pos}
				}
				mention(t, l.span, l.fresh, true)
			}
		}
		return lives
	}
	return list(body)
}

// near gives out scratch memory for a time. Its place is aligned to a cache
// line, and 128 bytes behind it may be read. The address is computed where the
// part begins, so that it holds in every statement.
func (b *block) near(bytes int64, alive span) value.Value {
	at := constant.NewInt(i64, 1) // until settle knows better
	b.pieces = append(b.pieces, piece{(bytes + 128 + 63) / 64 * 64, alive, at})
	here := b.cur
	b.cur = b.entry
	p := b.at(b.scratch, at)
	b.cur = here
	return p
}

// settle places all pieces, large ones first, each at the lowest offset where
// it meets nothing alive at the same time, and gives the bytes used.
func (b *block) settle() int64 {
	order := make([]int, len(b.pieces))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(b.pieces[j].bytes, b.pieces[i].bytes) })
	offsets := make([]int64, len(b.pieces))
	var placed []int // by offset
	total := int64(0)
	for _, i := range order {
		p := b.pieces[i]
		at := int64(0)
		for _, j := range placed {
			if q := b.pieces[j]; p.alive.meets(q.alive) && at < offsets[j]+q.bytes && offsets[j] < at+p.bytes {
				at = offsets[j] + q.bytes
			}
		}
		offsets[i] = at
		k, _ := slices.BinarySearchFunc(placed, at, func(j int, at int64) int { return cmp.Compare(offsets[j], at) })
		placed = slices.Insert(placed, k, i)
		p.at.X.SetInt64(at)
		total = max(total, at+p.bytes)
	}
	if total > maxScratch {
		b.fail("tiles need %d bytes of scratch, more than %d", total, maxScratch)
		return 0
	}
	return total
}
