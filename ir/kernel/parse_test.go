package kernel

import (
	"math"
	"math/rand"
	"reflect"
	"strings"
	"testing"
)

// oneMap is a kernel of one map.
func oneMap(x *Val, note string) *Kernel {
	k := &Kernel{Name: "one", Bufs: []*Buf{{Name: "y", Dims: []int{1}, Write: true}}}
	t := k.NewTile("t", F32, 1, 1)
	k.Parts = []Part{{Body: []Stmt{&Map{Dst: t, Expr: x, Note: note}}}}
	return k
}

func reparse(t *testing.T, k *Kernel) *Kernel {
	t.Helper()
	text := k.String()
	ks, err := Parse(text)
	if err != nil || len(ks) != 1 {
		t.Fatalf("%v in\n%s", err, text)
	}
	if again := ks[0].String(); again != text {
		t.Fatalf("print(parse(print(k))) is\n%s, not\n%s", again, text)
	}
	return ks[0]
}

func exprOf(k *Kernel) *Val { return k.Parts[0].Body[0].(*Map).Expr }

// TestNumbers: every f32 comes back to the bit.
func TestNumbers(t *testing.T) {
	bits := []uint32{0, 1 << 31, 1, 0x80000001, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fc00123, 0x7f800001, 0x7f7fffff, 0x00800000, 0x3f800001}
	r := rand.New(rand.NewSource(1))
	for range 2000 {
		bits = append(bits, r.Uint32())
	}
	for _, b := range bits {
		for _, x := range []*Val{N(math.Float32frombits(b)), F(Neg, N(math.Float32frombits(b)))} {
			got, want := exprOf(reparse(t, oneMap(x, ""))), x
			if got.Op != want.Op {
				t.Fatalf("%s has the operator %s, not %s", want, got.Op, want.Op)
			}
			if want.Op == Neg {
				got = got.Args[0]
			}
			if math.Float32bits(got.F) != b {
				t.Fatalf("%#x comes back as %#x", b, math.Float32bits(got.F))
			}
		}
	}
}

// TestNotes: every note of valid UTF-8 comes back.
func TestNotes(t *testing.T) {
	for _, n := range []string{"", "a.spec:1 q", " a", "a ", `"a`, `"a"`, `"`, "a\nb", "a\r", "\t", "// x", "}", "π", "\u2028", "\ufffd", "\x00", `a\n`} {
		got := reparse(t, oneMap(N(1), n))
		if note := NoteOf(got.Parts[0].Body[0]); note != n {
			t.Errorf("the note %q comes back as %q", n, note)
		}
	}
}

// TestPrecedence: brackets stand exactly where reading needs them.
func TestPrecedence(t *testing.T) {
	for _, s := range []string{
		"1 + 2 + 3", "1 + (2 + 3)", "1 - (2 - 3) - 4", "(1 + 2) * 3", "1 + 2 * 3", "1 / (2 / 3)", "-t * 2", "-(t * 2)", "--t", "-(1)", "-1", "- -1",
		"choose(t < 1 && (t <= 2 || !(t == 3)), t, -t)", "max(t, min(1, 2))", "f32(i64(t) / index(3)) + turns(index(5))", "1e-05 - 1e+20",
	} {
		ks, err := Parse("kernel k() ints() {\n tile t: f32[1,1]\n part grid() {\n t = map " + s + "\n}\n}")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(s, "- -1", "-(-1)")
		if got := exprOf(ks[0]).String(); got != want {
			t.Errorf("%s prints as %s", s, got)
		}
		reparse(t, ks[0])
	}
}

// TestParseErrors: an error is at the place of the fault.
func TestParseErrors(t *testing.T) {
	const head = "kernel k(x: f32[0,8], y: f32[0,8] write) ints(n) {\n  tile a: f32[4,8] rows n\n  part grid(i: n step 4) {\n"
	for _, c := range []struct{ src, want string }{
		{"", ""},
		{"// only a comment", ""},
		{"kernal", `1:1: expected "kernel", found "kernal"`},
		{"kernel 5(", `1:8: expected the name of a kernel, found "5"`},
		{"kernel k(x: f33[1])", `1:13: expected a type`},
		{"kernel k(x: f32[-1])", `1:17: expected a number from 0`},
		{"kernel k(x: f32[99999999999999999999])", `1:17: expected a number from 0`},
		{"kernel k(x: f32[1], x: f32[1])", "1:21: there are two buffers named x"},
		{"kernel k() ints() {", "1:20: expected \"}\", found the end of the text"},
		{head + "    b = load x[r, c]\n", "4:5: there is no tile named b"},
		{head + "    a = load z[r, c]\n", "4:14: there is no buffer named z"},
		{head + "    a = load x[r + , c]\n", `4:19: expected an integer expression, found ""`},
		{head + "    a = load x[r ~ 1, c]\n", `4:18: unexpected "~"`},
		{head + "    a = map foo(a)\n", "4:13: there is no operator named foo"},
		{head + "    a = map a +\n", "4:16: expected a value, found the end of the line"},
		{head + "    a = map 1.x\n", `4:13: expected an f32 number, found "1.x"`},
		{head + "    a = map 1e99\n", `4:13: expected an f32 number, found "1e99"`},
		{head + "    a = map max(a)\n", `4:18: expected ",", found ")"`},
		{head + "    a = map a a\n", `4:15: expected "\n", found "a"`},
		{head + "    a += load x[r, c]\n", "4:10: only a dot can be added to a tile"},
		{head + "    a = lode x[r, c]\n", `4:9: expected load, map, dot, sum, largest, transpose or slice, found "lode"`},
		{head + "    a = sum(a over it)\n", `4:20: expected "cols", found "it"`},
		{head + "    go\n", `4:5: expected a statement, found "go"`},
		{head + "    a = map 1\n", `5:1: expected a statement, found the end of the text`},
		{head + strings.Repeat("when 1 {\n", 100), "67:9: statements are nested more than 64 deep"},
		{head + "    a = map " + strings.Repeat("-", 1000) + "a\n", "the expression is nested more than 400 deep"},
		{head + "    a = map " + strings.Repeat("(", 100000) + "a\n", "the expression is nested more than 400 deep"},
		{head + "    a = map a" + strings.Repeat(" + a", 1000000) + "\n", "there are more than 400 operators in a row"},
		{head + "    when n" + strings.Repeat(" + n", 1000000) + " {\n", "operators in a row"},
		{head + "    when " + strings.Repeat("(", 1000000) + " {\n", "nested more than"},
	} {
		_, err := Parse(c.src)
		if c.want == "" {
			if err != nil {
				t.Errorf("%q: %v", c.src, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200q: the error is %v, not %s", c.src, err, c.want)
		}
	}
}

// FuzzParse: no text makes Parse or Verify panic, and what can be read prints
// and reads back equal.
func FuzzParse(f *testing.F) {
	f.Add(legal)
	for _, name := range []string{"contract.kernel", "attend.kernel", "recur.kernel"} {
		for _, k := range readKernels(f, name) {
			f.Add(k.String())
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		ks, err := Parse(src)
		if err != nil {
			return
		}
		for _, k := range ks {
			text := k.String()
			again, err := Parse(text)
			if err != nil && strings.Contains(err.Error(), "more than") {
				return // the text has brackets, which nest, where the source needs none
			}
			if err != nil || len(again) != 1 {
				t.Fatalf("%v in\n%s", err, text)
			}
			if !reflect.DeepEqual(again[0], k) && !strings.Contains(text, "nan") && !strings.Contains(text, "bits(") {
				t.Fatalf("reading and printing changes\n%s", text)
			}
			k.Verify()
		}
	})
}
