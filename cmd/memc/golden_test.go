package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// TestGolden runs every golden case through memc exec on every target of this
// machine: whole, in pieces, and as two processes would that hand over the state.
func TestGolden(t *testing.T) {
	t.Setenv("MEMC_CACHE", t.TempDir())
	cases, err := filepath.Glob("../../testdata/golden/*/case.json")
	if err != nil || len(cases) < 10 {
		t.Fatalf("%d golden cases, %v", len(cases), err)
	}
	for _, target := range append([]string{"interp"}, memc.Groups["cpu"]...) {
		t.Run(target, func(t *testing.T) {
			for _, err := range []error{memc.Runnable(target), memc.Buildable(target)} {
				if err != nil {
					t.Skip(err)
				}
			}
			for _, file := range cases {
				dir := filepath.Dir(file)
				t.Run(filepath.Base(dir), func(t *testing.T) { golden(t, dir, target) })
			}
		})
	}
}

func golden(t *testing.T, dir, target string) {
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Spec, Entry string
		Tolerance   float64
		Set         map[string]json.RawMessage
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	exec := func(more ...string) {
		t.Helper()
		args := []string{"exec", "../../specs/" + c.Spec + ".spec", "--entry", c.Entry, "--target", target, "--weights", filepath.Join(dir, "weights.safetensors")}
		for k, v := range c.Set {
			args = append(args, "--set", k+"="+string(v))
		}
		memcOK(t, append(args, more...)...)
	}
	inputs := filepath.Join(dir, "inputs.safetensors")
	whole, pieces := filepath.Join(tmp, "whole"), filepath.Join(tmp, "pieces")
	exec("--in", inputs, "--out", whole)
	exec("--in", inputs, "--out", pieces, "--cut", "13", "--threads", "1")
	want, got := tensors(t, filepath.Join(dir, "outputs.safetensors")), tensors(t, whole)
	for name, w := range want {
		if d := distance(t, got[name], w); !(d <= c.Tolerance) {
			t.Errorf("%s differs by %g, allowed is %g", name, d, c.Tolerance)
		}
	}
	same(t, "in pieces of 13 rows", tensors(t, pieces), got)

	// Two calls, the state handed over in a file.
	in := tensors(t, inputs)
	first, second, state := map[string]runtime.Tensor{}, map[string]runtime.Tensor{}, filepath.Join(tmp, "state")
	for name, x := range in {
		first[name], second[name] = rowsOf(x, 0, 5), rowsOf(x, 5, x.Shape[0])
	}
	write(t, filepath.Join(tmp, "first"), first)
	write(t, filepath.Join(tmp, "second"), second)
	exec("--in", filepath.Join(tmp, "first"), "--out", filepath.Join(tmp, "out1"), "--state-out", state)
	exec("--in", filepath.Join(tmp, "second"), "--out", filepath.Join(tmp, "out2"), "--state-in", state)
	joined := tensors(t, filepath.Join(tmp, "out1"))
	for name, x := range tensors(t, filepath.Join(tmp, "out2")) {
		j := joined[name]
		j.Shape[0] += x.Shape[0]
		j.Data = append(j.Data, x.Data...)
		joined[name] = j
	}
	same(t, "with the state handed over", joined, got)
}

// memcOK runs a command line that must do what it says, and gives its output.
func memcOK(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("memc %s: exit code %d\n%s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

func tensors(t *testing.T, file string) map[string]runtime.Tensor {
	t.Helper()
	x, err := readTensors(file)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func write(t *testing.T, file string, x map[string]runtime.Tensor) {
	t.Helper()
	if err := safetensors.WriteFile(file, x, nil); err != nil {
		t.Fatal(err)
	}
}

// distance is ‖got − want‖₂ / ‖want‖₂, NaN where a value is.
func distance(t *testing.T, got, want runtime.Tensor) float64 {
	t.Helper()
	g, errg := runtime.Float32(got)
	w, errw := runtime.Float32(want)
	if errg != nil || errw != nil || len(g) != len(w) {
		t.Fatalf("%v and %v: %v, %v", got.Shape, want.Shape, errg, errw)
	}
	var a, b float64
	for i := range g {
		d := float64(g[i]) - float64(w[i])
		a += d * d
		b += float64(w[i]) * float64(w[i])
	}
	return math.Sqrt(a / b)
}

func same(t *testing.T, how string, got, want map[string]runtime.Tensor) {
	t.Helper()
	for name, w := range want {
		if !bytes.Equal(got[name].Data, w.Data) {
			t.Errorf("%s the bits of %s differ", how, name)
		}
	}
}
