package runtime_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/runtime"
)

// TestInPlace feeds long inputs that kernels may read where they are, and some
// that they may not: one that ends where its memory does, one that is not
// aligned, one that the output overwrites. All have the same bits.
func TestInPlace(t *testing.T) {
	const rows = 7000
	a := compiled(t, amd64.AVX2)
	long := strings.NewReplacer("slab 40", "slab 4096", "arena 12800", "arena 1310848",
		"[40, 32] bytes 5120", "[4096, 32] bytes 524288", "[40, 48] bytes 7680 at 5120", "[4096, 48] bytes 786432 at 524352", "[40, ", "[4096, ")
	a.Targets[0].Plan = long.Replace(a.Targets[0].Plan)
	p := runnable(t)(runtime.New(a, ""))
	w, err := p.DrawWeights(5)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 9))
	x := make([]float32, rows*48+32)
	for i := range x {
		x[i] = rng.Float32() - 0.5
	}
	tensor := func(v []float32) runtime.Tensor { return runtime.FromFloat32(v, rows, 32) }
	roomy := slices.Clone(x[:rows*32])
	roomy = append(make([]float32, 0, rows*32+16), roomy...)
	tight := slices.Clip(slices.Clone(x[:rows*32]))
	shifted := append(make([]float32, 0, rows*32+17), 0)
	shifted = append(shifted, x[:rows*32]...)[1:]
	over := slices.Clone(x)
	for _, threads := range []int{1, 2} {
		var first []float32
		for _, c := range []struct {
			name    string
			in      runtime.Tensor
			onto    []byte
			in1, y1 bool // the last slab is read, and written, in place
		}{
			{"with room behind", tensor(roomy), nil, true, true},
			{"without room", tensor(tight), nil, false, true},
			{"not aligned", tensor(shifted), nil, false, true},
			{"overwritten", tensor(over[rows*16:][:rows*32]), runtime.FromFloat32(over).Data, false, false},
		} {
			if c.name == "overwritten" { // from behind, so that no slab's output reaches the next one's input
				copy(over[rows*16:], x[:rows*32])
			}
			s, err := p.NewSession(w, runtime.Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			out := []runtime.Tensor{{Data: c.onto}}
			if err := s.Run(context.Background(), 0, []runtime.Tensor{c.in}, out); err != nil {
				t.Fatal(err)
			}
			y, err := runtime.Float32(out[0])
			if err != nil {
				t.Fatal(err)
			}
			if in, out := runtime.InPlace(s, 0); in[0] != c.in1 || out[0] != c.y1 {
				t.Errorf("%s: input in place %t, output %t; want %t and %t", c.name, in[0], out[0], c.in1, c.y1)
			}
			if first == nil {
				first = slices.Clone(y)
			}
			if !slices.Equal(first, y) {
				t.Errorf("%s, %d threads: other bits", c.name, threads)
			}
		}
	}
}
