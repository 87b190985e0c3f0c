package kernel

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/ints"
)

// legal has every kind of statement; each case below breaks one thing in it.
const legal = `kernel legal(x: f32[0,64], e: bf16[50,64]/16, k: i32[0], w: f32[64,64], y: f32[0,64] write, z: i64[0,1] write) ints(n) {
  tile a: f32[32,64] rows min(32, n - i)
  tile b: f32[32,64] rows min(32, n - i)
  tile ids: i32[32,1] rows min(32, n - i)
  tile m: f32[64,64]
  tile s: f32[32,64] rows min(32, n - i)
  tile big: f32[32,1] rows min(32, n - i)
  tile low: f32[1,64]
  tile t: f32[64,64]
  tile part: f32[8,16]
  tile wide: i64[32,1] rows min(32, n - i)
  part grid(i: n step 32) {
    a = load x[i + r, c] // x
    ids = load k[i + r] // ids
    b = load e[x, c] gather ids // rows
    m = load w[r, c] // w
    s = dot(a, m) // dot
    s += dot(b, m' as bf16 by 32 in [i - n, i + 4] per 2 out [0 - i, 64] per 1) // more
    big = largest(s over cols) // largest
    low = sum(m over rows alike) // sum
    t = transpose(m) // turned
    part = slice t[8, 16] // slice
    paste t[0, 48] = part // paste
    for j = 0 to n step 32 stages 2 {
      s = map s + exp(s - big) * low // map
    }
    when n > 64 {
      s = map choose(test(c <= r), s, -inf) // choice
    }
    store y[i + r, c] = s // y
    wide = map i64(ids) + index(r) // wide
    store z[i + r, 0] = wide // z
  }
}
`

func legalKernel(t *testing.T, src string) *Kernel {
	t.Helper()
	ks, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return ks[0]
}

// TestVerify has cases for every line of Verify's list: an edit of the legal
// kernel's text, or of the kernel where no text says it, and the fault.
func TestVerify(t *testing.T) {
	for _, err := range legalKernel(t, legal).Verify() {
		t.Fatal(err)
	}
	deep := ints.V("n")
	for range maxDepth {
		deep = ints.Times(deep, ints.V("n"))
	}
	tests := []struct {
		bullet   string
		from, to string
		change   func(k *Kernel)
		want     string
	}{
		{"names", "", "", func(k *Kernel) { k.Name = "a b" }, `kernel "a b": this is no name`},
		{"names", "", "", func(k *Kernel) { k.Bufs[1].Name = "x" }, "buffer x: the name is taken"},
		{"names", "", "", func(k *Kernel) { k.Tiles[1].Name = "a" }, "tile a: the name is taken"},
		{"names", "", "", func(k *Kernel) { k.Tiles[1].Name = "nan" }, "tile nan: the name is a number"},
		{"names", "", "", func(k *Kernel) { k.Ints = []string{"n", "n"} }, "integer n: the name is taken"},
		{"variables", "ints(n)", "ints(n, c)", nil, "integer c: the name has a meaning"},
		{"variables", "for j =", "for i =", nil, "loop i: the name is taken"},
		{"variables", "for j =", "for step =", nil, "loop step: the name has a meaning"},
		{"buffers", "x: f32[0,64]", "x: f32[0,0]", nil, "buffer x has the size 0 in dimension 1"},
		{"buffers", "k: i32[0]", "k: i32[0]/8", nil, "buffer k of 1 dimensions cannot have panels of 8"},
		{"buffers", "w: f32[64,64]", "w: f32[64,64]/32 pairs", nil, "buffer w of f32 [64 64] in panels of 32 cannot have pairs"},
		{"buffers", "w: f32[64,64]", "w: bf16[64,63]/32 pairs", nil, "buffer w of bf16 [64 63] in panels of 32 cannot have pairs"},
		{"buffers", "k: i32[0]", "k: i32[]", nil, "buffer k has 0 dimensions"},
		{"buffers", "k: i32[0]", "k: bool[0]", nil, "buffer k cannot hold bools"},
		{"buffers", "w: f32[64,64]", "w: f32[1099511627776,1099511627776]", nil, "buffer w has more than"},
		{"tiles", "tile m: f32", "tile m: bf16", nil, "tile m holds neither f32 nor i32 nor i64"},
		{"tiles", "tile m: f32[64,64]", "tile m: f32[0,64]", nil, "tile m is 0 by 64"},
		{"tiles", "tile m: f32[64,64]", "tile m: f32[64,640000]", nil, "tile m is 64 by 640000"},
		{"tiles", "tile m: f32[64,64]", "tile m1: f32[2000,2000]\ntile m2: f32[2000,2000]\ntile m3: f32[2000,2000]\ntile m4: f32[2000,2000]\ntile m5: f32[2000,2000]\ntile m: f32[64,64]", nil, "the tiles have more than"},
		{"complete", "", "", func(k *Kernel) { k.Parts[0].Body[0].(*Load).Dst = nil }, "a *kernel.Load lacks a tile"},
		{"complete", "", "", func(k *Kernel) { theMap(k).Expr.Args[0] = nil }, "a *kernel.Map lacks"},
		{"complete", "", "", func(k *Kernel) { k.Parts[0].Body[0] = nil }, "a <nil> lacks"},
		{"declared", "", "", func(k *Kernel) { k.Tiles = k.Tiles[1:] }, "does not declare the tile a"},
		{"declared", "", "", func(k *Kernel) { k.Bufs = k.Bufs[1:] }, "does not declare the buffer x"},
		{"grids", "", "", func(k *Kernel) { k.Parts = nil }, "the kernel has 0 parts"},
		{"grids", "i: n step 32", "i: n step 0", nil, "axis i has the step 0"},
		{"grids", "i: n step 32", "i: n step 32, j2: i step 1", nil, "the extent of axis j2, i, uses i"},
		{"loops", "to n step 32", "to n step 0", nil, "the step is 0"},
		{"loops", "stages 2", "stages 17", nil, "there are 17 stages"},
		{"scope", "when n > 64", "when j > 64", nil, "the condition, 64 < j, uses j"},
		{"scope", "0 to n", "r to n", nil, "the lower bound, r, uses r"},
		{"scope", "w[r, c]", "w[x, c]", nil, "an index, x, uses x"},
		{"scope", "tile m: f32[64,64]", "tile m: f32[64,64] rows j", nil, "the count of tile m, j, uses j"},
		{"scope", "index(r)", "index(q)", nil, "the expression, q, uses q"},
		{"depth", "", "", func(k *Kernel) { k.Tiles[3].ValidRows = deep }, "more than 400 operators deep"},
		{"indices", "w[r, c]", "w[c]", nil, "buffer w has 2 dimensions, not 1"},
		{"indices", "w[r, c]", "w[c, c]", nil, "c occurs in 2 indices"},
		{"indices", "w[r, c]", "w[r, 2 * c]", nil, "2 * c is not c, once, plus something"},
		{"indices", "w[r, c]", "w[r, c mod 8]", nil, "c mod 8 is not c, once, plus something"},
		{"indices", "y[i + r, c]", "y[i + r, 0]", nil, "stores 64 columns to one place"},
		{"gather", "tile ids: i32[32,1] rows min(32, n - i)", "tile ids: i32[16,1]", nil, "it gathers by tile ids, i32[16,1]: it needs integers [32,1]"},
		{"gather", "gather ids", "gather big", nil, "it gathers by tile big"},
		{"load", "x: f32[0,64]", "x: i32[0,64]", nil, "it cannot load i32 as f32"},
		{"load", "k: i32[0]", "k: i64[0]", nil, "it cannot load i64 as i32"},
		{"store", "y: f32[0,64] write", "y: f32[0,64]", nil, "buffer y is not for writing"},
		{"store", "z: i64", "z: i32", nil, "it cannot store i64 as i32"},
		{"operators", "exp(s - big)", "exp(i64(s))", nil, "operand 1 of exp, i64(s), is i64"},
		{"operators", "i64(ids) + index(r)", "i64(ids) + ids", nil, "+ joins i64 and i32"},
		{"operators", "choose(test(c <= r), s, -inf)", "choose(s, s, s)", nil, "operand 1 of choose, s, is f32"},
		{"operators", "i64(ids) + index(r)", "ids", nil, "the value is i32, but tile wide is i64"},
		{"operators", "", "", func(k *Kernel) { theMap(k).Expr.Args = theMap(k).Expr.Args[:1] }, "+ has 1 operands, not 2"},
		{"operators", "", "", func(k *Kernel) { theMap(k).Expr.Elem = I64 }, "is f32, not i64"},
		{"map", "* low", "* part", nil, "tile part is 8 by 16 and cannot be repeated to 32 by 64"},
		{"dot", "s += dot(b, m' as bf16 by 32 in [i - n, i + 4] per 2 out [0 - i, 64] per 1)", "s += dot(b', m)", nil, "b sums 32 products, but m has 64"},
		{"dot", "tile m: f32[64,64]", "tile m: f32[64,64] rows 60 cols 60", nil, "of the products, a has all 64 valid, but m has 60"},
		{"dot", "in [i - n, ", "in [i - j, ", nil, "the lower bound of a band"},
		{"dot", "64] per 1", "64 + r] per 1", nil, "the upper bound of a band"},
		{"dot", "", "", func(k *Kernel) { k.Parts[0].Body[5].(*Dot).In.Per = 0 }, "a band goes one column on every 0 rows"},
		{"dot", "s = dot(a, m)", "part = dot(a, m)", nil, "tile part is 8 by 16, but the result is 32 by 64"},
		{"dot", "s = dot(a, m)", "s = dot(a, wide)", nil, "tile wide is i64, not f32"},
		{"dot", "as bf16", "as f16", nil, "operands of products are f32 or bf16, not f16"},
		{"reduce", "largest(s over cols)", "largest(s over rows)", nil, "tile big is 32 by 1, but the result is 1 by 64"},
		{"reduce", "largest(s over cols)", "largest(ids over cols)", nil, "a reduction is of f32, not i32 to f32"},
		{"transpose", "transpose(m)", "transpose(a)", nil, "tile t is 64 by 64, but the result is 64 by 32"},
		{"transpose", "transpose(m)", "transpose(wide)", nil, "tile t is f32 but wide is i64"},
		{"slice", "t[8, 16]", "t[8, 49]", nil, "part, 8 by 16, does not fit into t, 64 by 64, at [8, 49]"},
		{"slice", "t[0, 48]", "t[57, 48]", nil, "does not fit into t"},
		{"in place", "s += dot(b, m' as bf16 by 32 in [i - n, i + 4] per 2 out [0 - i, 64] per 1)", "s += dot(s, m')", nil, "it reads the tile s that it writes"},
		{"in place", "transpose(m)", "transpose(t)", nil, "it reads the tile t that it writes"},
		{"counts", "tile b: f32[32,64] rows min(32, n - i)", "tile b: f32[32,64]", nil, "of ids only min(32, n - i) are valid, but of b all 32"},
		{"counts", "tile big: f32[32,1] rows min(32, n - i)", "tile big: f32[32,1]", nil, "of s only min(32, n - i) are valid, but of big all 32"},
		{"counts", "tile big: f32[32,1] rows min(32, n - i)", "tile big: f32[32,1] rows 7", nil, "of s only min(32, n - i) are valid, but of big 7"},
		{"notes", "", "", func(k *Kernel) { theMap(k).Note = "\xff" }, "not valid UTF-8"},
	}
	tested := map[string]bool{}
	for _, c := range tests {
		tested[c.bullet] = true
		src := strings.Replace(legal, c.from, c.to, 1)
		if src == legal && c.change == nil {
			t.Errorf("%s: the edit of %q changes nothing", c.bullet, c.from)
		}
		k := legalKernel(t, src)
		if c.change != nil {
			c.change(k)
		}
		found := false
		var all []string
		for _, err := range k.Verify() {
			found = found || strings.Contains(err.Error(), c.want)
			all = append(all, err.Error())
		}
		if !found {
			t.Errorf("%s: no fault says %q, but\n%s", c.bullet, c.want, strings.Join(all, "\n"))
		}
	}
	src, err := os.ReadFile("verify.go")
	if err != nil {
		t.Fatal(err)
	}
	bullets := regexp.MustCompile(`(?m)^//\t(\w+(?: \w+)?)  +\S`).FindAllStringSubmatch(string(src), -1)
	if len(bullets) < 10 {
		t.Fatalf("found only %d bullets in verify.go", len(bullets))
	}
	for _, b := range bullets {
		if !tested[b[1]] {
			t.Errorf("no case is about %q", b[1])
		}
	}
}

// theMap is the map of the legal kernel's loop.
func theMap(k *Kernel) *Map {
	for _, s := range k.Parts[0].Body {
		if f, ok := s.(*For); ok {
			return f.Body[0].(*Map)
		}
	}
	return nil
}

// TestVerifyNamesStatement: a fault shows its statement and note, and all
// faults are reported.
func TestVerifyNamesStatement(t *testing.T) {
	src := strings.Replace(legal, "s = dot(a, m)", "s = dot(a, low)", 1)
	src = strings.Replace(src, "y: f32[0,64] write", "y: f32[0,64]", 1)
	errs := legalKernel(t, src).Verify()
	if len(errs) != 2 {
		t.Fatalf("%d faults, not 2: %v", len(errs), errs)
	}
	for i, want := range []string{"kernel legal: s = dot(a, low) // dot: ", "kernel legal: store y[i + r, c] = s // y: "} {
		if !strings.HasPrefix(errs[i].Error(), want) {
			t.Errorf("%q does not begin with %q", errs[i], want)
		}
	}
}
