package ir

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
)

// attributes is a graph with every attribute and kind of clock that the text
// form must carry.
func attributes() *Module {
	b := NewBuilder()
	woven := &Clock{Name: "r", Kind: Woven, Of: tokens, Size: 5, Pattern: &Pattern{Every: 3, Kinds: []string{"beacon", "end row"},
		From: []int64{0, 1, -1, 2, -2}, Kind: []int64{0, 0, 1, 0, 2}, Rows: []int64{0, 1, 3, 5}, Row: []int64{0, 1, 3}}}
	other := &Clock{Name: "r", Kind: Chunk, Of: woven, Size: 5}
	b.At = []Pos{{"a.spec", 1, 2}, {"dir/with space.spec", 3, 4}}
	x := b.Must("input", Attr{Name: "x", Elem: elem.I32, Dims: []Dim{RowDim(tokens)}})
	b.At = nil
	w := b.Must("weight", Attr{Name: "w\n\"", Elem: elem.BF16, Dims: []Dim{dim("v", 7), dim("odd name", 4)}, Init: Init{"normal", 0.02}})
	z := b.Must("weight", Attr{Name: "z", Elem: elem.F16, Dims: []Dim{dim("odd name", 4)}, Init: Init{Kind: "zeros"}})
	e := b.Add(b.Must("gather", Attr{}, w, x), z)
	e = b.Must("slice", Attr{Dim: "odd name", Start: 1, Size: 2}, e)
	e = b.Mul(e, b.Must("table", Attr{Elem: elem.F32, Dims: []Dim{dim("odd name", 2)}, Floats: []float64{math.Inf(-1), 1.0 / 3}}))
	pos := b.Must("turns", Attr{Dim: "f", Ints: []int64{1 << 62, -5}}, b.Must("index", Attr{Clock: tokens}))
	at := b.Must("table", Attr{Elem: elem.I64, Dims: []Dim{dim("r", 5)}, Ints: []int64{0, 1, 1, 2, 2}})
	idx := b.Must("gather", Attr{}, at, b.Must("mod", Attr{}, b.Must("index", Attr{Clock: woven}), b.I(5)))
	idx = b.Add(idx, b.Mul(b.I(3), b.Must("div", Attr{}, b.Must("index", Attr{Clock: woven}), b.I(5))))
	rows := b.Must("take", Attr{}, e, idx)
	p := b.Must("param", Attr{Name: "p", Elem: elem.F32, Dims: []Dim{RowDim(other), dim("odd name", 2)}})
	pick := b.Must("rows", Attr{Dim: "picked", Ints: []int64{4, 0}}, p)
	s := b.Must("state", Attr{Name: "s", Elem: elem.F32, Dims: []Dim{dim("picked", 2), dim("odd name", 2)}})
	scan, err := b.Scan("scan", &Region{Clock: other, Params: []*Node{p}, States: []*Node{s}, Next: []*Node{pick},
		Init: []*Node{b.Must("expand", Attr{Dims: s.Type.Dims}, b.F(math.NaN()))}, Rows: []*Node{b.Add(p, b.Sum(s, "picked"))}}, rows)
	if err != nil {
		panic(err)
	}
	g := &Graph{Name: "forward", Doc: "all\nof it", Base: tokens, Clocks: []*Clock{tokens, woven}, Inputs: []*Node{x}, B: b,
		Outputs: []Output{{"y", b.Result(scan, 0)}, {"the turns", pos}}, Groups: []Group{{Kind: "map", Nodes: []*Node{e}}, {Kind: "hybrid", Nodes: []*Node{z}, From: 3, Why: "with \"3\" workers"}}}
	return &Module{Spec: "a.spec", Doc: "d", Params: []Param{{"n", "list of int", "[1]", "doc"}, {"m", "int", "2", ""}}, Entries: []*Graph{g}}
}

func modules() []*Module {
	next := streamed(NewBuilder(), true)
	next.Name, next.Outputs = "next", next.Outputs[1:]
	return []*Module{attributes(),
		{Spec: "whole", Entries: []*Graph{streamed(NewBuilder(), false)}},
		{Spec: "kept", Entries: []*Graph{streamed(NewBuilder(), true), next}}}
}

func TestTextRoundTrip(t *testing.T) {
	for _, m := range modules() {
		src := m.String()
		again, err := Parse(src)
		if err != nil {
			t.Fatalf("%s: %v\n%s", m.Spec, err, src)
		}
		if got := again.String(); got != src {
			t.Errorf("%s prints as\n%s\nthen as\n%s", m.Spec, src, got)
		}
		if m.String() != src {
			t.Errorf("%s: printing twice gives two texts", m.Spec)
		}
	}
}

func TestParsedGraphComputesTheSame(t *testing.T) {
	for _, kept := range []bool{false, true} {
		g := streamed(NewBuilder(), kept)
		m, err := Parse(g.String())
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]*Tensor{"x": random(rand.New(rand.NewPCG(1, 1)), 21, 2)}
		want, err := Run(g, in, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Run(m.Entries[0], in, nil)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "the parsed graph", got["y"], want["y"])
	}
}

func TestParseErrors(t *testing.T) {
	const head = "clock t base\nentry f base t {\n  %0 = input {name = \"x\"} : f32[t, a:2]\n"
	for _, c := range []struct{ src, want string }{
		{"what", `1:1: expected spec, doc, param, clock or entry, found "what"`},
		{"clock t base clock t base", "1:20: the clock t is declared twice"},
		{"clock c chunk of t size 4", "1:18: there is no clock t above"},
		{"clock t base\nclock c chunk of t size 0", "2:25: a size of 0; it must be at least 1 and at most 2^40"},
		{head + "%1 = neg %2 : f32[t]", `4:10: expected a value defined above, found "%2"`},
		{head + "%1 = neg %0 : f32[t]", "4:15: the type is f32[t, a:2], not f32[t]"},
		{head + "%1 = nag %0 : f32[t]", `4:6: there is no op "nag"`},
		{head + "%1 = neg %0, %0 : f32[t]", "4:1: neg: neg takes 1 operands (x), not 2"},
		{head + "%1 = neg %0 {start = 1} : f32[t]", "4:14: neg has no attribute start"},
		{head + "%0 = neg %0 : f32[t]", "4:1: %0 cannot name a new value"},
		{head + "%1 = const {value = x} : f32[]", `4:21: expected a number, found "x"`},
		{head + "%1 = index : i64[t]", "4:1: index needs a clock"},
		{head + "%1 = weight {name = \"w\", init = zeros} : f32[a:1099511627776, b:1099511627776]", "4:63: more than 2^50 elements"},
		{head + "%1 = weight {name = \"w\", init = zeros} : f32[a:1, a:2]", "4:51: two dimensions called a"},
		{head + "%1 = attend %0, %0, %0 {where = j <= ( i} : f32[t]", "4:41: "},
		{head + "doc \"x", "4:5: a string that does not end"},
		{head, `4:1: expected a value, doc, inputs, output, group or }, found the end`},
		{head + strings.Repeat("%1 = scan %0 over t {\n", 20), "20:21: scans nested more than 16 deep"},
	} {
		_, err := Parse(c.src)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %s", c.src, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range modules() {
		f.Add(m.String())
	}
	f.Fuzz(func(t *testing.T, src string) {
		m, err := Parse(src)
		if err != nil {
			return
		}
		text := m.String()
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if got := again.String(); got != text {
			t.Fatalf("prints as\n%s\nthen as\n%s", text, got)
		}
		m.Verify()
	})
}
