package runtime_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
)

const compiledKernels = `
kernel project(x: f32[0,32], w: bf16[48,32]/16, y: f32[0,48] write) ints(n) {
  tile xa: f32[16,32] rows min(16, n - i)
  tile wb: f32[48,32]
  tile acc: f32[16,48] rows min(16, n - i)
  part grid(i: n step 16) {
    xa = load x[i + r, c] // test.spec:1
    wb = load w[r, c] // test.spec:1
    acc = dot(xa, wb') // test.spec:1
    store y[i + r, c] = acc // test.spec:1
  }
}
kernel running(y: f32[0,48] write, sum: f32[1,48] write) ints(n) {
  tile s: f32[1,16]
  tile row: f32[1,16]
  part grid(j: 48 step 16) {
    s = load sum[r, j + c] // test.spec:2
    for k = 0 to n step 1 {
      row = load y[k + r, j + c] // test.spec:2
      s = map s + row // test.spec:2
      store y[k + r, j + c] = s // test.spec:2
    }
    store sum[r, j + c] = s // test.spec:2
  }
}
`

const compiledPlan = `plan "TARGET"
slab 40
arena 12800
record 2
buffer 0 "x" input f32 [40, 32] bytes 5120 at 0
buffer 1 "w" weight bf16 [48, 32] panel 16 bytes 3072 tensor "w" shape [48, 32] init "normal" 1
buffer 2 "y" output f32 [40, 48] bytes 7680 at 5120
buffer 3 "sum" state f32 [1, 48] bytes 192 fill 0
slot 0 pos
slot 1 n
entry "forward" doc "" {
  input "x" buffer 0 f32 [40, 32] names ["t", "d"] clock rows = n
  output "y" buffer 2 f32 [40, 48] names ["t", "e"] clock rows = n
  launch "project" [0, 1, 2] [1]
  launch "running" [2, 3] [1]
}
`

// compiled makes an artifact of the kernels above for one machine.
func compiled(t *testing.T, m amd64.Machine) *artifact.Artifact {
	t.Helper()
	ks, err := kernel.Parse(compiledKernels)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := amd64.Compile(context.Background(), ks, m, nil)
	var missing amd64.Missing
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse(strings.Replace(compiledPlan, "TARGET", m.Name, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ks {
		p.Kernels = append(p.Kernels, k.Name)
		p.Signatures = append(p.Signatures, plan.SignatureOf(k))
	}
	return &artifact.Artifact{
		Manifest: artifact.Manifest{Name: "running"},
		Targets:  []artifact.Target{{Name: m.Name, Format: "amd64", Features: blob.Features, Symbols: blob.Symbols, Scratch: blob.Scratch, Plan: p.String(), Code: blob.Code}},
	}
}

// runnable skips a test of a program that this processor does not run.
func runnable(t *testing.T) func(*runtime.Program, error) *runtime.Program {
	return func(p *runtime.Program, err error) *runtime.Program {
		t.Helper()
		var lacks *runtime.Unsupported
		if errors.As(err, &lacks) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// TestCompiled takes kernels through the code generator, an artifact's file and
// a session, whole and in pieces.
func TestCompiled(t *testing.T) {
	for _, m := range []amd64.Machine{amd64.AVX512, amd64.AVX2} {
		t.Run(m.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.memc")
			if err := artifact.WriteFile(path, compiled(t, m)); err != nil {
				t.Fatal(err)
			}
			p := runnable(t)(runtime.Open(path, m.Name))
			w, err := p.DrawWeights(5)
			if err != nil {
				t.Fatal(err)
			}
			streams(t, p, w)
		})
	}
}

func streams(t *testing.T, p *runtime.Program, w *runtime.Weights) {
	const rows = 150
	rng := rand.New(rand.NewPCG(1, 9))
	x := make([]float32, rows*32)
	for i := range x {
		x[i] = rng.Float32() - 0.5
	}
	weight, err := w.Float32("w")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, rows*48)
	for r := range rows {
		for e := range 48 {
			if r > 0 {
				want[r*48+e] = want[(r-1)*48+e]
			}
			for k := range 32 {
				bf16 := math.Float32frombits((math.Float32bits(weight[e*32+k]) + 0x7fff + math.Float32bits(weight[e*32+k])>>16&1) &^ 0xffff)
				want[r*48+e] += float64(x[r*32+k]) * float64(bf16)
			}
		}
	}
	var first []float32
	for _, threads := range []int{1, 2} {
		for _, most := range []int{rows, 7} {
			s, err := p.NewSession(w, runtime.Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var got []float32
			for at := 0; at < rows; {
				n := min(rows-at, most)
				if most < rows {
					n = min(rows-at, 1+rng.IntN(most))
				}
				out, err := s.Call(context.Background(), "forward", map[string]runtime.Tensor{"x": runtime.FromFloat32(x[at*32:(at+n)*32], n, 32)})
				if err != nil {
					t.Fatal(err)
				}
				y, err := runtime.Float32(out["y"])
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, y...)
				at += n
			}
			if first == nil {
				first = got
				for i := range got {
					if math.Abs(float64(got[i])-want[i]) > 1e-3 {
						t.Fatalf("element %d is %v, want %v", i, got[i], want[i])
					}
				}
			}
			if !slices.Equal(got, first) {
				t.Errorf("%d threads, pieces of at most %d rows: other bits", threads, most)
			}
		}
	}
}
