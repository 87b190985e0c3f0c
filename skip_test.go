package memc_test

import (
	"bytes"
	"errors"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/cuda/cudatest"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// skips compares a stream that skips rows with one that reads them: lengths,
// counters and shapes are the same, and what it is fed behind a mark gives the
// same bits each time.
func (c goldenCase) skips(t *testing.T, p *runtime.Program, threads, rows, more int) {
	t.Helper()
	x, y := c.begin(t, p, threads), c.begin(t, p, threads)
	x.feed(rows)
	if err := y.session.Skip(t.Context(), int64(rows), int64(more), 1); err != nil {
		t.Fatal(err)
	}
	read, _, said, err := safetensors.Decode(x.state())
	if err != nil {
		t.Fatal(err)
	}
	skipped, _, skippedSaid, err := safetensors.Decode(y.state())
	if err != nil {
		t.Fatal(err)
	}
	for key, v := range said {
		if skippedSaid[key] != v {
			t.Errorf("%s is %q, %q where rows are read", key, skippedSaid[key], v)
		}
	}
	fresh, _, _, err := safetensors.Decode(c.begin(t, p, threads).state())
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range read {
		got := skipped[name]
		if got.Elem != v.Elem || !slices.Equal(got.Shape, v.Shape) {
			t.Errorf("%s is %s %v, %s %v where rows are read", name, got.Elem, got.Shape, v.Elem, v.Shape)
		}
		if !slices.Equal(v.Shape, fresh[name].Shape) && bytes.Count(got.Data, []byte{0}) > len(got.Data)/2 {
			t.Errorf("%s has %d zeros of %d bytes: nothing was drawn", name, bytes.Count(got.Data, []byte{0}), len(got.Data))
		}
	}
	for _, s := range []*stream{x, y} {
		s.at, s.out = rows, map[string]runtime.Tensor{}
		mark, err := s.session.Mark()
		if err != nil {
			t.Fatal(err)
		}
		room := s.session.StateBytes()
		s.feed(more)
		if s == y && s.session.StateBytes() != room {
			t.Errorf("the state grows from %d to %d bytes, there was to be room", room, s.session.StateBytes())
		}
		once := &stream{out: s.out}
		state := s.state()
		if err := s.session.Rewind(mark); err != nil {
			t.Fatal(err)
		}
		s.at, s.out = rows, map[string]runtime.Tensor{}
		for range more {
			s.feed(1)
		}
		for name, v := range once.out {
			if f, err := runtime.Float32(v); err == nil && slices.ContainsFunc(f, func(x float32) bool { return x-x != 0 }) {
				t.Errorf("%s is not finite", name)
			}
			if !bytes.Equal(v.Data, s.out[name].Data) {
				t.Errorf("after going back, %s has other bits", name)
			}
		}
		if !bytes.Equal(state, s.state()) {
			t.Errorf("after going back, the state has other bits")
		}
		if other, _ := c.begin(t, p, threads).session.Mark(); s.session.Rewind(other) == nil {
			t.Error("another session's mark is taken")
		}
	}
	if err := y.session.Skip(t.Context(), 1, 1, 1); err == nil || !strings.Contains(err.Error(), "only one that has read nothing") {
		t.Errorf("a stream that has read rows skips some: %v", err)
	}
}

// TestSkip: full attention, windows and memories, and lengths that are carried.
func TestSkip(t *testing.T) {
	targets := native(t)
	for _, x := range []struct {
		name, cache string
		rows        int
	}{{"qwen3-tiny", "", 29}, {"qwen3-tiny", "bf16", 29}, {"qwen3-tiny", "q8", 29}, {"qwen3-window", "bf16", 30}, {"allmem-tiny", "", 37}, {"comet-tiny", "", 50}} {
		t.Run(x.name+x.cache, func(t *testing.T) {
			t.Parallel()
			c := readCase(t, "testdata/golden/"+x.name)
			for _, p := range programs(t, c.spec(), c.Set, memc.Options{Cache: x.cache, Slab: 16}, targets...) {
				c.skips(t, p, 2, x.rows, 5)
			}
		})
	}
}

// TestGPUSkip is TestSkip on a simulated GPU.
func TestGPUSkip(t *testing.T) {
	c := readCase(t, "testdata/golden/qwen3-tiny")
	d := &cudatest.Device{}
	c.skips(t, onGPU(t, d, c.ptxOf(t, "sm_80", memc.Options{Slab: 16})), 0, 3, 2)
	if d.Fault != nil {
		t.Error(d.Fault)
	}
}

// TestSkipTooFar: what cannot be had is refused before anything is allocated.
func TestSkipTooFar(t *testing.T) {
	c := readCase(t, "testdata/golden/qwen3-tiny")
	slow := programs(t, c.spec(), c.Set, memc.Options{}, "interp")[0]
	if err := c.begin(t, slow, 0).session.Skip(t.Context(), 10, 1, 1); err == nil || !strings.Contains(err.Error(), "reads every row") {
		t.Errorf("in the interpreter: %v", err)
	}
	targets := native(t)
	if len(targets) == 0 || goruntime.GOOS != "linux" {
		t.Skip("the rest is about memory of compiled code on Linux")
	}
	x := c.begin(t, programs(t, c.spec(), c.Set, memc.Options{Slab: 1 << 16}, targets[0])[0], 1)
	err := x.session.Skip(t.Context(), 1<<36, 1, 1)
	var lacks *runtime.Unsupported
	if !errors.As(err, &lacks) || !strings.Contains(err.Error(), "GB of memory, and") {
		t.Errorf("2^36 rows: %v", err)
	}
	if x.session.Pos() != 0 {
		t.Errorf("a refused skip leaves the stream at %d", x.session.Pos())
	}
	x.feed(4)
}
