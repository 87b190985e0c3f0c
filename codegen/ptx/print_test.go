package ptx

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// where are the targets that the project compiles for.
var where = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"}

func ex(t testing.TB, s string) *ints.Expr {
	t.Helper()
	e, err := ints.Parse(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return e
}

func exs(t testing.TB, ss ...string) []*ints.Expr {
	var es []*ints.Expr
	for _, s := range ss {
		es = append(es, ex(t, s))
	}
	return es
}

// everything has each statement, each operator on each type it works on, all
// buffer types, panels, gathers, loops, conditions, counts known in the call
// only, and two parts. wide is the length of its products.
func everything(t testing.TB, wide int) *kernel.Kernel {
	k := &kernel.Kernel{Name: "every.thing", Ints: []string{"n", "pos", "len"}}
	buf := func(name string, e kernel.Elem, panel int, dims ...int) *kernel.Buf {
		b := &kernel.Buf{Name: name, Elem: e, Dims: dims, Panel: panel, Write: strings.HasPrefix(name, "y")}
		k.Bufs = append(k.Bufs, b)
		return b
	}
	x := buf("x", kernel.F32, 0, 0, wide)
	w := buf("w", kernel.BF16, 32, 3, 48, wide)
	h := buf("h", kernel.F16, 0, 0, wide)
	ids := buf("ids", kernel.I32, 0, 0)
	far := buf("far", kernel.I64, 0, 0)
	scalar := buf("scalar", kernel.F32, 0, 1)
	y := buf("y", kernel.F32, 0, 0, 144)
	yb := buf("yb", kernel.BF16, 16, 0, 64, 48)
	yh := buf("yh", kernel.F16, 0, 0, 144)
	yi := buf("yi", kernel.I32, 0, 0)
	yl := buf("yl", kernel.I64, 0, 0)

	rows := ex(t, "min(32, n - i)")
	tile := func(name string, e kernel.Elem, r, c int, vr, vc *ints.Expr) *kernel.Tile {
		v := k.NewTile(name, e, r, c)
		v.ValidRows, v.ValidCols = vr, vc
		return v
	}
	a := tile("a", kernel.F32, 32, wide, rows, nil)
	a2 := tile("a2", kernel.F32, 32, wide, rows, nil)
	b := tile("b", kernel.F32, 48, wide, nil, nil)
	s := tile("s", kernel.F32, 32, 48, rows, nil)
	st := tile("st", kernel.F32, 48, 32, nil, rows)
	square := tile("square", kernel.F32, 48, 48, nil, nil)
	rowSum := tile("rowsum", kernel.F32, 32, 1, rows, nil)
	colMax := tile("colmax", kernel.F32, 1, 48, nil, nil)
	part := tile("part", kernel.F32, 7, 5, nil, nil)
	one := tile("one", kernel.F32, 1, 1, nil, nil)
	id := tile("id", kernel.I32, 32, 1, rows, nil)
	id2 := tile("id2", kernel.I64, 32, 1, rows, nil)
	at := tile("at", kernel.I64, 32, 48, rows, nil)
	i1 := tile("i1", kernel.I32, 1, 1, nil, nil)
	l1 := tile("l1", kernel.I64, 1, 1, nil, nil)

	R, N, F := kernel.R, kernel.N, kernel.F
	var body []kernel.Stmt
	add := func(ss ...kernel.Stmt) { body = append(body, ss...) }
	add(
		&kernel.Load{Dst: id, Buf: ids, Idx: exs(t, "i + r"), Note: "layer.spec:3 ids"},
		&kernel.Load{Dst: id2, Buf: ids, Idx: exs(t, "i + r")},
		&kernel.Load{Dst: i1, Buf: ids, Idx: exs(t, "len")},
		&kernel.Load{Dst: l1, Buf: far, Idx: exs(t, "(pos - 1000) mod (len + 1)")},
		&kernel.Load{Dst: a, Buf: x, Idx: exs(t, "x", "c"), Gather: id},
		&kernel.Load{Dst: a2, Buf: h, Idx: exs(t, "x div 3 + (0 - r) mod 7", "c"), Gather: id2},
		&kernel.Map{Dst: a, Expr: F(kernel.Add, R(a), R(a2))},
		&kernel.Load{Dst: b, Buf: w, Idx: exs(t, "table(2 0 1)[j div 48]", "r", "c")},
		&kernel.Load{Dst: one, Buf: scalar, Idx: exs(t, "0")},
		&kernel.Map{Dst: square, Expr: F(kernel.ToF32, kernel.TestOf(ex(t, "r == c")))},
		&kernel.Dot{Dst: s, A: a, B: b, TransB: true},
		&kernel.Dot{Dst: st, A: b, B: a, TransB: true},
		&kernel.Dot{Dst: s, A: st, B: square, TransA: true, Acc: true},
		&kernel.Transpose{Dst: st, Src: s},
		&kernel.When{Cond: ex(t, "n - i >= 32"), Body: []kernel.Stmt{
			&kernel.Slice{Dst: part, Src: s, Row: 3, Col: 43},
			&kernel.Paste{Dst: s, Src: part, Row: 25, Col: 1},
		}},
		&kernel.Map{Dst: s, Expr: F(kernel.Max, N(-0.5), F(kernel.Min, N(0.5), R(s)))},
		&kernel.Reduce{Dst: rowSum, Src: s, Op: kernel.Sum},
		&kernel.Reduce{Dst: colMax, Src: s, Op: kernel.Largest, OverRows: true},
	)
	f, i32, i64 := R(s), R(id), R(at)
	truth := []*kernel.Val{
		F(kernel.Less, f, N(0)), F(kernel.AtMost, f, R(rowSum)), F(kernel.Same, f, R(colMax)),
		F(kernel.Less, i32, R(i1)), F(kernel.AtMost, i32, R(i1)), F(kernel.Same, i32, i32),
		F(kernel.Less, i64, R(id2)), F(kernel.AtMost, i64, R(l1)), F(kernel.Same, i64, i64),
		kernel.TestOf(ex(t, "r <= c && !(c mod 3 == 1) || pos + r < n")), kernel.TestOf(ex(t, "select(r != c, n, r)")),
		kernel.TestOf(ex(t, "c div -3 + r mod -5")),
	}
	all := truth[0]
	sum := F(kernel.ToF32, all)
	for i, v := range truth[1:] {
		all = F([]kernel.ValOp{kernel.Both, kernel.Either}[i%2], all, F(kernel.Not, v))
		sum = F(kernel.Add, F(kernel.Add, sum, sum), F(kernel.ToF32, v))
	}
	size := F(kernel.Abs, f)
	for _, op := range []kernel.ValOp{kernel.Neg, kernel.Exp, kernel.Exp2, kernel.Exp2Near, kernel.Sigmoid, kernel.Silu, kernel.Softplus, kernel.Tanh, kernel.CosTurn, kernel.SinTurn, kernel.Floor} {
		sum = F(kernel.Add, sum, F(op, f))
	}
	for _, op := range []kernel.ValOp{kernel.Log, kernel.Sqrt, kernel.Rsqrt} {
		sum = F(kernel.Add, sum, F(op, F(kernel.Add, size, N(0.125))))
	}
	for _, op := range []kernel.ValOp{kernel.Sub, kernel.Mul, kernel.Div, kernel.Min, kernel.Max} {
		sum = F(kernel.Add, sum, F(op, f, R(one)))
	}
	long := F(kernel.Add, F(kernel.ToI64, all), F(kernel.Add, F(kernel.ToI64, F(kernel.Mul, f, N(100))), F(kernel.ToI64, i32)))
	narrow := F(kernel.Add, F(kernel.ToI32, all), F(kernel.Add, F(kernel.ToI32, F(kernel.Mul, f, N(100))), F(kernel.ToI32, i64)))
	long = F(kernel.Add, long, F(kernel.ToI64, narrow))
	short := i32
	for _, op := range []kernel.ValOp{kernel.Mul, kernel.Div, kernel.Mod, kernel.Min, kernel.Max} {
		long = F(kernel.Sub, F(op, i64, kernel.IndexOf(ex(t, "r * 48 + c + pos + 1"))), F(kernel.Mul, long, i64))
		short = F(kernel.Add, F(op, F(kernel.Neg, i32), R(i1)), F(kernel.Sub, short, F(kernel.Abs, short)))
	}
	long = F(kernel.Max, F(kernel.Neg, long), F(kernel.Abs, long))
	add(
		&kernel.Map{Dst: at, Expr: kernel.IndexOf(ex(t, "(r * c + pos) * (c - r - 7)"))},
		&kernel.Map{Dst: at, Expr: F(kernel.Choose, all, long, i64)},
		&kernel.Map{Dst: id, Expr: F(kernel.Choose, F(kernel.Less, i32, R(i1)), short, i32)},
		&kernel.Map{Dst: s, Expr: F(kernel.Choose, all, sum, F(kernel.Add, F(kernel.Turns, i64), F(kernel.ToF32, i32))), Note: "layer.spec:9"},
		&kernel.For{Var: "t", Lo: ex(t, "0"), Hi: ex(t, "len"), Step: 16, Stages: 3, Body: []kernel.Stmt{
			&kernel.When{Cond: ex(t, "t < n && i mod 64 == 0"), Body: []kernel.Stmt{
				&kernel.Map{Dst: s, Expr: F(kernel.Mul, f, F(kernel.ToF32, kernel.IndexOf(ex(t, "t + r"))))},
			}},
			&kernel.Reduce{Dst: rowSum, Src: s, Op: kernel.Largest},
			&kernel.Map{Dst: s, Expr: F(kernel.Add, f, R(rowSum))},
		}},
		&kernel.When{Cond: ex(t, "n - 7"), Body: []kernel.Stmt{&kernel.Store{Buf: y, Idx: exs(t, "i + r", "j + c"), Src: s}}},
		&kernel.Store{Buf: yb, Idx: exs(t, "i div 32 * 3 + j div 48", "r", "c"), Src: s},
		&kernel.Store{Buf: yh, Idx: exs(t, "i + r", "j + c"), Src: s},
		&kernel.Store{Buf: yi, Idx: exs(t, "(i + r) * 3 + j div 48"), Src: id},
		&kernel.Slice{Dst: id2, Src: at, Row: 0, Col: 17},
		&kernel.Store{Buf: yl, Idx: exs(t, "(i + r) * 3 + j div 48"), Src: id2},
	)
	k.Parts = []kernel.Part{
		{Grid: []kernel.Axis{{Var: "i", Extent: ex(t, "n"), Step: 32}, {Var: "j", Extent: ex(t, "144"), Step: 48}}, Body: body},
		{Body: []kernel.Stmt{
			&kernel.Map{Dst: part, Expr: F(kernel.ToF32, kernel.IndexOf(ex(t, "r * c - pos")))},
			&kernel.Store{Buf: y, Idx: exs(t, "n + r", "c"), Src: part},
		}},
	}
	return k
}

func mustPrint(t *testing.T, target string, ks ...*kernel.Kernel) *Module {
	t.Helper()
	m, err := Print(ks, target)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAssemblerTakesEveryStatement(t *testing.T) {
	path := ptxas(t)
	for _, target := range where {
		k := everything(t, 64)
		if raw := mustPrint(t, target, k); len(raw.Kernels) != 1 {
			t.Fatalf("%d entries", len(raw.Kernels))
		}
		big := everything(t, 1024)
		big.Name = "big"
		m := mustPrint(t, target, k, big)
		if m.Kernels[0].Scratch != 0 || m.Kernels[1].Scratch == 0 {
			t.Errorf("%s: scratch of %v, want it in the second alone", target, m.Kernels)
		}
		a := accept(t, path, m.Text, target)
		if len(a.Usage) != 2 {
			t.Fatalf("%s: %d entries assembled", target, len(a.Usage))
		}
		for _, u := range a.Usage {
			if u.Registers == 0 || u.Registers > 255 {
				t.Errorf("%s: %+v", target, u)
			}
		}
		t.Logf("%s %+v %+v", target, m.Kernels, a.Usage)
	}
}

func TestTextIsStable(t *testing.T) {
	k := everything(t, 64)
	first := mustPrint(t, "sm_90", k).Text
	for range 5 {
		if again := mustPrint(t, "sm_90", everything(t, 64)).Text; again != first {
			t.Fatal("the same kernel gave another text")
		}
	}
	for i, line := range strings.Split(first, "\n") {
		if strings.TrimRight(line, " ") != line || strings.Contains(line, "\t") {
			t.Errorf("line %d: %q", i+1, line)
		}
	}
}

var update = flag.Bool("update", false, "rewrite testdata/*.ptx")

// The text of a small kernel, whole: what a reader sees.
func TestGolden(t *testing.T) {
	ks, err := kernel.Parse(`kernel scale(x: bf16[0,8], y: f32[0,8] write) ints(n) {
  tile a: f32[16,8] rows min(16, n - i)
  tile top: f32[16,1] rows min(16, n - i)
  part grid(i: n step 16) {
    a = load x[i + r, c] // scale.spec:1 x
    top = largest(a over cols) // scale.spec:2 softmax
    a = map a - top // scale.spec:2 softmax
    store y[i + r, c] = a // scale.spec:3 y
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	got := mustPrint(t, "sm_80", ks...).Text
	path := filepath.Join("testdata", "scale.ptx")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the text has changed; go test -update rewrites %s:\n%s", path, got)
	}
}

func TestPrintSaysWhatIsWrong(t *testing.T) {
	small := func(name string) *kernel.Kernel {
		return &kernel.Kernel{Name: name, Parts: []kernel.Part{{}}}
	}
	wrong := small("w")
	one := wrong.NewTile("one", kernel.F32, 1, 1)
	wrong.Parts[0].Body = []kernel.Stmt{&kernel.Map{Dst: one, Expr: kernel.IndexOf(ints.C(1))}}
	for _, tc := range []struct {
		target string
		ks     []*kernel.Kernel
		want   string
	}{
		{"sm_75", nil, `no target is called "sm_75"; there are sm_80, `},
		{"sm_80", []*kernel.Kernel{small("a.b"), small("a_b")}, "two kernels are called a_b"},
		{"sm_80", []*kernel.Kernel{wrong}, "kernel w: one = map index(1): the value is i64, but tile one is f32"},
	} {
		if _, err := Print(tc.ks, tc.target); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v; want %q", err, tc.want)
		}
	}
}

// The version is the newer of the target's and the instructions'.
func TestVersion(t *testing.T) {
	for name, want := range map[string]string{"sm_80": "7.0", "sm_86": "7.1", "sm_89": "7.8", "sm_90": "7.8", "sm_90a": "8.0"} {
		m := mustPrint(t, name, everything(t, 64))
		if m.Version != want || m.Target != name || !strings.HasPrefix(m.Text, ".version "+want+"\n.target "+name+"\n") {
			t.Errorf("%s: version %s, target %s, want %s; text begins %.40q", name, m.Version, m.Target, want, m.Text)
		}
	}
}
