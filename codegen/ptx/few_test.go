package ptx

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// manyText is a gated product with what stands around it in a layer: two weights, a
// map, a residual and a bias.
const manyText = `kernel many(x: f32[0,512], w: Q[160,512], v: Q[160,512], b: f32[160], y: f32[0,160], z: f32[0,160] write) ints(n) {
  tile a: f32[128,512] rows min(128, n - i)
  tile p: f32[512,128] cols min(128, 160 - j)
  tile q: f32[512,128] cols min(128, 160 - j)
  tile s: f32[128,128] rows min(128, n - i) cols min(128, 160 - j)
  tile u: f32[128,128] rows min(128, n - i) cols min(128, 160 - j)
  tile o: f32[1,128] cols min(128, 160 - j)
  tile e: f32[128,128] rows min(128, n - i) cols min(128, 160 - j)
  part grid(i: n step 128, j: 160 step 128) {
    a = load x[i + r, c] // m.spec:1 x
    p = load w[j + c, r] // m.spec:1 w
    s = dot(a, p by 512) // m.spec:2 y
    q = load v[j + c, r] // m.spec:1 v
    u = dot(a, q by 512) // m.spec:2 y
    o = load b[j + c] // m.spec:1 b
    e = load y[i + r, j + c] // m.spec:1 y
    e = map silu(s) * u + e * o // m.spec:3 y
    store z[i + r, j + c] = e // m.spec:3 y
  }
}
`

func manyOf(t testing.TB, elem string) *kernel.Kernel {
	t.Helper()
	text := strings.ReplaceAll(manyText, "Q[160,512]", elem)
	ks, err := kernel.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	ks[0].Name += elem[:2]
	return ks[0]
}

// A product has blocks for few rows too, and these give a row the bits that it has
// among many; codes' groups are shared by warps there.
func TestFewRows(t *testing.T) {
	for elem, cols := range map[string]string{"bf16[160,512]": "64", "q8[160,512]/8": "16", "q4[160,512]/8": "16"} {
		t.Run(elem, func(t *testing.T) {
			k := manyOf(t, elem)
			text := mustPrint(t, "sm_80", k).Text
			if !strings.Contains(text, "tile s_few: f32[16,"+cols+"]") {
				t.Errorf("there are no blocks of 16 x %s:\n%.1500s", cols, text)
			}
			const many = 17
			bufs := coding(k, many, rand.New(rand.NewSource(3)))
			before := clone(bufs)
			agree(t, "sm_80", k, bufs, []int64{many}, 2, 2e-5)
			for _, rows := range []int{1, 16} {
				few := clone(before)
				for i, b := range k.Bufs {
					if b.Dims[0] == 0 { // the last rows, alone
						each := len(few[i]) / many
						copy(few[i], before[i][(many-rows)*each:])
					}
				}
				simulate(t, "sm_80", k, few, []int64{int64(rows)}, 3)
				each := len(bufs[5]) / many
				if !bytes.Equal(few[5][:rows*each], bufs[5][(many-rows)*each:]) {
					t.Errorf("%d rows alone have other bits", rows)
				}
			}
		})
	}
}

// What looks at more than its own rows, or at where it is, stays as it is.
func TestNotFewRows(t *testing.T) {
	for _, change := range [][2]string{
		{"map silu(s) * u + e * o", "map choose(test(i + r < 3), s, u)"},
		{"y[i + r, j + c]", "y[(i + r) mod 7, j + c]"},
		{"y[i + r, j + c]", "y[i * 2 + r, j + c]"},
		{"  e = map", "  o = sum(e over rows) // m.spec:3 y\n    e = map"},
		{"i: n step 128", "i: 300 step 128"},
		{"step 128, j", "step 16, j"},
	} {
		ks, err := kernel.Parse(strings.Replace(strings.ReplaceAll(manyText, "Q[", "bf16["), change[0], change[1], 1))
		if err != nil {
			t.Fatal(err)
		}
		if k := withFew(ks[0]); len(k.Parts) != 1 {
			t.Errorf("%q has blocks for few rows", change[1])
		}
	}
	ks, err := kernel.Parse(strings.ReplaceAll(manyText, "Q[", "bf16["))
	if err != nil {
		t.Fatal(err)
	}
	if k := withFew(ks[0]); len(k.Parts) != 2 || len(k.Verify()) > 0 {
		t.Errorf("%d parts, %v", len(k.Parts), k.Verify())
	}
}
