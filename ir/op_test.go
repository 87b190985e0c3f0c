package ir

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
)

// TestOpTable: every row is complete, or says why it is not.
func TestOpTable(t *testing.T) {
	attrs := []string{"name", "value", "over", "dims", "elem", "dim", "start", "size", "ints", "floats", "where", "linear", "cap", "init", "clock", "keep"}
	for name, o := range Ops {
		if o.Name != name || o.Doc == "" || o.Type == nil {
			t.Errorf("%s: the name, the doc or the type rule is missing", name)
		}
		if (o.Eval == nil) == (o.Special == "") {
			t.Errorf("%s: it needs Eval, or else a reason in Special", name)
		}
		if (o.Grad == nil) == (o.NoGrad == "") {
			t.Errorf("%s: it needs Grad, or else a reason in NoGrad", name)
		}
		if o.Rows != NoRows && len(o.Operands) == 0 && name != "index" {
			t.Errorf("%s: it has rows without operands", name)
		}
		for i, a := range o.Attrs {
			if !slices.Contains(attrs, a) || slices.Contains(o.Attrs[:i], a) {
				t.Errorf("%s: the text form does not know the attribute %s, or has it twice", name, a)
			}
		}
	}
}

// sample makes nodes of each op that has a gradient out of its inputs.
var sample = map[string]func(b *Builder, in func(dims ...Dim) *Node) []*Node{}

func init() {
	rows := RowDim(tokens)
	h, a, k := dim("h", 2), dim("a", 3), dim("k", 4)
	for name, o := range Ops {
		if o.Grad != nil && len(o.Operands) == 1 && len(o.Attrs) == 0 && !o.Variadic {
			sample[name] = func(b *Builder, in func(dims ...Dim) *Node) []*Node {
				return []*Node{b.Must(name, Attr{}, in(rows, a))}
			}
		}
	}
	for _, name := range []string{"add", "sub", "mul", "div", "max", "min"} {
		sample[name] = func(b *Builder, in func(dims ...Dim) *Node) []*Node {
			return []*Node{b.Must(name, Attr{}, in(rows, a, h), in(h, rows)), b.Must(name, Attr{}, in(a), in(rows, k)), b.Must(name, Attr{}, in(), in(a))}
		}
	}
	one := func(op string, attr Attr, dims ...[]Dim) {
		old := sample[op]
		sample[op] = func(b *Builder, in func(dims ...Dim) *Node) []*Node {
			var args, out []*Node
			if old != nil {
				out = old(b, in)
			}
			for _, d := range dims {
				args = append(args, in(d...))
			}
			return append(out, b.Must(op, attr, args...))
		}
	}
	one("cast", Attr{Elem: elem.F32}, []Dim{rows, a})
	one("view", Attr{Dims: []Dim{rows, dim("x", 6), h}}, []Dim{rows, h, a, h.as("h2")})
	one("expand", Attr{Dims: []Dim{rows, h, a}}, []Dim{a, rows})
	one("slice", Attr{Dim: "k", Start: 1, Size: 2}, []Dim{rows, k, a})
	one("pad", Attr{Dim: "k", Start: 2, Size: 7}, []Dim{rows, k, a})
	one("concat", Attr{Dim: "k"}, []Dim{rows, k, a}, []Dim{rows, dim("k", 1), a}, []Dim{rows, k, a})
	one("sum", Attr{Over: []string{"h"}}, []Dim{rows, h, a})
	one("sum", Attr{Over: []string{"a", "h"}}, []Dim{rows, h, k, a})
	one("maximum", Attr{Over: []string{"h", "k"}}, []Dim{rows, h, k, a})
	one("dot", Attr{Over: []string{"k"}}, []Dim{rows, h, k}, []Dim{h, a, k})
	one("dot", Attr{Over: []string{"k", "h"}}, []Dim{k, h}, []Dim{h, rows, k})
	one("dot", Attr{Over: []string{"k"}}, []Dim{rows, k, h}, []Dim{rows, k, a})
	sample["select"] = func(b *Builder, in func(dims ...Dim) *Node) []*Node {
		x, y := in(rows, a), in(a, h)
		return []*Node{b.Select(b.Must("lt", Attr{}, in(rows), b.F(1)), x, y)}
	}
}

func (d Dim) as(name string) Dim { d.Name = name; return d }

// TestGradients compares each op's gradient with central differences of its own
// evaluation, under Σ r·y with random r.
func TestGradients(t *testing.T) {
	for _, op := range slices.Sorted(maps.Keys(Ops)) {
		if Ops[op].Grad == nil {
			continue
		}
		if sample[op] == nil {
			t.Errorf("%s has a gradient but no sample", op)
			continue
		}
		b := NewBuilder()
		made := 0
		for i, y := range sample[op](b, func(dims ...Dim) *Node {
			made++
			n, err := rowsFirst(dims)
			if err != nil {
				t.Fatal(err)
			}
			return input(b, fmt.Sprint("x", made), n...)
		}) {
			t.Run(fmt.Sprint(op, i), func(t *testing.T) { checkGradient(t, b, y) })
		}
	}
}

func checkGradient(t *testing.T, b *Builder, y *Node) {
	const n = 3
	rng := rand.New(rand.NewPCG(11, 12))
	g := &Graph{Name: "g", Base: tokens, Clocks: []*Clock{tokens}}
	in := map[string]*Tensor{}
	bind := func(x *Node) {
		dims := make([]int, len(x.Type.Dims))
		for i, d := range x.Type.Dims {
			dims[i] = max(d.Size, test0(d.Clock != nil)*n)
		}
		v := NewTensor(elem.F32, dims...)
		for i := range v.Data {
			v.Data[i] = 0.3 + 1.4*rng.Float64() // where log and √ are defined
		}
		g.Inputs = append(g.Inputs, x)
		in[x.Attr.Name] = v
	}
	for _, x := range Postorder(y) {
		if x.Op.Name == "input" {
			bind(x)
		}
	}
	dy := input(b, "dy", y.Type.Dims...)
	bind(dy)
	grads := y.Op.Grad(b, y, dy)
	loss := func() float64 {
		g.Outputs = []Output{{"y", y}}
		out, err := Run(g, in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return inner(out["y"].Data, in["dy"].Data)
	}
	for i, x := range y.Args {
		if x.Op.Name != "input" {
			continue
		}
		gx := grads[i]
		if gx == nil {
			t.Fatalf("operand %d has no gradient", i)
		}
		// A gradient may have dimensions that the operand was repeated along.
		var extra, order []Dim
		for _, d := range gx.Type.Dims {
			if x.Type.Find(d.Name) < 0 {
				extra = append(extra, d)
			}
		}
		order = append(append(order, x.Type.Dims...), extra...)
		g.Outputs = []Output{{"g", gx}}
		out, err := Run(g, in, nil)
		if err != nil {
			t.Fatal(err)
		}
		sizes := make([]int, len(order))
		for j, d := range order {
			sizes[j] = max(d.Size, test0(d.Clock != nil)*n)
		}
		data, err := arrange(order, sizes, gx, out["g"])
		if err != nil {
			t.Fatal(err)
		}
		v := in[x.Attr.Name].Data
		w := len(data) / len(v)
		for j := range v {
			got := 0.0
			for _, p := range data[j*w : (j+1)*w] {
				got += p
			}
			const eps = 1e-5
			old := v[j]
			v[j] = old + eps
			up := loss()
			v[j] = old - eps
			down := loss()
			v[j] = old
			if want := (up - down) / (2 * eps); !(math.Abs(got-want) <= 1e-6*(1+math.Abs(want))) {
				t.Fatalf("operand %d: the gradient of element %d is %v, differences say %v", i, j, got, want)
			}
		}
	}
}

func test0(b bool) int { return int(test(b)) }

// TestRound holds bf16 and f16 to the bits of every value of theirs and to the
// ties between neighbours.
func TestRound(t *testing.T) {
	value := func(e elem.Type, bits int) float64 {
		if e == elem.BF16 {
			return float64(math.Float32frombits(uint32(bits) << 16))
		}
		exp, frac := bits>>10, float64(bits&1023)
		if exp == 0 {
			return math.Ldexp(frac, -24)
		}
		return math.Ldexp(1024+frac, exp-25)
	}
	for _, e := range []elem.Type{elem.BF16, elem.F16} {
		top := map[elem.Type]int{elem.BF16: 0x7f80, elem.F16: 0x7c00}[e]
		for bits := range top - 1 {
			a, b := value(e, bits), value(e, bits+1)
			even := a
			if bits&1 == 1 {
				even = b
			}
			mid := a/2 + b/2
			for _, c := range []struct{ x, want float64 }{{a, a}, {mid, even}, {math.Nextafter(mid, 0), a}, {math.Nextafter(mid, b), b}} {
				if got := Round(e, c.x); got != c.want || Round(e, -c.x) != -c.want {
					t.Fatalf("%s: %v rounds to %v, want %v", e, c.x, got, c.want)
				}
			}
		}
		last := value(e, top-1)
		if over := last + (last-value(e, top-2))/2; !math.IsInf(Round(e, over), 1) || Round(e, math.Nextafter(over, 0)) != last {
			t.Errorf("%s: overflow", e)
		}
	}
	if Round(elem.I32, -2.9) != -2 || Round(elem.I32, 1e12) != math.MaxInt32 {
		t.Error("integers round towards zero and stay in range")
	}
}

func TestTurnsAreExact(t *testing.T) {
	b := NewBuilder()
	const fraction = 0x9E3779B97F4A7C15 // wraps many times
	x := b.I(1_000_003)
	n := b.Must("turns", Attr{Dim: "f", Ints: []int64{-7046029254386353131, 1 << 61}}, x)
	out, err := Run(graphOf(n), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := uint64(fraction)
	want := float64(int64(f*1_000_003)) / (1 << 63) / 2
	if got := out["y"].Data; got[0] != want || got[1] != 0.375 { // 1000003/8 mod 1
		t.Errorf("turns are %v, want %v and 3/8", got, want)
	}
}
