package memc_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// storage is a way to store weights or histories.
type storage struct {
	options memc.Options
	moves   float64
}

// storages are the ways to store that options name, with the most that a golden
// case's results may move: a bound that a fault breaks, no measure of quality.
var storages = []storage{
	{memc.Options{Quantize: "q8"}, 0.05},
	{memc.Options{Quantize: "q4"}, 0.6},
	{memc.Options{Cache: "bf16"}, 0.01},
	{memc.Options{Cache: "f16"}, 0.001},
	{memc.Options{Cache: "q8"}, 0.02},
	{memc.Options{Quantize: "q8", Cache: "q8"}, 0.05},
	{memc.Options{Quantize: "q8", Products: "q8"}, 0.05},
	{memc.Options{Quantize: "q4", Products: "q8"}, 0.6},
}

// optionsOf gives the options of ways to store.
func optionsOf(list []storage) (out []memc.Options) {
	for _, s := range list {
		out = append(out, s.options)
	}
	return out
}

// TestStorage: with weights or histories in fewer bits, compiled code is as near
// to the interpreter, which runs the same graph in float64, as without; it gives
// the same bits however a stream is cut, on whatever number of threads, and over
// a saved state.
func TestStorage(t *testing.T) {
	targets := native(t)
	for _, s := range storages {
		t.Run(fmt.Sprintf("weights %s, cache %s, products %s", s.options.Quantize, s.options.Cache, s.options.Products), func(t *testing.T) {
			eachCase(t, func(t *testing.T, c goldenCase) {
				t.Parallel()
				o := s.options
				o.Verify, o.Set = true, c.Set
				if _, err := memc.Load(c.spec(), o); o.Cache != "" && err != nil && strings.Contains(err.Error(), "there is no attention") {
					return // the error is what is wanted
				}
				// Rounding values has steps: a key that f32 puts on the other side of
				// one moves a result further than f32 does.
				tolerance := c.Tolerance
				if o.Cache != "" || o.Products != "" {
					tolerance = max(tolerance, min(s.moves/5, 0.02))
				}
				all := programs(t, c.spec(), c.Set, o, append([]string{"interp"}, targets...)...)
				ref := c.begin(t, all[0], 1).rest(every(1 << 20))
				c.near(t, ref, s.moves)
				for name, v := range tensors(t, c.file("outputs")) {
					t.Logf("%s moves by %.2g", name, relative(t, ref.out[name], v))
				}
				for _, p := range all[1:] {
					whole := c.begin(t, p, 1).rest(every(1 << 20))
					for name, v := range ref.out {
						if e := relative(t, whole.out[name], v); !(e <= tolerance) {
							t.Errorf("%s, %s: %g from the interpreter, want at most %g", p.Target(), name, e, tolerance)
						}
					}
					// Threads wait for each other many times a call, for long where
					// other tests have the processors: single tokens on two threads
					// are a few, all of them are on one.
					c.begin(t, p, 1).rest(every(1)).same(whole, p.Target()+", token by token")
					y := c.begin(t, p, 2)
					for range min(y.rows-1, 40) {
						y.feed(1)
					}
					y.rest(random(1, 60)).same(whole, p.Target()+", random pieces on two threads")
					x := c.begin(t, p, 1)
					x.feed(x.rows / 3)
					x.moved(2).rest(random(2, 90)).same(whole, p.Target()+", saved and restored")
				}
			})
		})
	}
}

// TestStorageHasEffect: an option that can change nothing is an error, in a
// sentence that says why.
func TestStorageHasEffect(t *testing.T) {
	for _, c := range []struct {
		spec, text string
		o          memc.Options
	}{
		{"specs/bench/attend.spec", "no weight can be stored as q8", memc.Options{Quantize: "q8"}},
		{"specs/bench/contract.spec", "there is no attention", memc.Options{Cache: "q8"}},
		{"specs/bench/contract.spec", "there are q8, q4", memc.Options{Quantize: "q5"}},
		{"specs/bench/contract.spec", "stored as q8 are already", memc.Options{Quantize: "q8", Set: map[string]json.RawMessage{"weights": json.RawMessage(`"q8"`)}}},
		{"specs/bench/attend.spec", "there are f32, bf16, f16, q8", memc.Options{Cache: "q4"}},
	} {
		set := params("heads", "kv_heads", "head_dim")
		if strings.Contains(c.spec, "contract") {
			set = params("K", "N")
		}
		maps.Copy(set, c.o.Set)
		c.o.Set = set
		_, err := memc.Load(c.spec, c.o)
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s with %q and %q: %v, want an error with %q", c.spec, c.o.Quantize, c.o.Cache, err, c.text)
		}
	}
}

// params sets parameters to 8.
func params(names ...string) map[string]json.RawMessage {
	set := map[string]json.RawMessage{}
	for _, name := range names {
		set[name] = json.RawMessage("8")
	}
	return set
}

// TestHostileWeights: what codes cannot stand for is refused by name, on every
// target.
func TestHostileWeights(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 2e30} {
		w := make([]float32, 64)
		w[63] = bad
		path := t.TempDir() + "/w.safetensors"
		if err := safetensors.WriteFile(path, map[string]runtime.Tensor{"w": runtime.FromFloat32(w, 8, 8)}, nil); err != nil {
			t.Fatal(err)
		}
		for _, p := range programs(t, "specs/bench/contract.spec", params("K", "N"), memc.Options{Quantize: "q4"}, append(native(t), "interp")...) {
			weights, err := p.LoadWeights(path)
			if err == nil {
				var s *runtime.Session
				if s, err = p.NewSession(weights, runtime.Options{}); err == nil {
					_, err = s.Call(t.Context(), "forward", map[string]runtime.Tensor{"x": runtime.FromFloat32(make([]float32, 8), 1, 8)})
					s.Close()
				}
			}
			if err == nil || !strings.Contains(err.Error(), "the tensor w holds") {
				t.Errorf("%s with %v: %v", p.Target(), bad, err)
			}
		}
	}
}
