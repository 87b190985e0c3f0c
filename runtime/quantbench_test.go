package runtime

import (
	"path/filepath"
	"testing"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// BenchmarkQuantise: what loading weights with codes takes, on one processor.
func BenchmarkQuantise(b *testing.B) {
	for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
		b.Run(e.String(), func(b *testing.B) {
			const rows, cols, panel = 32, 1024, 32
			v := make([]float32, rows*cols)
			drawReader(1, "w", plan.Init{Kind: "normal", Scale: 1})(v, 0)
			j := job{layout: layoutOf(e, []int{rows, cols}, panel), to: make([]byte, e.MatrixBytes(rows, cols, panel)), elem: e}
			j.codes = &coder{tensor: "w", elem: e, ks: cols, read: func(dst []float32, from int) { copy(dst, v[from:]) }}
			var s scratch
			b.SetBytes(4 * rows * cols)
			for b.Loop() {
				if err := j.quantise(&s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoadCodes: what loading a matrix as codes takes, from bf16 and from a
// file that has the codes.
func BenchmarkLoadCodes(b *testing.B) {
	const n, k, panel = 8192, 4096, 32
	dir := b.TempDir()
	v := make([]float32, n*k)
	drawReader(1, "w", plan.Init{Kind: "normal", Scale: 1})(v, 0)
	data := make([]byte, 2*n*k)
	narrow(data, v, plan.BF16)
	from := filepath.Join(dir, "bf16")
	if err := safetensors.WriteFile(from, map[string]Tensor{"w": {Elem: BF16, Shape: []int{n, k}, Data: data}}, nil); err != nil {
		b.Fatal(err)
	}
	for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
		p := reading("w", []int{n, k}, e)
		w, err := p.LoadWeights(from)
		if err != nil {
			b.Fatal(err)
		}
		to := filepath.Join(dir, e.String())
		if _, err := w.WriteQuantised(b.Context(), to); err != nil {
			b.Fatal(err)
		}
		lies := &plan.Plan{Buffers: []plan.Buffer{{Elem: e, Dims: []int{n, k}, Panel: panel, Bytes: e.MatrixBytes(n, k, panel), Tensor: "w", Shape: []int{n, k}}}}
		for _, path := range []string{from, to} {
			b.Run(e.String()+" from "+filepath.Base(path), func(b *testing.B) {
				b.SetBytes(n * k) // of weights: millions a second
				for b.Loop() {
					w, err := p.LoadWeights(path)
					if err != nil {
						b.Fatal(err)
					}
					k, err := packPlan(lies, w)
					if err != nil {
						b.Fatal(err)
					}
					k.region.Free()
					w.file.Close()
				}
			})
		}
	}
}
