package ir

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

func random(rng *rand.Rand, dims ...int) *Tensor {
	t := NewTensor(elem.F32, dims...)
	for i := range t.Data {
		t.Data[i] = rng.NormFloat64()
	}
	return t
}

func near(t *testing.T, what string, got, want *Tensor) {
	t.Helper()
	if count(got.Dims) != count(want.Dims) || len(got.Dims) != len(want.Dims) {
		t.Fatalf("%s is %s, want %s", what, got, want)
	}
	for i, d := range got.Dims {
		if d != want.Dims[i] {
			t.Fatalf("%s is %s, want %s", what, got, want)
		}
	}
	for i := range got.Data {
		if d := math.Abs(got.Data[i] - want.Data[i]); !(d <= 1e-9*(1+math.Abs(want.Data[i]))) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got.Data[i], want.Data[i])
		}
	}
}

var tokens = &Clock{Name: "t", Kind: Base}

func mustParse(s string) *ints.Expr {
	e, err := ints.Parse(s)
	if err != nil {
		panic(err)
	}
	return e
}

// input makes an f32 input.
func input(b *Builder, name string, dims ...Dim) *Node {
	return b.Must("input", Attr{Name: name, Elem: elem.F32, Dims: dims})
}

func dim(name string, size int) Dim { return Dim{Name: name, Size: size} }

func one(t *testing.T, n *Node, in map[string]*Tensor) *Tensor {
	t.Helper()
	g := &Graph{Name: "g", Base: tokens, Clocks: []*Clock{tokens}, Outputs: []Output{{"y", n}}}
	for _, n := range Postorder(n) {
		if n.Op.Name == "input" {
			g.Inputs = append(g.Inputs, n)
		}
	}
	out, err := Run(g, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out["y"]
}

func TestDotIsEinsum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := NewBuilder()
	x := input(b, "x", RowDim(tokens), dim("k", 3), dim("h", 2), dim("m", 5))
	y := input(b, "y", dim("n", 7), dim("h", 2), dim("k", 3), dim("l", 2))
	z := b.Dot(x, y, "k") // [t, h, m, n, l]
	tx, ty := random(rng, 9, 3, 2, 5), random(rng, 7, 2, 3, 2)
	got := one(t, z, map[string]*Tensor{"x": tx, "y": ty})
	want := NewTensor(elem.F32, 9, 2, 5, 7, 2)
	at := 0
	for i := range 9 {
		for h := range 2 {
			for m := range 5 {
				for n := range 7 {
					for l := range 2 {
						for k := range 3 {
							want.Data[at] += tx.Data[((i*3+k)*2+h)*5+m] * ty.Data[((n*2+h)*3+k)*2+l]
						}
						at++
					}
				}
			}
		}
	}
	if z.Type.String() != "f32[t, h:2, m:5, n:7, l:2]" {
		t.Fatalf("the product is %s", z.Type)
	}
	near(t, "the product", got, want)
}

func TestAttendIsSoftmax(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	b := NewBuilder()
	q := input(b, "q", RowDim(tokens), dim("h", 4), dim("d", 3))
	k := input(b, "k", RowDim(tokens), dim("g", 2), dim("d", 3))
	v := input(b, "v", RowDim(tokens), dim("g", 2), dim("e", 5))
	const n = 150
	in := map[string]*Tensor{"q": random(rng, n, 4, 3), "k": random(rng, n, 2, 3), "v": random(rng, n, 2, 5)}
	for _, linear := range []bool{false, true} {
		a := b.Must("attend", Attr{Name: "a", Value: 0.5, Where: mustParse("j <= i && (i - j < 70 || j < 3) && i != 5"), Linear: linear}, q, k, v)
		want := NewTensor(elem.F32, n, 4, 5)
		for i := range n {
			for h := range 4 {
				sum := 0.0
				for j := range i + 1 {
					if !(i-j < 70 || j < 3) || i == 5 {
						continue
					}
					s := 0.0
					for d := range 3 {
						s += 0.5 * in["q"].Data[(i*4+h)*3+d] * in["k"].Data[(j*2+h/2)*3+d]
					}
					p := math.Exp(s)
					if linear {
						p = s
					}
					sum += p
					for e := range 5 {
						want.Data[(i*4+h)*5+e] += p * in["v"].Data[(j*2+h/2)*5+e]
					}
				}
				for e := range 5 {
					if !linear && i != 5 {
						want.Data[(i*4+h)*5+e] /= sum
					}
				}
			}
		}
		near(t, "attend", one(t, a, in), want)
	}
}

// queueScan is a scan with a decaying sum and a queue of row sums, which come
// before the chunk's rows.
func queueScan(b *Builder, x *Node) *Node {
	const size = 4
	c := &Clock{Name: "t.chunk", Kind: Chunk, Of: tokens, Size: size}
	p := b.Must("param", Attr{Name: "x", Elem: elem.F32, Dims: []Dim{RowDim(c), dim("a", 2)}})
	s := b.Must("state", Attr{Name: "s", Elem: elem.F32, Dims: []Dim{dim("a", 2)}})
	fifo := Dim{Name: "n", Size: 3, Len: ints.V("nf")}
	f := b.Must("state", Attr{Name: "f", Elem: elem.F32, Dims: []Dim{fifo, dim("a", 2)}})
	pc := &Clock{Name: "p", Kind: Prefixed, Of: c, Prefix: ints.V("nf"), Most: 3}
	z := b.Must("prefix", Attr{Clock: pc}, f, p)
	sums := b.Must("cumsum", Attr{Name: "sums"}, z)
	rows := b.Add(b.Must("suffix", Attr{}, sums), s)
	total := b.Sum(p, "t")
	index := b.Must("cast", Attr{Elem: elem.F32}, b.Must("chunk.index", Attr{Clock: c}))
	next := b.Add(b.Mul(s, b.F(0.5)), b.Add(total, index))
	queue := b.Must("tail", Attr{Size: 3}, b.Must("concat", Attr{Dim: "n"}, f, b.Must("expand", Attr{Dims: []Dim{dim("n", 1), dim("a", 2)}}, total)))
	body := &Region{Clock: c, Params: []*Node{p}, States: []*Node{s, f}, Rows: []*Node{rows}, Next: []*Node{next, queue},
		Init: []*Node{b.Must("expand", Attr{Dims: []Dim{dim("a", 2)}}, b.F(1)), b.Must("expand", Attr{Dims: []Dim{dim("n", 3), dim("a", 2)}}, b.F(0))},
		Lens: []Length{{"nf", 0, 3, mustParse("min(nf + 1, 3)")}}, Probes: []Probe{{"total", b.Sum(next, "a")}}}
	scan, err := b.Scan("scan", body, x)
	if err != nil {
		panic(err)
	}
	return b.Result(scan, 0)
}

func TestScanWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	b := NewBuilder()
	x := input(b, "x", RowDim(tokens), dim("a", 2))
	y := queueScan(b, x)
	g := &Graph{Name: "g", Base: tokens, Clocks: []*Clock{tokens}, Inputs: []*Node{x}, Outputs: []Output{{"y", y}}}
	for _, n := range []int{1, 4, 23} {
		in := random(rng, n, 2)
		out, probes, err := RunProbes(g, map[string]*Tensor{"x": in}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := NewTensor(elem.F32, n, 2)
		s := [2]float64{1, 1}
		var fifo [][2]float64
		for c := 0; c*4 < n; c++ {
			var sum, chunk [2]float64
			for _, f := range fifo {
				sum[0], sum[1] = sum[0]+f[0], sum[1]+f[1]
			}
			for i := c * 4; i < min(c*4+4, n); i++ {
				for a := range 2 {
					sum[a] += in.Data[i*2+a]
					chunk[a] += in.Data[i*2+a]
					want.Data[i*2+a] = sum[a] + s[a]
				}
			}
			if c*4+4 > n {
				break
			}
			for a := range 2 {
				s[a] = 0.5*s[a] + chunk[a] + float64(c)
			}
			fifo = append(fifo, chunk)
			fifo = fifo[max(0, len(fifo)-3):]
			if p := probes[c]; p.Name != "total" || p.Chunk != int64(c) || math.Abs(p.Value-s[0]-s[1]) > 1e-9 {
				t.Errorf("probe %d is %v, want %v", c, p, s[0]+s[1])
			}
		}
		near(t, "the scan", out["y"], want)
		if len(probes) != n/4 {
			t.Errorf("%d probes of %d chunks", len(probes), n/4)
		}
	}
}
