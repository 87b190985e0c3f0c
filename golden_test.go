package memc_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// goldenCase is a folder of testdata/golden: a spec with parameters, and what
// it gives in float64.
type goldenCase struct {
	Spec, Entry string
	Set         map[string]json.RawMessage
	Tolerance   float64
	dir         string
}

func (c goldenCase) spec() string { return "specs/" + c.Spec + ".spec" }

func readCase(t *testing.T, dir string) goldenCase {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := goldenCase{dir: dir}
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// eachCase runs a test for every golden case.
func eachCase(t *testing.T, f func(t *testing.T, c goldenCase)) {
	dirs, _ := filepath.Glob("testdata/golden/*")
	if len(dirs) == 0 {
		t.Fatal("there are no golden cases")
	}
	for _, dir := range dirs {
		c := readCase(t, dir)
		t.Run(filepath.Base(dir), func(t *testing.T) { f(t, c) })
	}
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

func (c goldenCase) file(name string) string { return filepath.Join(c.dir, name+".safetensors") }

func (c goldenCase) begin(t *testing.T, p *runtime.Program, threads int) *stream {
	t.Helper()
	w, err := p.LoadWeights(c.file("weights"))
	if err != nil {
		t.Fatal(err)
	}
	return begin(t, p, w, threads, c.Entry, tensors(t, c.file("inputs")))
}

// near compares all outputs with the case's.
func (c goldenCase) near(t *testing.T, x *stream, tolerance float64) {
	t.Helper()
	want := tensors(t, c.file("outputs"))
	if len(want) == 0 {
		t.Fatal("the case has no outputs")
	}
	for name, v := range want {
		if e := relative(t, x.out[name], v); !(e <= tolerance) {
			t.Errorf("%s: relative error %g, want at most %g", name, e, tolerance)
		}
	}
}

// TestGoldenInterpreter: the graph after all passes, in float64, is the golden
// case to what its file's f32 can hold, whole and in pieces.
func TestGoldenInterpreter(t *testing.T) {
	eachCase(t, func(t *testing.T, c goldenCase) {
		p := programs(t, c.spec(), c.Set, memc.Options{Verify: true}, "interp")[0]
		whole := c.begin(t, p, 1).rest(every(1 << 20))
		c.near(t, whole, 1e-6)
		cut := c.begin(t, p, 1)
		cut.feed(10)
		c.near(t, cut.moved(1).rest(random(1, 90)), 1e-6)
	})
}

// TestGolden: compiled code is near, and gives the same bits however a stream is
// cut, on whatever number of threads, and over a saved state.
func TestGolden(t *testing.T) {
	targets := native(t)
	eachCase(t, func(t *testing.T, c goldenCase) {
		for _, p := range programs(t, c.spec(), c.Set, memc.Options{Verify: true}, targets...) {
			t.Run(p.Target(), func(t *testing.T) {
				whole := c.begin(t, p, 1).rest(every(1 << 20))
				c.near(t, whole, c.Tolerance)
				for _, threads := range []int{1, 2} {
					for _, cut := range []struct {
						how  string
						rows func() int
					}{{"whole", every(1 << 20)}, {"by 7", every(7)}, {"token by token", every(1)}, {"random", random(1, 100)}, {"short random", random(2, 20)}} {
						c.begin(t, p, threads).rest(cut.rows).same(whole, fmt.Sprintf("%s, %d threads", cut.how, threads))
					}
				}
				for seed := range uint64(4) {
					x, cut := c.begin(t, p, 1+int(seed)%2), random(10+seed, max(whole.rows/3, 1))
					for x.at < x.rows {
						x.feed(cut())
						x = x.moved(1 + x.at%3)
					}
					x.same(whole, fmt.Sprintf("saved and restored, seed %d", seed))
				}
			})
		}
	})
}

// TestGoldenSlabs: a slab is a cut, so that its size changes no bits.
func TestGoldenSlabs(t *testing.T) {
	targets := native(t)
	eachCase(t, func(t *testing.T, c goldenCase) {
		want := map[string]*stream{}
		for _, slab := range []int{512, 64, 16} {
			for _, p := range programs(t, c.spec(), c.Set, memc.Options{Slab: slab}, targets...) {
				x := c.begin(t, p, 2).rest(every(1 << 20))
				c.near(t, x, c.Tolerance)
				if want[p.Target()] == nil {
					want[p.Target()] = x
				}
				for name, v := range want[p.Target()].out {
					if !slices.Equal(x.out[name].Data, v.Data) {
						t.Errorf("%s: %s has other bits with slabs of %d rows than of 512", p.Target(), name, slab)
					}
				}
			}
		}
	})
}

// TestGoldenUnfused: every node a kernel of its own.
func TestGoldenUnfused(t *testing.T) {
	targets := native(t)
	eachCase(t, func(t *testing.T, c goldenCase) {
		for _, p := range programs(t, c.spec(), c.Set, memc.Options{NoFuse: true}, targets...) {
			whole := c.begin(t, p, 2).rest(every(1 << 20))
			c.near(t, whole, c.Tolerance)
			c.begin(t, p, 1).rest(random(3, 50)).same(whole, p.Target()+", random pieces")
		}
	})
}
