package ptx

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

var product = regexp.MustCompile(`(dot\([^)]*)\)`)

// tensorKernels reads the reference kernels with products that tensor cores may
// compute, from buffers without panels; bf16 says that products round.
func tensorKernels(t testing.TB, file string, group int, bf16 bool, replace ...string) []*kernel.Kernel {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "ir", "kernel", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	how := fmt.Sprintf(" by %d)", group)
	if bf16 {
		how = " as bf16" + how
	}
	s := product.ReplaceAllString(string(text), "$1"+how)
	s = strings.ReplaceAll(s, "]/32", "]")
	s = strings.NewReplacer(replace...).Replace(s)
	ks, err := kernel.Parse(s)
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return ks
}

// The reference kernels on tensor cores compute what the interpreter does.
func TestReferenceKernelsOnTensorCores(t *testing.T) {
	for _, tc := range []struct {
		file  string
		size  float64
		group int
		args  [][]int64
	}{
		{"contract.kernel", 1, 64, [][]int64{{1}, {65}}},
		{"attend.kernel", 1, 64, [][]int64{{1, 0}, {33, 300}, {2, 1<<40 + 77}}},
		{"recur.kernel", 0.1, 8, [][]int64{{1}, {70}}},
	} {
		for _, bf16 := range []bool{false, true} {
			for _, k := range tensorKernels(t, tc.file, tc.group, bf16) {
				for i, args := range tc.args {
					t.Run(fmt.Sprint(k.Name, bf16, args), func(t *testing.T) {
						bufs := fill(k, int(args[0]), rand.New(rand.NewSource(int64(i))), tc.size)
						tolerance := 1e-4
						if bf16 {
							tolerance = 3e-3
						}
						agree(t, "sm_80", k, bufs, args, []int{1, 3, 40}[i], tolerance)
					})
				}
			}
		}
	}
}

// narrow has products of few columns, whose right operands lie in a panel and as
// rows of k, in bf16.
func narrow(t testing.TB) *kernel.Kernel {
	t.Helper()
	ks, err := kernel.Parse(`kernel narrow(x: f32[0,16], w: bf16[8,16]/8, v: bf16[16,8], y: f32[0,8] write) ints(n) {
  tile a: f32[16,16] rows min(16, n - i)
  tile b: f32[8,16]
  tile c: f32[16,8]
  tile s: f32[16,8] rows min(16, n - i)
  part grid(i: n step 16) {
    a = load x[i + r, c] // narrow.spec:1 x
    b = load w[r, c] // narrow.spec:1 w
    c = load v[r, c] // narrow.spec:1 v
    s = dot(a, b' by 16) // narrow.spec:2 y
    s += dot(a, c as bf16 by 8) // narrow.spec:2 y
    store y[i + r, c] = s // narrow.spec:2 y
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	return ks[0]
}

func TestNarrowProducts(t *testing.T) {
	k := narrow(t)
	bufs := fill(k, 21, rand.New(rand.NewSource(4)), 1)
	agree(t, "sm_80", k, bufs, []int64{21}, 1, 1e-5)
}

func TestAssemblerTakesTensorKernels(t *testing.T) {
	path := ptxas(t)
	var ks []*kernel.Kernel
	for _, bf16 := range []bool{false, true} {
		for file, group := range map[string]int{"contract.kernel": 64, "attend.kernel": 64, "recur.kernel": 8} {
			for _, k := range tensorKernels(t, file, group, bf16) {
				k.Name += fmt.Sprint(bf16)
				ks = append(ks, k)
			}
		}
	}
	ks = append(append(ks, ofF16(t)...), append(codedKernels(t, kernel.Q8), codedKernels(t, kernel.Q4)...)...)
	for _, e := range []string{"bf16[160,512]", "f16[160,512]", "q8[160,512]/8", "q4[160,512]/8"} {
		ks = append(ks, manyOf(t, e))
	}
	for _, target := range where {
		m := mustPrint(t, target, ks...)
		if !strings.Contains(m.Text, "mma.sync") {
			t.Fatal("no product is on tensor cores")
		}
		a := accept(t, path, m.Text, target)
		for i, u := range a.Usage {
			if u.SpillStore > 0 {
				t.Errorf("%s spills %d bytes", u.Name, u.SpillStore)
			}
			t.Log(target, u.Name, u.Registers, "registers", m.Kernels[i])
		}
	}
}

// A row's product does not depend on the rows beside it, to the bit.
func TestRowsOfProductsAreAlone(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		k := tensorKernels(t, "contract.kernel", 64, bf16)[0]
		const rows, last = 40, 39
		whole := fill(k, rows, rand.New(rand.NewSource(8)), 1)
		one := clone(whole)
		copy(one[0][:4*256], whole[0][4*256*last:]) // the last row comes alone, as the first
		simulate(t, "sm_80", k, whole, []int64{rows}, 2)
		simulate(t, "sm_80", k, one, []int64{1}, 2)
		if got, want := string(one[2][:4*512]), string(whole[2][4*512*last:4*512*rows]); got != want {
			t.Errorf("bf16 %v: a row alone gives other bits", bf16)
		}
	}
}

// ofF16 has products of operands that lie as f16, beside others and by themselves,
// and maps of such.
func ofF16(t testing.TB) []*kernel.Kernel {
	t.Helper()
	ks, err := kernel.Parse(`kernel beside(x: f32[0,160], w: f16[64,160], y: f32[0,64] write) ints(n) {
  tile a: f32[32,160] rows min(32, n - i)
  tile b: f32[64,160]
  tile s: f32[32,64] rows min(32, n - i)
  part grid(i: n step 32) {
    a = load x[i + r, c] // f.spec:1 x
    b = load w[r, c] // f.spec:1 w
    s = dot(a, b' by 16) // f.spec:2 y
    store y[i + r, c] = s // f.spec:2 y
  }
}

kernel odd(x: f32[0,33], w: f16[24,33], y: f16[0,24] write) ints(n) {
  tile a: f32[16,33] rows min(16, n - i)
  tile b: f32[24,33]
  tile s: f32[16,24] rows min(16, n - i)
  part grid(i: n step 16) {
    a = load x[i + r, c] // f.spec:1 x
    b = load w[r, c] // f.spec:1 w
    s = dot(a, b' by 16) // f.spec:2 y
    store y[i + r, c] = s // f.spec:2 y
  }
}

kernel both(x: f16[0,64], w: f16[64,24], y: f32[0,24] write) ints(n) {
  tile a: f32[16,64] rows min(16, n - i)
  tile b: f32[64,24]
  tile s: f32[16,24] rows min(16, n - i)
  part grid(i: n step 16) {
    a = load x[i + r, c] // f.spec:1 x
    b = load w[r, c] // f.spec:1 w
    s = dot(a, b by 16) // f.spec:2 y
    s += dot(a, b by 8) // f.spec:2 y
    store y[i + r, c] = s // f.spec:2 y
  }
}

kernel added(x: f16[0,16], y: f16[0,16] write) ints(n) {
  tile a: f32[16,16] rows min(16, n - i)
  tile b: f32[16,16]
  tile s: f32[16,16] rows min(16, n - i)
  part grid(i: n step 16) {
    a = load x[i + r, c] // f.spec:1 x
    b = load x[r, c] // f.spec:1 x
    s = dot(b, b as bf16 by 16) // f.spec:2 y
    s = map s + a // f.spec:2 y
    store y[i + r, c] = s // f.spec:2 y
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// An operand that lies as f16 takes part as the two bf16 terms that it is, or as it
// stands beside another one of f16; by 16-byte copies, step by step, or one by one.
func TestProductsOfF16(t *testing.T) {
	ks := ofF16(t)
	mma := regexp.MustCompile(`mma\.\S+\.f32\.(b?f16)\.`)
	for i, want := range []struct {
		elem      string
		near      string // how b lies
		each      int    // mma of a product
		tolerance float64
	}{{"bf16", "its buffer", 5, 3e-5}, {"bf16", "f16", 5, 1e-3}, {"f16", "f16", 1, 3e-5}, {"bf16", "f16", 1, 1e-2}} {
		k := ks[i]
		t.Run(k.Name, func(t *testing.T) {
			text := mustPrint(t, "sm_80", k).Text
			found := mma.FindAllStringSubmatch(text, -1)
			if len(found) == 0 || len(found)%want.each != 0 || found[0][1] != want.elem {
				t.Errorf("%d mma, %v", len(found), found)
			}
			if !regexp.MustCompile(`//   .*` + want.near + ` +tile b: `).MatchString(text) {
				t.Errorf("b does not lie as %s:\n%.1500s", want.near, text)
			}
			for n, ctas := range map[int64]int{1: 1, 37: 2} {
				bufs := fill(k, int(max(n, 16)), rand.New(rand.NewSource(n)), 1)
				agree(t, "sm_80", k, bufs, []int64{n}, ctas, want.tolerance)
			}
		})
	}
}

// Of a sum of groups of 8, two products of parts of one group go by in an
// instruction that is wide enough for 16 terms.
func TestGroupsOfEight(t *testing.T) {
	for i, want := range []struct {
		w           string
		wide, short int // instructions of 8 terms
	}{{"f32", 3, 0}, {"bf16", 1, 1}} {
		ks, err := kernel.Parse(strings.ReplaceAll(`kernel eight(x: f32[0,24], w: W[24,8], y: f32[0,8] write) ints(n) {
  tile a: f32[16,24] rows min(16, n - i)
  tile b: f32[24,8]
  tile s: f32[16,8] rows min(16, n - i)
  part grid(i: n step 16) {
    a = load x[i + r, c] // e.spec:1 x
    b = load w[r, c] // e.spec:1 w
    s = dot(a, b by 8) // e.spec:2 y
    store y[i + r, c] = s // e.spec:2 y
  }
}
`, "W", want.w))
		if err != nil {
			t.Fatal(err)
		}
		text := mustPrint(t, "sm_80", ks...).Text
		// 24 terms are one group and a half: the last half is computed with zeros.
		wide, short := strings.Count(text, "mma.sync.aligned.m16n8k16"), strings.Count(text, "mma.sync.aligned.m16n8k8")
		if wide != 4*want.wide || short != 4*want.short {
			t.Errorf("%s: %d wide and %d short instructions for 32 terms, not %d and %d", want.w, wide, short, 4*want.wide, 4*want.short)
		}
		agree(t, "sm_80", ks[0], fill(ks[0], 16, rand.New(rand.NewSource(int64(i))), 1), []int64{13}, 1, 3e-5)
	}
}

// A matrix by a vector, and a vector by a matrix: what comes from buffers step by
// step is summed where its sums are no tile of registers.
func TestProductsOfVectors(t *testing.T) {
	ks, err := kernel.Parse(`kernel vectors(w: bf16[200,160], x: f32[160], y: f32[200] write, z: f32[160] write, v: f32[128]) ints() {
  tile a: f32[128,160] rows min(128, 200 - i)
  tile b: f32[160,1]
  tile s: f32[128,1] rows min(128, 200 - i)
  tile d: f32[1,128]
  tile e: f32[128,160]
  tile f: f32[1,160]
  part grid(i: 200 step 128) {
    a = load w[i + r, c] // v.spec:1 w
    b = load x[r] // v.spec:1 x
    s = dot(a, b by 32) // v.spec:2 y
    store y[i + r] = s // v.spec:2 y
  }
  part grid() {
    d = load v[c] // v.spec:1 v
    e = load w[r, c] // v.spec:1 w
    f = dot(d, e by 8) // v.spec:3 z
    store z[c] = f // v.spec:3 z
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	k := ks[0]
	if m := mustPrint(t, "sm_80", k); m.Kernels[0].Scratch > 0 || strings.Count(m.Text, " its buffer ") != 2 {
		t.Errorf("the matrices are not taken from their buffers:\n%.2000s", m.Text)
	}
	agree(t, "sm_80", k, fill(k, 0, rand.New(rand.NewSource(5)), 1), nil, 3, 1e-5)
}
