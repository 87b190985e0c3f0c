package memc_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/ir/kernel"
)

// ptxSets are the parameters with which specs that have no golden case are
// printed: sizes that no tile divides, and whole ones.
var ptxSets = map[string][]string{
	"specs/bench/attend.spec": {`{"heads": 4, "kv_heads": 2, "head_dim": 16, "window": 24, "sinks": 2}`, `{"heads": 2, "kv_heads": 2, "head_dim": 128}`},
	"specs/bench/chain.spec":  {`{"K": 48, "layers": 3, "weights": "bf16"}`},
	"specs/bench/contract.spec": {`{"K": 48, "N": 20}`, `{"K": 512, "N": 256, "weights": "bf16"}`, `{"K": 33, "N": 65, "weights": "f16"}`,
		`{"K": 192, "N": 136, "weights": "q8"}`, `{"K": 192, "N": 136, "weights": "q4"}`},
	"specs/bench/recur.spec":    {`{"heads": 2, "dim": 32, "hidden": 48, "chunk": 16}`, `{"heads": 1, "dim": 192, "hidden": 136, "chunk": 24}`},
	"specs/bench/hybrid.spec":   {`{"heads": 2, "dim": 32, "hidden": 48, "chunk": 16, "kv_heads": 1, "head_dim": 16, "window": 24}`},
	"specs/bench/tied.spec":     {`{"heads": 2, "dim": 32, "hidden": 48, "chunk": 16, "window": 24}`},
	"testdata/specs/huber.spec": {`{}`}, "testdata/specs/summaries.spec": {`{}`}, "testdata/specs/rounded.spec": {`{}`}, "testdata/specs/capped.spec": {`{}`},
	"testdata/specs/odd.spec":    {`{}`},
	"testdata/specs/packed.spec": {`{}`}, "testdata/specs/recurrent.spec": {`{}`}, "testdata/specs/momenta.spec": {`{}`}, "testdata/specs/hashed.spec": {`{}`},
}

// everySpec gives each spec with each set of parameters that tests have for it.
func everySpec(t *testing.T) map[string][]map[string]json.RawMessage {
	t.Helper()
	out := map[string][]map[string]json.RawMessage{}
	for spec, sets := range ptxSets {
		for _, s := range sets {
			out[spec] = append(out[spec], parameters(t, s))
		}
	}
	dirs, _ := filepath.Glob("testdata/golden/*")
	for _, dir := range dirs {
		c := readCase(t, dir)
		out[c.spec()] = append(out[c.spec()], c.Set)
	}
	for _, pattern := range []string{"specs/*.spec", "specs/bench/*.spec", "testdata/specs/*.spec"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			if len(out[f]) == 0 {
				t.Errorf("no test has parameters for %s", f)
			}
		}
	}
	return out
}

// place is where in a spec a kernel's statement comes from, behind it in its text.
var place = regexp.MustCompile(`//[^\n]*`)

// lowerFor gives the kernels of a spec for a target, with names of their own,
// each text once, wherever it comes from: known holds those of earlier calls.
func lowerFor(t *testing.T, spec string, set map[string]json.RawMessage, target string, known map[string]bool) []*kernel.Kernel {
	t.Helper()
	var out []*kernel.Kernel
	for _, k := range lowered(t, spec, set, target, 0).Kernels {
		name, _, _ := strings.Cut(k.Name, "(")
		k.Name = "k"
		text := place.ReplaceAllString(k.String(), "")
		k.Name = fmt.Sprintf("%s_%d", name, len(known))
		if !known[text] {
			known[text] = true
			out = append(out, k)
		}
	}
	return out
}

// TestNoKernelSpills: in sizes at which registers are scarce, a thread's hold what
// it has at one time.
func TestNoKernelSpills(t *testing.T) {
	path := assembler(t)
	for i, c := range []struct{ spec, set, cache string }{
		{"contract", `{"K": 1024, "N": 512}`, ""},
		{"contract", `{"K": 1024, "N": 512, "weights": "f16"}`, ""},
		{"contract", `{"K": 1024, "N": 512, "weights": "q8"}`, ""},
		{"contract", `{"K": 1024, "N": 512, "weights": "q4"}`, ""},
		{"attend", `{"heads": 2, "kv_heads": 2, "head_dim": 64}`, "f16"},
		{"attend", `{"heads": 2, "kv_heads": 2, "head_dim": 128}`, ""},
		{"attend", `{"heads": 2, "kv_heads": 2, "head_dim": 128}`, "f16"},
		{"recur", `{"heads": 2, "dim": 32, "hidden": 32, "chunk": 128}`, ""},
		{"recur", `{"heads": 2, "dim": 64, "hidden": 64, "chunk": 128}`, ""},
		{"recur", `{"heads": 2, "dim": 128, "hidden": 128, "chunk": 128}`, ""},
		{"recur", `{"heads": 2, "dim": 256, "hidden": 256, "chunk": 128}`, ""},
		{"hybrid", `{"heads": 2, "dim": 256, "hidden": 256, "chunk": 128, "kv_heads": 2, "head_dim": 128}`, "bf16"},
	} {
		t.Run(fmt.Sprint(c.spec, i), func(t *testing.T) {
			t.Parallel()
			p := loweredWith(t, "specs/bench/"+c.spec+".spec", memc.Options{Set: parameters(t, c.set), Cache: c.cache}, "sm_80")
			m := printed(t, p.Kernels, "sm_80")
			a, err := ptx.Assemble(t.Context(), path, m.Text, "sm_80")
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range a.Usage {
				if u.SpillStore > 0 {
					t.Errorf("%s spills %d bytes", u.Name, u.SpillStore)
				}
			}
		})
	}
}

// assembler finds ptxas; where it must be there, CI says so.
func assembler(t *testing.T) string {
	t.Helper()
	path, err := ptx.FindPtxas("")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// TestAssemblerTakesEverySpec: NVIDIA's assembler has nothing to say against any
// kernel of any spec, on any architecture.
func TestAssemblerTakesEverySpec(t *testing.T) {
	path := assembler(t)
	known := map[string]bool{}
	specs := everySpec(t)
	for _, spec := range slices.Sorted(maps.Keys(specs)) {
		t.Run(strings.TrimSuffix(filepath.Base(spec), ".spec"), func(t *testing.T) {
			var ks []*kernel.Kernel
			for _, set := range specs[spec] {
				ks = append(ks, lowerFor(t, spec, set, "sm_80", known)...)
			}
			if len(ks) == 0 {
				return // others have all of its kernels
			}
			for _, target := range []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"} {
				t.Run(target, func(t *testing.T) {
					t.Parallel()
					m := printed(t, ks, target)
					a, err := ptx.Assemble(t.Context(), path, m.Text, target)
					if err != nil {
						t.Fatal(err)
					}
					if len(a.Warnings) > 0 || len(a.Usage) != len(ks) {
						t.Errorf("%d of %d kernels; %q", len(a.Usage), len(ks), a.Warnings)
					}
				})
			}
		})
	}
}
