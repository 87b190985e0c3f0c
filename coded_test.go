package memc_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// TestQuantisedFile: a file of quantised weights is the same whichever target
// writes it, and gives every target the results and states, to the bit, of
// quantising the original ones when they are loaded. A program that stores f32
// computes with code times scale.
func TestQuantisedFile(t *testing.T) {
	targets := append(native(t), "interp")
	for _, quantize := range memc.Quantizations {
		eachCase(t, func(t *testing.T, c goldenCase) {
			t.Parallel()
			var want []byte
			path := filepath.Join(t.TempDir(), "quantised")
			for _, p := range programs(t, c.spec(), c.Set, memc.Options{Quantize: quantize}, targets...) {
				original := weightsOf(t, p, c.file("weights"))
				if _, err := original.WriteQuantised(t.Context(), path); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s writes %s otherwise than %s", p.Target(), quantize, targets[0])
				}
				in := tensors(t, c.file("inputs"))
				x := begin(t, p, original, 1, c.Entry, in).rest(every(1 << 20))
				y := begin(t, p, weightsOf(t, p, path), 1, c.Entry, in).rest(every(1 << 20))
				y.same(x, p.Target()+", weights from the file")
				if !bytes.Equal(x.state(), y.state()) {
					t.Errorf("%s: the saved states differ", p.Target())
				}
			}
			q := programs(t, c.spec(), c.Set, memc.Options{Quantize: quantize}, "interp")[0]
			f := programs(t, c.spec(), c.Set, memc.Options{}, "interp")[0]
			a, b := weightsOf(t, q, c.file("weights")), weightsOf(t, f, path)
			for _, w := range q.Params() {
				if len(w.Stored) != 1 || !w.Stored[0].Quantised() {
					continue
				}
				codes, err := a.Quantised(w.Name, w.Stored[0])
				if err != nil {
					t.Fatal(err)
				}
				if read, err := b.Float32(w.Name); err != nil || !slices.Equal(codes, read) {
					t.Errorf("%s: f32 programs read others than code times scale: %v", w.Name, err)
				}
			}
			begin(t, f, b, 1, c.Entry, tensors(t, c.file("inputs"))).feed(1)
		})
	}
}

func weightsOf(t *testing.T, p *runtime.Program, path string) *runtime.Weights {
	t.Helper()
	w, err := p.LoadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestQuantisedFileOfSpec: a spec that says itself what is stored as codes needs no
// option, types may differ from weight to weight, and rows may have any length.
func TestQuantisedFileOfSpec(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mixed.spec")
	text := `clock t
dim k = 67
dim m = 9
dim n = 5
entry forward(x f32[t, k]) -> y f32[t, n] =
    weight("b")[n, m] as q4 @ (weight("a")[m, k] as q8 @ x)
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	from := filepath.Join(t.TempDir(), "from")
	rng := rand.New(rand.NewPCG(15, 16))
	if err := safetensors.WriteFile(from, map[string]runtime.Tensor{"a": around0(rng, 9, 67), "b": around0(rng, 5, 9)}, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs(t, path, nil, memc.Options{}, append(native(t), "interp")...) {
		original := weightsOf(t, p, from)
		q, err := original.WriteQuantised(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if q.Types["a"] != elem.Q8 || q.Types["b"] != elem.Q4 || q.Copied != 0 {
			t.Errorf("%+v", q)
		}
		in := map[string]runtime.Tensor{"x": around0(rng, 20, 67)}
		x := begin(t, p, original, 1, "forward", in).rest(every(20))
		begin(t, p, weightsOf(t, p, file), 1, "forward", in).rest(every(20)).same(x, p.Target())
	}
}
