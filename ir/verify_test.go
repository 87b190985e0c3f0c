package ir

import (
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

func TestVerifyAcceptsGoodGraphs(t *testing.T) {
	for _, m := range modules() {
		if m.Spec == "a.spec" {
			continue // its write reads rows of a chunk that its leftover parameters do not have
		}
		if errs := m.Verify(); len(errs) > 0 {
			t.Errorf("%s: %s", m.Spec, Explain(errs))
		}
	}
}

// broken is the text of an entry with x over t, a window attention and a scan,
// whose parts a test replaces.
func broken(t *testing.T, replace ...string) []error {
	t.Helper()
	src := `clock t base
clock c chunk of t size 4
entry f base t clocks t {
  %0 = input {name = "x"} : f32[t, h:2, a:2]  @f.spec:1:1
  %1 = weight {name = "w", init = zeros} : f32[a:2]  @f.spec:2:1
  %2 = attend %0, %0, %0 {name = "att", where = j <= i && i - j < 8, value = 1} : f32[t, h:2, a:2]  @f.spec:3:1
  %20 = const {value = 0} : f32[]
  %3 = expand %20 : f32[n:3, h:2, a:2]  @f.spec:4:1
  %4 = scan %0 {name = "scan"} over c  @f.spec:5:1 {
    %5 = param {name = "x"} : f32[t:c, h:2, a:2]  @f.spec:6:1
    %6 = state {name = "s"} : f32[n:(ns)<=3, h:2, a:2]  @f.spec:7:1
    %7 = rows %5 {dim = n, ints = [3]} : f32[n:1, h:2, a:2]  @f.spec:8:1
    %8 = concat %6, %7 {dim = n} : f32[n:(ns + 1)<=4, h:2, a:2]  @f.spec:9:1
    %9 = tail %8 {size = 3} : f32[n:(min(ns + 1, 3))<=3, h:2, a:2]  @f.spec:10:1
    %10 = sum %6 {over = [n]} : f32[h:2, a:2]  @f.spec:11:1
    %11 = add %5, %10 : f32[t:c, h:2, a:2]  @f.spec:12:1
    %12 = sum %9 {over = [n, h, a]} : f32[]  @f.spec:13:1
    length ns = 0 <= 3 next (min(ns + 1, 3))
    params %5
    states %6 = %3
    rows %11
    next %9
    probe p %12
  }
  %13 = result %4 {start = 0} : f32[t, h:2, a:2]  @f.spec:14:1
  %14 = add %2, %13 : f32[t, h:2, a:2]  @f.spec:15:1
  %15 = mul %14, %1 : f32[t, h:2, a:2]  @f.spec:16:1
  inputs %0
  output y %15
}
`
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(src, replace[i]) {
			t.Fatalf("the text has no %q", replace[i])
		}
		src = strings.Replace(src, replace[i], replace[i+1], 1)
	}
	m, err := Parse(src)
	if err != nil {
		t.Fatalf("%v in\n%s", err, src)
	}
	return m.Verify()
}

// expect demands one fault that says want, and no other.
func expect(t *testing.T, what string, errs []error, want string) {
	t.Helper()
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
		t.Errorf("%s: faults\n%s\nwant one: %s", what, Explain(errs), want)
	}
}

func TestVerifyFaults(t *testing.T) {
	if errs := broken(t); len(errs) > 0 {
		t.Fatalf("the whole text has faults: %s", Explain(errs))
	}
	for _, c := range []struct {
		what    string
		want    string
		replace []string
	}{
		{"places: an input outside the list", "f.spec:1:1: input \"x\": the input x is not in the graph's list", []string{"  inputs %0\n", ""}},
		{"places: a parameter of no scan", "f.spec:6:1: param \"y\": the parameter y stands outside its scan", []string{`    %6 = state`, `    %30 = param {name = "y"} : f32[t:c, h:2, a:2]  @f.spec:6:1
    %6 = state`, "add %5, %10", "add %30, %10"}},
		{"places: rows from outside", "f.spec:12:1: take: a scan's body reads rows of t from outside", []string{"%11 = add %5, %10", `%30 = index {clock = c} : i64[t:c]
    %11 = take %0, %30`}},
		{"places: a chunk's rows outside", "f.spec:17:1: index: rows of the chunk c stand outside its scan", []string{"%15 = mul %14, %1 : f32[t, h:2, a:2]", `%30 = index {clock = c} : i64[t:c]  @f.spec:17:1
  %15 = gather %1, %30 : f32[t:c]`}},
		{"rows: a sum over t", "f.spec:16:1: sum: mixes rows of t: cannot stream", []string{"%15 = mul %14, %1 : f32[t, h:2, a:2]", "%15 = sum %14 {over = [t, h]} : f32[a:2]"}},
		{"rows: a chunk's sum in its own rows", "f.spec:11:1: sum: mixes rows of t before the chunk is complete: cannot stream", []string{"%10 = sum %6 {over = [n]}", "%10 = sum %5 {over = [t]}"}},
		{"rows: a picked row in its own rows", "f.spec:8:1: rows: mixes rows of t before the chunk is complete: cannot stream", []string{"%10 = sum %6 {over = [n]}", "%10 = sum %7 {over = [n]}"}},
		{"rows: the call's last", "f.spec:16:1: mul: mixes rows with the call's last: cannot stream", []string{"%15 = mul %14, %1", "%30 = last %14 : f32[h:2, a:2]\n  %15 = mul %14, %30"}},
		{"masks: a later row", `f.spec:3:1: attend "att": the mask lets row 0 see the later row 1`, []string{"j <= i && i - j < 8", "i - j < 8"}},
		{"masks: a later sink", "the mask lets row 0 see the later row 1", []string{"j <= i && i - j < 8", "j <= i && i - j < 8 || j < 2"}},
		{"masks: a later row for some integers", "the mask lets row 0 see the later row 1 where these have certain integers", []string{"%2 = attend %0, %0, %0 {", "%30 = index {clock = t} : i64[t]\n  %2 = attend %0, %0, %0, %30 {", "j <= i && i - j < 8", "j <= i.0 && i - j < 8"}},
		{"histories: one forgets more", `the histories under its keys keep different rows: k (ring 8 pin 0) and m (ring 9 pin 0)`, []string{"%2 = attend %0, %0, %0 {", `%30 = index {clock = t} : i64[t]
  %31 = keep %0 {name = "k", keep = ring 8 pin 0} : f32[t:past t, h:2, a:2]
  %32 = keep %30 {name = "m", keep = ring 9 pin 0} : i64[t:past t]
  %2 = attend %0, %31, %31, %32 {`, "j <= i && i - j < 8", "j <= i && i - j < 8 && j.0 > 2"}},
		{"masks: unclear", "does not show that no row sees a later one", []string{"j <= i && i - j < 8", "i - j < 8 && j * j <= i * i"}},
		{"masks: a variable divisor", "the mask divides by", []string{"j <= i && i - j < 8", "j <= i && i div j == 1"}},
		{"states: rows that lengths count otherwise", "the lengths count otherwise: 3 rows for 2 at map[ns:2]", []string{"next (min(ns + 1, 3))", "next (min(ns + 1, 2))"}},
		{"states: a first value of another shape", "cannot begin", []string{"f32[n:3, h:2, a:2]  @f.spec:4:1", "f32[n:3, h:3, a:2]"}},
		{"lengths: beyond the most", "the length ns becomes ns + 1, which may be from 1 to 4, not 0 to 3", []string{"next (min(ns + 1, 3))", "next (ns + 1)", "%9 = tail %8 {size = 3} : f32[n:(min(ns + 1, 3))<=3", "%9 = tail %8 {size = 3} : f32[n:(min(ns + 1, 3))<=3", "    next %9", "    next -"}},
		{"lengths: a bad start", "the length ns starts as 4, not in 0 to 3", []string{"length ns = 0", "length ns = 4"}},
		{"lengths: a dimension of none", "counts nx, which is no length here", []string{"%15 = mul %14, %1 : f32[t, h:2, a:2]", `%30 = iota : i64[n:(nx)<=3]
  %31 = sum %32 {over = [n]} : f32[]
  %15 = mul %14, %31 : f32[t, h:2, a:2]`, "%31 = sum", "%32 = cast %30 : f32[n:(nx)<=3]\n  %31 = sum"}},
		{"names: two weights", `the weight "w" is f32[a:2] here and f32[h:2] elsewhere`, []string{"%15 = mul %14, %1", `%30 = weight {name = "w", init = zeros} : f32[h:2]
  %31 = mul %14, %30 : f32[t, h:2, a:2]
  %15 = mul %31, %1`}},
		{"names: two starts", `the weight "w" starts as zeros here and as normal(1) elsewhere`, []string{"%15 = mul %14, %1", `%30 = weight {name = "w", init = normal(1)} : f32[a:2]
  %31 = mul %14, %30 : f32[t, h:2, a:2]
  %15 = mul %31, %1`}},
		{"names: two attends", `attend "att": two are called "att"`, []string{"add %2, %13", `add %30, %13`, "  %14 =", `  %30 = attend %2, %0, %0 {name = "att", where = j <= i, value = 1} : f32[t, h:2, a:2]
  %14 =`}},
		{"ports: two outputs", "two outputs are called y", []string{"output y %15", "output y %15\n  output y %14"}},
		{"ports: a probe with dimensions", "the probe p is no scalar: f32[a:2]", []string{"{over = [n, h, a]} : f32[]", "{over = [n, h]} : f32[a:2]"}},
		{"groups: a node twice", "it stands in the groups 0 and 1", []string{"output y %15", "output y %15\n  group map %2, %14\n  group map %14"}},
		{"groups: before an operand", "it stands in group 0 before its operand attend", []string{"output y %15", "output y %15\n  group map %14, %2"}},
	} {
		errs := broken(t, c.replace...)
		if c.what == "names: two weights" || c.what == "names: two starts" {
			errs = errs[:min(1, len(errs))]
		}
		expect(t, c.what, errs, c.want)
	}
}

// graphOf is the graph of one output.
func graphOf(n *Node) *Graph {
	return &Graph{Name: "g", Base: tokens, Clocks: []*Clock{tokens}, Outputs: []Output{{"y", n}}}
}

// TestVerifyBrokenNodes has faults that no text can hold: a pass made them.
func TestVerifyBrokenNodes(t *testing.T) {
	b := NewBuilder()
	x := b.Must("table", Attr{Elem: elem.F32, Dims: []Dim{dim("a", 2)}, Floats: []float64{1, 2}})
	neg := *b.Neg(x)
	neg.Type.Elem = elem.BF16
	expect(t, "types: a wrong one", graphOf(&neg).Verify(), "its type is f32[a:2], not bf16[a:2]")
	neg = *b.Neg(x)
	neg.Attr.Size = 3
	expect(t, "types: an unknown attribute", graphOf(&neg).Verify(), "it has the attribute size")

	c := &Clock{Name: "c"}
	rows := *b.Must("index", Attr{Clock: c})
	expect(t, "clocks: one that is not listed", graphOf(&rows).Verify(), "the clock c is not in the graph's list")
	bad := &Clock{Name: "r", Kind: Woven, Of: tokens, Size: 2, Pattern: &Pattern{Every: 1, From: []int64{0, 0}, Kind: []int64{0, 0}, Rows: []int64{0, 1}, Row: []int64{0}}}
	g := graphOf(b.Must("index", Attr{Clock: bad}))
	g.Clocks = append(g.Clocks, bad)
	expect(t, "clocks: a pattern", g.Verify(), "a pattern's counts")
	g = graphOf(x)
	g.Clocks = []*Clock{{Name: "r", Kind: Chunk, Of: tokens, Size: 2}, tokens}
	expect(t, "clocks: before its parent", g.Verify(), "the clock r stands before its parent t")

	late := *x
	late.Type.Dims = []Dim{dim("a", 2), {Name: "t", Clock: tokens}}
	late.Attr.Dims = late.Type.Dims
	late.Op = &Op{Name: "odd", Attrs: x.Op.Attrs, Type: func(n *Node) (Type, error) { return n.Type, nil }}
	expect(t, "dimensions: rows not first", graphOf(&late).Verify(), "the rows t are not the first dimension")
	late.Type.Dims = []Dim{dim("a", 2), dim("a", 2)}
	expect(t, "dimensions: one name", graphOf(&late).Verify(), "two dimensions called a")

	in := input(b, "x", RowDim(tokens), dim("h", 1), dim("d", 2))
	for _, c := range []struct {
		where string
		k     Keep
		want  string
	}{
		{"j <= i && i - j < 9", Keep{Ring: 8}, ""},
		{"j <= i && i - j < 9", Keep{Ring: 7}, "row 8 sees rows that the history k (ring 7 pin 0) has forgotten"},
		{"j <= i && (i - j < 3 || j < 2)", Keep{Ring: 2, Pin: 2}, ""},
		{"j <= i && (i - j < 3 || j < 2)", Keep{Ring: 2, Pin: 1}, "row 4 sees rows"},
		{"j <= i && i div 4 == j div 4", Keep{Ring: 4, Chunk: true}, ""},
		{"j <= i && i div 4 == j div 4", Keep{Ring: 3, Chunk: true}, "row 3 sees rows"},
		{"j <= i", Keep{All: true}, ""},
		{"j <= i", Keep{Ring: 160}, "row 161 sees rows"},
	} {
		k := b.Must("keep", Attr{Name: "k", Keep: c.k}, in)
		a := b.Must("attend", Attr{Name: "a", Where: mustParse(c.where), Value: 1}, in, k, k)
		g := graphOf(a)
		g.Inputs = []*Node{in}
		if c.want == "" {
			if errs := g.Verify(); len(errs) > 0 {
				t.Errorf("%s with %s: %s", c.where, c.k, Explain(errs))
			}
		} else {
			expect(t, "histories: "+c.where, g.Verify(), c.want)
		}
	}
}

func TestVerifyWriteApart(t *testing.T) {
	fault := func(what, want string, change func(r *Region, b *Builder)) {
		b := NewBuilder()
		g := streamed(b, true)
		everyNode(g, func(n *Node) {
			if n.Body != nil {
				change(n.Body, b)
			}
		})
		expect(t, what, g.Verify(), want)
	}
	fault("writes: rows that are not kept", "reads rows of t that are not kept", func(r *Region, b *Builder) {
		r.Write.Probes[0].Value = b.Sum(b.Must("table", Attr{Elem: elem.F32, Dims: []Dim{dim("q", 1)}, Floats: []float64{1}}), "q")
		r.Write.Next[0] = b.Sum(b.Must("expand", Attr{Dims: []Dim{RowDim(r.Clock), dim("a", 2)}}, r.States[0]), "t")
	})
	fault("writes: no history", "the scan keeps no rows called x", func(r *Region, b *Builder) { r.Kept = nil })
	fault("writes: another shape", "the rows kept as z are", func(r *Region, b *Builder) {
		k := b.Must("kept", Attr{Name: "z", Elem: elem.F32, Dims: []Dim{dim("rows", 4), dim("a", 2)}})
		r.Write.Next[0] = b.Sum(k, "rows")
	})
}

func TestModuleVerify(t *testing.T) {
	b := NewBuilder()
	w := func(dims ...Dim) *Graph {
		return graphOf(b.Must("weight", Attr{Name: "w", Elem: elem.F32, Dims: dims}))
	}
	f, h := w(dim("a", 2)), w(dim("b", 2))
	f.Name = "f"
	expect(t, "names: across entries", (&Module{Entries: []*Graph{f, h}}).Verify(), `weight "w": "w" is f32[b:2] here and f32[a:2] in another entry`)
	h = w(dim("a", 2))
	h.Name = "f"
	expect(t, "names: two entries", (&Module{Entries: []*Graph{f, h}}).Verify(), "two entries are called f")
}

// TestCausalIsSound: a mask said to be causal never sees a later row.
func TestCausalIsSound(t *testing.T) {
	for _, c := range []struct {
		where string
		want  bool
	}{
		{"j <= i", true}, {"j < i + 1", true}, {"j < i + 2", false}, {"!(i < j)", true}, {"i - j >= 0", true}, {"i == j", true},
		{"j <= i && i - j < 4 || j < 2 && i >= 5", true}, {"j <= i && i - j < 4 || j < 2 && i >= 1", true}, {"j < 3 && i >= 1", false},
		{"i div 8 > j div 8", true}, {"i div 8 >= j div 8", false}, {"i div 8 == j div 8", false}, {"i div 8 == j div 8 && j <= i", true},
		{"!(j > i || i - j > 5)", true}, {"i mod 2 == 0", false}, {"0 < 1", false}, {"1 < 0", true}, {"2 * j <= 2 * i", false},
	} {
		where := mustParse(c.where)
		if got := causal(where); got != c.want {
			t.Errorf("causal(%s) is %v", c.where, got)
		}
		m, err := NewMask(where)
		if err != nil {
			t.Fatal(err)
		}
		n := m.Pairs(ints.Range{Lo: 0, Hi: 40}, ints.Range{Lo: 0, Hi: 40})
		for i := range int64(41) {
			for j := range int64(41) {
				v, err := where.Eval(map[string]int64{"i": i, "j": j})
				if err != nil || (v != 0) != m.Holds(i, j) {
					t.Fatalf("%s at %d, %d: %v, %v", c.where, i, j, v, err)
				}
				if v != 0 {
					n--
					if c.want && j > i {
						t.Errorf("%s sees %d from %d", c.where, j, i)
					}
				}
			}
		}
		if n != 0 {
			t.Errorf("%s: Pairs counts %d too many", c.where, n)
		}
	}
}
