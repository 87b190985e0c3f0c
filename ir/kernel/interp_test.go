package kernel

import (
	"math"
	"math/big"
	"math/rand"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/ints"
)

// TestOffset: Place computes what Offset says, in every layout, and the
// elements of a buffer fill its memory without overlap.
func TestOffset(t *testing.T) {
	for _, b := range []*Buf{
		{Name: "v", Dims: []int{7}},
		{Name: "m", Dims: []int{5, 3}},
		{Name: "open", Dims: []int{0, 3}},
		{Name: "panels", Dims: []int{37, 5}, Panel: 16},
		{Name: "open panels", Dims: []int{0, 5}, Panel: 8},
		{Name: "deep", Dims: []int{2, 3, 9, 4}, Panel: 8},
		{Name: "pairs", Elem: BF16, Dims: []int{37, 6}, Panel: 16, Pairs: true},
		{Name: "deep pairs", Elem: F16, Dims: []int{2, 9, 4}, Panel: 8, Pairs: true},
		{Name: "plain", Dims: []int{2, 3, 9, 4}},
	} {
		const open = 11
		dims := append([]int(nil), b.Dims...)
		if dims[0] == 0 {
			dims[0] = open
		}
		names := []string{"a", "b", "c", "d"}[:len(dims)]
		var vars []*ints.Expr
		for _, n := range names {
			vars = append(vars, ints.V(n))
		}
		off, seen := b.Offset(vars), map[int64]bool{}
		idx := make([]int64, len(dims))
		var walk func(d int)
		walk = func(d int) {
			if d < len(dims) {
				for i := range dims[d] {
					idx[d] = int64(i)
					walk(d + 1)
				}
				return
			}
			env := map[string]int64{}
			for i, n := range names {
				env[n] = idx[i]
			}
			want, err := off.Eval(env)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.Place(idx...)
			if err != nil || got != want {
				t.Fatalf("%s%v is at %d (%v), not %d", b.Name, idx, got, err, want)
			}
			if seen[got] || got < 0 || got >= b.Len(open) {
				t.Fatalf("%s%v is at %d: taken, or outside %d", b.Name, idx, got, b.Len(open))
			}
			seen[got] = true
		}
		walk(0)
		if _, err := b.Place(make([]int64, len(dims)+1)...); err == nil {
			t.Errorf("%s takes too many indices", b.Name)
		}
		idx[len(idx)-1] = int64(dims[len(dims)-1])
		if _, err := b.Place(idx...); err == nil {
			t.Errorf("%s%v is outside, but has a place", b.Name, idx)
		}
	}
}

// TestDotOperands: operands of a product are rounded before they meet, sums are
// not.
func TestDotOperands(t *testing.T) {
	ks, err := Parse(`kernel k(x: f32[2], y: f32[1] write) ints() {
  tile a: f32[1,2]
  tile b: f32[2,1]
  tile s: f32[1,1]
  part grid() {
    a = load x[c]
    b = load x[r]
    s = dot(a, b as bf16)
    store y[0] = s
  }
}`)
	if err != nil {
		t.Fatal(err)
	}
	x, y := make(Memory, 8+64), make(Memory, 4+64)
	x.SetFloat(F32, 0, 1+1.0/512+1.0/1024) // its neighbours are 1 and 1 + 1/128
	x.SetFloat(F32, 1, 1.0/64)
	if err := ks[0].Run([]Memory{x, y}, nil); err != nil {
		t.Fatal(err)
	}
	if got := y.Float(F32, 0); got != 1+1.0/4096 {
		t.Errorf("the sum is %v", got)
	}
}

// TestDotBands: elements outside the band of the result are no numbers, and what lies
// outside the operand's band counts for nothing.
func TestDotBands(t *testing.T) {
	x, y := make(Memory, 9*4+64), make(Memory, 9*4+64)
	for i := range 9 {
		x.SetFloat(F32, int64(i), float64(i))
	}
	x.SetFloat(F32, 8, math.Inf(1))
	err := runOn(t, `kernel k(x: f32[3,3], y: f32[3,3] write) ints() {
  tile a: f32[3,3]
  tile b: f32[3,3]
  tile s: f32[3,3]
  part grid() {
    a = map choose(test(c <= r div 2), 1, 0)
    b = load x[r, c]
    s = dot(a, b in [0 - 9, 0] per 2 out [0 - 1, 1] per 1)
    store y[r, c] = s
  }
}`, []Memory{x, y})
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	for i, want := range []float64{0, 1, nan, 0, 1, 2, nan, 5, 7} {
		if got := y.Float(F32, int64(i)); got != want && (got == got || want == want) {
			t.Errorf("element %d is %v, not %v", i, got, want)
		}
	}
}

// TestBF16 goes through all patterns: a value comes back, and what lies
// between two goes to the nearer one, at the middle to the even one.
func TestBF16(t *testing.T) {
	for b := range 1 << 16 {
		f := math.Float32frombits(uint32(b) << 16)
		got := bf16(f)
		if f != f {
			if g := math.Float32frombits(uint32(got) << 16); g == g {
				t.Fatalf("the NaN %#x becomes %#x", b, got)
			}
			continue
		}
		if got != uint16(b) {
			t.Fatalf("%#x becomes %#x", b, got)
		}
		if b&0x7fff >= 0x7f80 {
			continue
		}
		bits := uint32(b) << 16
		below, middle, above := bf16(math.Float32frombits(bits|0x7fff)), bf16(math.Float32frombits(bits|0x8000)), bf16(math.Float32frombits(bits|0x8001))
		if below != uint16(b) || above != uint16(b+1) || middle != uint16(b+b&1) {
			t.Fatalf("behind %#x come %#x, %#x and %#x", b, below, middle, above)
		}
	}
}

// TestF16 is TestBF16 for the other format.
func TestF16(t *testing.T) {
	m := NewMemory(&Buf{Elem: F16, Dims: []int{2}}, 0)
	at := func(b int) float64 {
		m[0], m[1] = byte(b), byte(b>>8)
		return m.Float(F16, 0)
	}
	check := func(f float64, want int) {
		m.SetFloat(F16, 1, f)
		if got := int(m[2]) | int(m[3])<<8; got != want {
			t.Fatalf("%v becomes %#x, not %#x", f, got, want)
		}
	}
	for sign := 0; sign <= 0x8000; sign += 0x8000 {
		for b := sign; b < sign+0x7bff; b++ {
			low, high := at(b), at(b+1)
			check(low, b)
			check((low+high)/2, b+b&1)
			check(low+(high-low)*0.499, b)
			check(low+(high-low)*0.501, b+1)
		}
	}
}

// TestFMA32 compares with sums of unlimited precision.
func TestFMA32(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	draw := func() float64 {
		// Few bits, far apart: sums that lie at or next to a middle are common.
		m := float64(1+r.Intn(8))*math.Exp2(float64(r.Intn(24))) + float64(r.Intn(3)-1)
		return float64(float32(m * math.Exp2(float64(r.Intn(60)-40)) * float64(1-2*r.Intn(2))))
	}
	for range 200000 {
		x, y, z := draw(), draw(), draw()
		sum := new(big.Float).SetPrec(400).Mul(big.NewFloat(x), big.NewFloat(y))
		want, _ := sum.Add(sum, big.NewFloat(z)).Float32()
		if got := fma32(x, y, z); got != float64(want) {
			t.Fatalf("%v * %v + %v is %v, not %v", x, y, z, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	for _, c := range []struct {
		e         Elem
		put, want float64
	}{
		{F32, 1.0 / 3, float64(float32(1.0 / 3))},
		{BF16, 1.0 / 3, 0.333984375},
		{F16, 1.0 / 3, 0.333251953125},
		{F16, 65520, math.Inf(1)},
		{F16, 6e-8, 5.960464477539063e-08},
	} {
		m := NewMemory(&Buf{Elem: c.e, Dims: []int{3}}, 0)
		m.SetFloat(c.e, 2, c.put)
		if got := m.Float(c.e, 2); got != c.want || m.Float(c.e, 1) != 0 {
			t.Errorf("%v in %s is %v, not %v", c.put, c.e, got, c.want)
		}
	}
	for _, e := range []Elem{I32, I64} {
		m := NewMemory(&Buf{Elem: e, Dims: []int{2}}, 0)
		m.SetInt(e, 1, -5)
		if m.Int(e, 1) != -5 || m.Int(e, 0) != 0 {
			t.Errorf("-5 in %s is %d", e, m.Int(e, 1))
		}
	}
}

// TestOperators computes each operator once, with tiles a = 6, b = -0.25,
// k = 7 (i32), l = -9 (i64).
func TestOperators(t *testing.T) {
	for s, want := range map[string]float64{
		"-a": -6, "abs(b)": 0.25, "exp(b)": math.Exp(-0.25), "exp(0 * b)": 1, "exp(-inf)": 0, "log(a)": math.Log(6), "sqrt(a)": math.Sqrt(6),
		"rsqrt(a)": 1 / math.Sqrt(6), "sigmoid(b)": 1 / (1 + math.Exp(0.25)), "silu(a)": 6 / (1 + math.Exp(-6)),
		"softplus(b)": math.Log(1 + math.Exp(-0.25)), "softplus(a * 1000)": 6000, "tanh(b)": math.Tanh(-0.25),
		"costurn(0.5)": -1, "sinturn(b)": -1, "floor(b)": -1, "floor(a)": 6,
		"turns(index(4611686018427387904))": 0.25, "turns(index(-9223372036854775808))": -0.5,
		"a + b": 5.75, "a - b": 6.25, "a * b": -1.5, "a / b": -24, "min(a, b)": -0.25, "max(a, b)": 6,
		"f32(a < b)": 0, "f32(b <= b)": 1, "f32(a == a)": 1, "f32(a < b || b < a)": 1, "f32(a < b && b < a)": 0, "f32(!(a < b))": 1,
		"choose(a < b, a, b)": -0.25, "choose(test(n == 3), a, b)": 6, "f32(index(n * 100))": 300,
		"f32(l / index(4))": -3, "f32(mod(l, index(4)))": 3, "f32(k / k)": 1, "f32(i64(k) * l)": -63, "f32(i64(a))": 6, "f32(i64(b * 6))": -1, "f32(i64(a == b))": 0,
		"f32(i32(a))": 6, "f32(i32(b * 7))": -1, "f32(i32(a == a))": 1, "f32(i32(l))": -9, "f32(i32(index(4294967298)))": 2,
		"f32(i32(1e+30))": math.MaxInt32, "f32(i32(-3e+09))": math.MinInt32, "f32(i32(nan))": 0, "f32(i64(nan))": 0, "f32(i64(1e+30))": math.MaxInt64, "f32(i64(-inf))": math.MinInt64,
		"f32(-l)": 9, "f32(abs(l))": 9, "f32(min(k, -k))": -7, "f32(l < index(-8))": 1, "f32(l <= index(-9))": 1, "f32(l == index(9))": 0,
		"f32(k * k * k * k * k * k * k * k * k * k * k * k)": 956385313, // 7^12 wraps in 32 bits
		"f32(index(9223372036854775807) + index(1))":         -9223372036854775808,
	} {
		m := NewMemory(&Buf{Dims: []int{1}}, 0)
		err := runOn(t, `kernel k(y: f32[1] write, i: i32[1], j: i64[1]) ints(n) {
			tile a: f32[1,1]
			tile b: f32[1,1]
			tile k: i32[1,1]
			tile l: i64[1,1]
			part grid() {
				a = map 6
				b = map -0.25
				k = load i[r]
				l = load j[r]
				a = map `+s+`
				store y[r] = a
			}
		}`, []Memory{m, {7, 0, 0, 0}, {0xf7, 255, 255, 255, 255, 255, 255, 255}}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Float(F32, 0); math.Abs(got-want) > 1e-6*math.Abs(want) && float32(want) != float32(got) {
			t.Errorf("%s is %v, not %v", s, got, want)
		}
	}
}

func runOn(t *testing.T, src string, bufs []Memory, args ...int64) error {
	t.Helper()
	ks, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range ks[0].Verify() {
		t.Fatal(err)
	}
	return ks[0].Run(bufs, args)
}

// TestRunFaults: each breach of the contract that shows only in a run.
func TestRunFaults(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"a = load x[r, c]", ""},
		{"big = map a", "big = map a: it reads a[0,0], which is undefined"},
		{"a = load x[i + r, c]", "a = load x[i + r, c]: at r = 2, c = 0: element 24 of x, which has 24"},
		{"a = load x[i + r - 1, c]", "at r = 0, c = 0: index 0 of x is -1"},
		{"a = load x[r, c + 1]", "at r = 0, c = 7: index 1 of x is 8, outside 0 to 7"},
		{"a = load x[r, c]\nstore y[r, c] = a", "block (i=1): store y[r, c] = a: it stores element 0 of y, which block 0 stores too"},
		{"b = load y[1 + 4 * i, c]\nstore y[3 - 2 * i, c] = b", "block (i=1): store y[3 - 2 * i, c] = b: it stores element 8 of y, which block 0 loads"},
		{"b = load y[0, c]\nstore y[3 - i, c] = b", ""},
		{"b = load y[i, c]\nstore y[1 - i, c] = b", "block (i=1): b = load y[i, c]: it loads element 8 of y, which block 0 stores"},
		{"a = load x[r, c]\nstore y[0, c] = a", "it stores element 0 of y twice"},
		{"a = load x[r, c]\nfor j = 0 to 2 step 1 {\nlate = map 1\n}\nwhen i {\nbig = map a\n}", ""},
		{"for j = 0 to 2 step 1 {\nwhen j == 0 {\nlate = map 1\n}\nwhen j == 1 {\nshort = slice late[0, 1]\n}\n}", "short = slice late[0, 1]: it reads late[0,2], outside the 2 valid rows and 2 valid columns"},
		{"for j = 0 to 2 step 1 {\nlate = map 1\nlate = map late\n}\nfor j = 4 to 6 step 1 {\nlate = map 1\n}", "tile late has 3 - j = -1 valid columns, outside 0 to 4"},
		{"b = map 1\na = map 0\npaste a[0, 2] = corner", "it reads corner[0,0], which is undefined"},
		{"corner = map 1\npaste a[1, 2] = corner\nb = slice a[1, 0]", "it reads a[1,0], which is undefined"},
		{"corner = map 1\nlate2 = map 1\npaste late2[1, 2] = corner", "it writes late2[1,2], outside the 3 valid rows and 2 valid columns"},
		{"k = load ids[r]\na = load x[x, c] gather k", "at r = 1, c = 0: index 0 of x is -1"},
		{"b = map f32(index(1) / index(i))", "1 is divided by 0, which is not positive"},
		{"b = map costurn(0.75)", "0.75 is more than half a turn"},
		{"when 1 div i {\n}", "division by zero"},
		{"a = map 1\nbig = map choose(test(c <= 1 + r div 2), 1, 0)\nsquare = dot(big, a' in [0 - 5, 1] per 2)", ""},
		{"a = map 1\nbig = map choose(test(c <= 1 + r div 2), 1, 0)\nsquare = dot(big, a' in [0, 1] per 2)", "big[2,0] is 1, not 0, outside the product's band"},
		{"a = map 1\nsquare = dot(a, a' out [i, 0] per 1)\ntotal = sum(square over cols)\nstore y[r, i] = total", ""},
	} {
		x, y := NewMemory(&Buf{Dims: []int{3, 8}}, 0), NewMemory(&Buf{Dims: []int{9, 8}}, 0)
		err := runOn(t, `kernel k(x: f32[0,8], y: f32[9,8] write, ids: i32[3]) ints() {
			tile a: f32[3,8]
			tile b: f32[1,8]
			tile corner: f32[2,2]
			tile big: f32[3,8]
			tile late: f32[2,4] cols 3 - j
			tile late2: f32[3,4] cols 2
			tile short: f32[1,3]
			tile k: i32[3,1]
			tile square: f32[3,3]
			tile total: f32[3,1]
			part grid(i: 2 step 1) {
			`+c.body+`
			}
		}`, []Memory{x, y, {0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\ngives %v, not %q", c.body, err, c.want)
		}
	}
}
