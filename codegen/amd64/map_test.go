package amd64

import (
	"fmt"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// Every operator of a map agrees with the interpreter, on tiles, rows, columns
// and single elements, whatever is read in place.
func TestOperators(t *testing.T) {
	floats := []string{
		"x", "-x", "abs(x)", "x + y", "x - y", "x * y", "x / (2 + abs(y))", "min(x, y)", "max(x, y)", "floor(x * 8)",
		"exp(x)", "log(abs(x) + 0.25)", "sqrt(abs(x))", "rsqrt(abs(x) + 0.5)", "sigmoid(x)", "silu(x)", "softplus(x)", "tanh(x)",
		"costurn(x * 0.5)", "sinturn(x * 0.5)", "x * 1e-3 + y", "col * x + row - one", "exp(col - 1) * x",
		"turns(i * index(7 + p))", "turns(index(table(9223372036854775807 -9223372036854775808 5 0)[c - 2]))",
		"f32(i)", "f32(k)", "f32(x < y)", "choose(x < y, x, y * 2)", "choose(x <= y && 0 < x, x, y)", "choose(x == y || !(x < y), 1, 2)",
		"choose(test(c <= r), x, y)", "choose(test(p + r - c < 3 && c + 1 != r), x, y)", "choose(test(2 * c >= r + 5), x, 0)",
		"choose(test(5 - c < r), x, 0)", "choose(test((c + p) mod 3 == 1), x, y)", "choose(test((c * 7 + r) div 5 mod 2), x, y)",
		"choose(test(c * c < 40), x, y)", "choose(test(select(c < 5, r, c) < 7), x, y)", "choose(test(min(c, r) == max(c - 1, r)), x, y)",
		"choose(test(c == 3 || r == 2 || !(c < 15)), x, y)", "choose(test(p * 1000000007 - c * r < 3), x, y)", "choose(test(r), x, y)",
		"choose(test(table(1 0 0 1 1)[c] && c < 30), x, y)", "f32(index(table(3 1 4 1 5)[c * r - 3]))",
	}
	longs := []string{
		"i + j", "i - j", "i * j", "i / (j * j + index(1))", "mod(i, j * j + index(1))", "min(i, j)", "max(i, j)", "-i", "abs(i)",
		"choose(i < j, i, j)", "choose(i <= j, i, j)", "choose(i == j, i, j)", "i64(x * 100)", "i64(k)", "i64(x < y)",
		"index(c)", "index(r * 1000 + c)", "index((c - 9) div 4 * 3)", "index((c - 9) mod 4)", "index((c - 9) div 3 + (r - 2) mod 5)",
		"index(p * p + c)", "index(c mod (r + 1))", "index((c - 5) div (r + 2))", "index((c - 5) div (0 - r - 1) + (c - 5) mod (0 - r - 1))", "index(select(c mod 2 == 0, c, 0 - r))", "index((c < r) + 2 * (c == r))",
	}
	words := []string{"k + l", "k - l", "k * l", "min(k, l)", "max(k, l)", "-k", "choose(k < l, k, l)", "k / max(l, l * l)", "mod(k, max(l * l, k))"}
	var text strings.Builder
	n := 0
	kern := func(elem, dims, expr string) {
		// A dims of R,C: the destination; shapes of one row or one column have
		// operands of one row or one column only.
		rows, cols, _ := strings.Cut(dims, ",")
		fmt.Fprintf(&text, "kernel k%d(a: f32[0,19], b: f32[0,19], ai: i64[0,19], bi: i64[0,19], ak: i32[0,19], bk: i32[0,19], o: %s[0,19] write) ints(n, p) {\n", n, elem)
		valid := func(r, c string) string {
			s := ""
			if r != "1" {
				s += " rows min(" + r + ", n - g)"
			}
			if c == "19" {
				s += " cols min(19, n + 9)"
			}
			return s
		}
		for _, t := range []struct{ name, elem, r, c string }{{"x", "f32", rows, cols}, {"y", "f32", rows, cols}, {"i", "i64", rows, cols}, {"j", "i64", rows, cols},
			{"k", "i32", rows, cols}, {"l", "i32", rows, cols}, {"col", "f32", rows, "1"}, {"row", "f32", "1", cols}, {"one", "f32", "1", "1"}, {"z", elem, rows, cols}} {
			fmt.Fprintf(&text, "  tile %s: %s[%s,%s]%s\n", t.name, t.elem, t.r, t.c, valid(t.r, t.c))
		}
		fmt.Fprintf(&text, `  part grid(g: n step 8) {
    x = load a[g + r, c]
    y = load b[g + r, c]
    i = load ai[g + r, c]
    j = load bi[g + r, c]
    k = load ak[g + r, c]
    l = load bk[g + r, c]
    col = load a[g + r, 3]
    row = load b[0, c]
    one = load b[1, 1]
    z = map %s
    store o[g + r, c] = z
  }
}
`, expr)
		n++
	}
	for _, dims := range []string{"8,19", "8,1", "1,19"} {
		for _, e := range floats {
			kern("f32", dims, e)
		}
		for _, e := range longs {
			kern("i64", dims, e)
		}
		for _, e := range words {
			kern("i32", dims, e)
		}
	}
	ks := parse(t, text.String())
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, k := range ks {
			agree(t, m, p, []*kernel.Kernel{k}, 13, []int64{13, 77}, 1e-6)
		}
	}
}

// Scratch memory is shared by tiles that are never in use together, and a tile
// that a loop keeps has its own.
func TestScratchSharing(t *testing.T) {
	ks := parse(t, `kernel s(o: f32[0,64] write) ints(n) {
  tile t0: f32[64,64] rows min(64, n - g)
  tile t1: f32[64,64] rows min(64, n - g)
  tile t2: f32[64,64] rows min(64, n - g)
  tile t3: f32[64,64] rows min(64, n - g)
  tile kept: f32[64,64] rows min(64, n - g)
  tile only: f32[64,64] rows min(64, n - g)
  part grid(g: n step 64) {
    kept = map 0
    for i = 0 to 3 step 1 {
      t0 = map kept + 1
      t1 = map t0 * 2
      t2 = map t1 + f32(index(c + i))
      when i == 0 {
        only = map 1
      }
      only = map only + t2
      kept = map kept + only
    }
    t3 = map kept
    store o[g + r, c] = t3
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		if got, most := p.Scratch["s"], int64(4*(64*64*4+192)); got > most {
			t.Errorf("%s: %d bytes of scratch, more than four tiles", m.Name, got)
		}
		agree(t, m, p, ks, 70, []int64{70}, 0)
	}
}
