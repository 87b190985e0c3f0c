package irtest

import (
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// weave puts literal rows between the tokens, works on the rows that make, and
// takes the tokens' rows back.
func (m *maker) weave(x, tokens *ir.Node, size int) *ir.Node {
	b, p := m.b, m.pattern()
	r := &ir.Clock{Name: "r", Kind: ir.Woven, Of: m.clock, Size: len(p.From), Pattern: p}
	rows := sized("rows", r.Size)
	every, whole := b.I(int64(p.Every)), b.I(int64(r.Size))
	table := func(d ir.Dim, ints []int64) *ir.Node {
		return b.Must("table", ir.Attr{Elem: elem.I64, Dims: []ir.Dim{d}, Ints: ints})
	}

	// A literal row takes the token before it, which comes in the same call.
	i := b.Must("index", ir.Attr{Clock: r})
	at := m.op("mod", i, whole)
	from, text := make([]int64, r.Size), make([]int64, r.Size)
	for k, f := range p.From {
		from[k], text[k] = f, 1
		if f < 0 {
			from[k], text[k] = from[k-1], 0
		}
	}
	src := b.Add(b.Mul(m.op("div", i, whole), every), m.op("gather", table(rows, from), at))
	isText := m.op("eq", m.op("gather", table(rows, text), at), b.I(1))
	d := x.Type.Dims[1]
	literal := m.op("gather", m.weight(1, ir.Dim{Name: "v", Size: Vocabulary}, d), m.op("take", tokens, src))

	w := &maker{src: m.src, b: b, clock: r, up: m, pool: []*ir.Node{b.Select(isText, m.op("take", x, src), literal)}}
	for w.made < size {
		b.At[0].Line++
		w.grow(topSteps)
	}
	y := w.gather(m.dim())
	t := b.Must("index", ir.Attr{Clock: m.clock})
	row := m.op("gather", table(sized("row", p.Every), p.Row), m.op("mod", t, every))
	return m.op("take", y, b.Add(b.Mul(m.op("div", t, every), whole), row))
}

// pattern is a beacon after every few tokens, and rows at a chunk's end.
func (m *maker) pattern() *ir.Pattern {
	p := &ir.Pattern{Every: 2 + m.pick(5), Kinds: []string{"beacon", "end"}, Rows: []int64{0}}
	group, ends := m.odd(p.Every), m.pick(3)
	put := func(from, kind int64) {
		p.From, p.Kind = append(p.From, from), append(p.Kind, kind)
	}
	for t := range p.Every {
		p.Row = append(p.Row, int64(len(p.From)))
		put(int64(t), 0)
		if t+1 == p.Every || (t+1)%group == 0 {
			put(-1, 1)
		}
		for k := range ends {
			if t+1 == p.Every {
				put(int64(-2-k), 2)
			}
		}
		p.Rows = append(p.Rows, int64(len(p.From)))
	}
	return p
}
