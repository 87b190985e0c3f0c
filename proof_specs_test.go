package memc_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// ownSpecs are the specs of testdata/specs: models that nobody has published,
// which share nothing with those that the compiler was written next to. Each is
// run with its own parameters and with others.
var ownSpecs = []struct {
	file      string
	sets      []string
	tolerance float64
}{
	{"huber", []string{`{}`, `{"chunk": 5, "block": 7, "heads": 1, "head_dim": 13, "hidden": 9, "layers": 1}`, `{"chunk": 64, "block": 70}`}, 1e-4},
	// A state of 16 bits may round the other way where f32 and float64 lie on two sides of a tie.
	{"summaries", []string{`{}`, `{"chunk": 3, "budget": 5, "stride": 3, "nearest": 2, "layers": 1}`, `{"chunk": 70, "budget": 1, "groups": 2}`}, 2e-3},
	{"capped", []string{`{}`, `{"cap": 0.5, "window": 70, "slopes": [0.0, -0.25, 1e-3, 2]}`}, 1e-4},
	{"rounded", []string{`{}`, `{"chunk": 1}`}, 1e-2},
	{"recurrent", []string{`{}`, `{"chunk": 70, "units": 300, "layers": 1}`}, 1e-4},
	{"packed", []string{`{}`, `{"chunk": 70, "window": 80, "layers": 1}`}, 1e-4},
	{"momenta", []string{`{}`, `{"chunk": 1}`, `{"chunk": 63}`}, 1e-4},
	{"odd", []string{`{}`, `{"chunk": 37, "stride": 5, "budget": 13}`}, 2e-3},
	{"hashed", []string{`{}`, `{"near": 1, "far": 64, "sinks": 0}`}, 1e-4},
}

// TestOwnSpecs: new models need no change of the compiler; compiled code is near
// the interpreter, and gives the same bits however the stream is cut and moved.
func TestOwnSpecs(t *testing.T) {
	targets := native(t)
	files, _ := filepath.Glob("testdata/specs/*.spec")
	if len(files) != len(ownSpecs) {
		t.Errorf("%d specs are tested of %q", len(ownSpecs), files)
	}
	for _, c := range ownSpecs {
		for i, text := range c.sets {
			t.Run(fmt.Sprintf("%s/%d", c.file, i), func(t *testing.T) {
				set := parameters(t, text)
				in := tokens(uint64(i), 203, 40)
				if c.file == "packed" || c.file == "hashed" {
					pack(in, uint64(i))
				}
				if c.file == "hashed" {
					delete(in, "pos")
					delete(in, "reach")
				}
				var want *stream
				for _, o := range []memc.Options{{}, {NoFuse: true}, {Slab: 48}} {
					all := targets
					if want == nil {
						all = append([]string{"interp"}, targets...)
					}
					for _, p := range programs(t, "testdata/specs/"+c.file+".spec", set, o, all...) {
						w, err := p.DrawWeights(5)
						if err != nil {
							t.Fatal(err)
						}
						x := begin(t, p, w, 1, "forward", in).rest(every(1 << 20))
						if want == nil {
							want = x
							continue
						}
						if e := relative(t, x.out["logits"], want.out["logits"]); !(e <= c.tolerance) {
							t.Errorf("%s, %+v: relative error %g, want at most %g", p.Target(), o, e, c.tolerance)
						}
						for seed := range uint64(3) {
							begin(t, p, w, 1+int(seed)%2, "forward", in).rest(random(seed, []int{1, 30, 90}[seed])).same(x, fmt.Sprintf("%s, %+v, pieces %d", p.Target(), o, seed))
						}
						y, cut := begin(t, p, w, 2, "forward", in), random(9, 60)
						for y.at < y.rows {
							y.feed(cut())
							y = y.moved(1)
						}
						y.same(x, p.Target()+", saved and restored")
						last(t, p, w, in, x)
					}
				}
			})
		}
	}
}

// last: the entry next gives the last row of forward's, from the same states.
func last(t *testing.T, p *runtime.Program, w *runtime.Weights, in map[string]runtime.Tensor, whole *stream) {
	t.Helper()
	x := begin(t, p, w, 2, "forward", in)
	x.feed(100)
	x.entry = "next"
	x.out = map[string]runtime.Tensor{}
	x.rest(random(4, 40))
	want := whole.out["logits"]
	row := rowsOf(want, want.Shape[0]-1, want.Shape[0])
	if e := relative(t, x.out["logits"], row); !(e <= 1e-5) {
		t.Errorf("%s: next differs from forward's last row by %g", p.Target(), e)
	}
}

// tokens is a stream of random symbols.
func tokens(seed uint64, n, vocabulary int) map[string]runtime.Tensor {
	rng := rand.New(rand.NewPCG(seed, 3))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(vocabulary))
	}
	return map[string]runtime.Tensor{"tokens": runtime.FromInt32(ids)}
}

// pack adds documents to a stream of tokens: the number of each row's, so large
// that f32 does not tell it from the next one's, the row's place in it, and how
// far the row looks.
func pack(in map[string]runtime.Tensor, seed uint64) {
	n := in["tokens"].Shape[0]
	doc, pos, reach := make([]int32, n), make([]int32, n), make([]int32, n)
	rng := rand.New(rand.NewPCG(seed, 4))
	for i := range n {
		if i > 0 {
			doc[i], pos[i] = doc[i-1], pos[i-1]+1
		} else {
			doc[i] = 1<<30 - 3
		}
		if rng.IntN(30) == 0 {
			doc[i], pos[i] = doc[i]+1, 0
		}
		reach[i] = int32(rng.IntN(40)) - 5
	}
	in["doc"], in["pos"], in["reach"] = runtime.FromInt32(doc), runtime.FromInt32(pos), runtime.FromInt32(reach)
}
