package memc_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

type goldenCase struct {
	Spec, Entry string
	Set         map[string]json.RawMessage
	Tolerance   float64
}

func readCase(t *testing.T, dir string) goldenCase {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c goldenCase
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func tensors(t *testing.T, path string) map[string]runtime.Tensor {
	t.Helper()
	c, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.Tensors
}

func floats(x runtime.Tensor) []float64 {
	v := make([]float64, x.Len())
	for i := range v {
		v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(x.Data[4*i:])))
	}
	return v
}

func TestGolden(t *testing.T) {
	dirs, _ := filepath.Glob("testdata/golden/*")
	for _, dir := range dirs {
		c := readCase(t, dir)
		for _, target := range []string{"avx512", "avx2"} {
			t.Run(filepath.Base(dir)+"/"+target, func(t *testing.T) {
				start := time.Now()
				a, err := memc.Compile(context.Background(), "specs/"+c.Spec+".spec", memc.Options{Targets: []string{target}, Set: c.Set, Verify: true})
				if err != nil {
					t.Fatal(err)
				}
				compiled := time.Since(start)
				p, err := runtime.New(a, target)
				if err != nil {
					t.Fatal(err)
				}
				w, err := p.LoadWeights(filepath.Join(dir, "weights.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				want := floats(tensors(t, filepath.Join(dir, "outputs.safetensors"))["logits"])
				for _, threads := range []int{1, 2} {
					s, err := p.NewSession(w, runtime.Options{Threads: threads})
					if err != nil {
						t.Fatal(err)
					}
					start = time.Now()
					out, err := s.Call(context.Background(), c.Entry, tensors(t, filepath.Join(dir, "inputs.safetensors")))
					if err != nil {
						t.Fatal(err)
					}
					got := floats(out["logits"])
					var d, n float64
					for i, x := range want {
						d += (got[i] - x) * (got[i] - x)
						n += x * x
					}
					e := math.Sqrt(d / n)
					t.Log(fmt.Sprintf("threads %d compile %v run %v error %.2g", threads, compiled, time.Since(start), e))
					if !(e <= c.Tolerance) {
						t.Errorf("relative error %g, want at most %g", e, c.Tolerance)
					}
				}
			})
		}
	}
}
