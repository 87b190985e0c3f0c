package memc_test

import (
	"context"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/cuda/cudatest"
)

// on gives a golden case's program on a simulated GPU.
func (c goldenCase) on(t *testing.T, d *cudatest.Device, o memc.Options) (*runtime.Program, *artifact.Artifact) {
	t.Helper()
	o.Set, o.Targets = c.Set, []string{"sm_80"}
	a, err := memc.Compile(context.Background(), c.spec(), o)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := d.Start()
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.OnDriver(driver, a, "sm_80")
	if err != nil {
		t.Fatal(err)
	}
	return p, a
}

// TestGPUGolden: golden cases through the engine for GPUs, on a simulated one.
func TestGPUGolden(t *testing.T) {
	for name, cuts := range map[string][]int{
		"allmem-edge":     {5, 12}, // a write after 16
		"qwen3-tiny":      {1, 2},
		"ttt-linear-tiny": {2, 16},     // a mini-batch of 16
		"lact-tiny":       {15, 2},     // a write after 16
		"comet-tiny":      {16, 16, 1}, // beacons after 8, a write after 32
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := readCase(t, "testdata/golden/"+name)
			d := &cudatest.Device{}
			p, _ := c.on(t, d, memc.Options{Slab: 16})
			x := c.begin(t, p, 0)
			for _, n := range cuts {
				x.feed(n)
			}
			want := rowsOf(tensors(t, c.file("outputs"))["logits"], 0, x.at)
			if e := relative(t, x.out["logits"], want); !(e <= c.Tolerance) {
				t.Errorf("relative error %g, want at most %g (%v)", e, c.Tolerance, d.Fault)
			}
			t.Log(d.Calls)
		})
	}
}
