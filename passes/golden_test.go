package passes_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
)

type goldenCase struct {
	Spec, Entry string
	Tokens      int
	Set         map[string]json.RawMessage
	Tolerance   float64
}

func load(t *testing.T, name string) (*ir.Module, goldenCase) {
	t.Helper()
	raw, err := os.ReadFile("../testdata/golden/" + name + "/case.json")
	if err != nil {
		t.Fatal(err)
	}
	var c goldenCase
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	m, diags := frontend.Load("../specs/"+c.Spec+".spec", nil, c.Set, nil)
	if diags != nil {
		t.Fatal(diags)
	}
	return m, c
}

var goldens = []string{"qwen3-tiny", "qwen3-window", "allmem-tiny", "allmem-edge", "allmem-wide", "passkey-allmem", "comet-tiny", "passkey-comet", "lact-tiny", "ttt-linear-tiny"}

func TestLower(t *testing.T) {
	for _, name := range goldens {
		t.Run(name, func(t *testing.T) {
			m, _ := load(t, name)
			p := loweredWith(t, m, passes.Options{Target: "avx512", Slab: 128, Tiling: passes.DefaultTiling, Fuse: true})
			t.Logf("%d kernels, %d buffers, arena %d", len(p.Kernels), len(p.Plan.Buffers), p.Plan.Arena)
			for _, e := range p.Plan.Verify() {
				t.Error(e)
			}
		})
	}
}
