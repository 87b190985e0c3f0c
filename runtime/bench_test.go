package runtime

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// BenchmarkLoadWeights brings a matrix of bf16 into each layout.
func BenchmarkLoadWeights(b *testing.B) {
	needNative(b)
	const n, k = 2048, 2048
	path := filepath.Join(b.TempDir(), "w.safetensors")
	if err := safetensors.WriteFile(path, map[string]Tensor{"w": {Elem: BF16, Shape: []int{n, k}, Data: make([]byte, 2*n*k)}}, nil); err != nil {
		b.Fatal(err)
	}
	for _, to := range []struct {
		elem  plan.Elem
		panel int
	}{{plan.F32, 0}, {plan.F32, 32}, {plan.BF16, 32}, {plan.F16, 32}} {
		p := &plan.Plan{Slab: 1, Record: 2, Slots: []plan.Slot{{Name: "pos"}, {Name: "n"}}}
		bytes, err := plan.Bytes(to.elem, []int{n, k}, to.panel)
		if err != nil {
			b.Fatal(err)
		}
		p.Buffers = []plan.Buffer{{Name: "w", Elem: to.elem, Dims: []int{n, k}, Panel: to.panel, Bytes: bytes, Tensor: "w", Shape: []int{n, k}, Init: plan.Init{Kind: "normal", Scale: 1}}}
		target := tinyArtifact().Targets[0]
		e, err := newNative(p, &target)
		if err != nil {
			b.Fatal(err)
		}
		program := FromEngine("w", "w", "w", e)
		load := func(name string, load func() (*Weights, error)) {
			b.Run(fmt.Sprintf("%s/%s/panel=%d", name, to.elem, to.panel), func(b *testing.B) {
				b.SetBytes(2 * n * k)
				for b.Loop() {
					w, err := load()
					if err != nil {
						b.Fatal(err)
					}
					w.packed.region.Free()
				}
			})
		}
		load("file", func() (*Weights, error) { return program.LoadWeights(path) })
		load("drawn", func() (*Weights, error) { return program.DrawWeights(1) })
	}
}
