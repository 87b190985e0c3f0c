package ptx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindPtxasTakesAPath(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "ptxas")
	if err := os.WriteFile(good, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := FindPtxas(good); err != nil || got != good {
		t.Errorf("%q, %v", got, err)
	}
	missing := filepath.Join(dir, "none")
	if _, err := FindPtxas(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a path to nothing: %v", err)
	}
}

func TestFindPtxasSearches(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got, err := FindPtxas(""); err == nil && !strings.HasPrefix(got, "/usr/local/cuda") && !strings.HasPrefix(got, "/opt/cuda") {
		t.Errorf("with nothing in PATH it found %s", got)
	} else if err != nil && !strings.Contains(err.Error(), "nvidia-cuda-nvcc") {
		t.Errorf("the error does not say how to get it: %v", err)
	}
	good := filepath.Join(dir, "ptxas")
	if err := os.WriteFile(good, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := FindPtxas(""); err != nil || got != good {
		t.Errorf("%q, %v; want the one in PATH", got, err)
	}
}

func TestAssembleSaysWhatIsWrong(t *testing.T) {
	path := ptxas(t)
	text := header(70, "sm_80") + ".visible .entry k()\n{\n    frobnicate.f32 %f0;\n}\n"
	if _, err := Assemble(t.Context(), path, text, "sm_80"); err == nil || !strings.Contains(err.Error(), "line 8") {
		t.Errorf("%v; want the line", err)
	}
	if _, err := Assemble(t.Context(), path, text, "sm_1"); err == nil || !strings.Contains(err.Error(), "sm_80, ") {
		t.Errorf("%v; want the targets", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Assemble(stopped, path, text, "sm_80"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want the context's error", err)
	}
}

func TestReadLog(t *testing.T) {
	a := readLog(`ptxas info    : 24 bytes gmem
ptxas warning : Unresolved extern variable 'x'
ptxas info    : Compiling entry function 'a_b' for 'sm_80'
ptxas info    : Function properties for a_b
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 64 bytes smem, 368 bytes cmem[0]
ptxas info    : Compile time = 3.1 ms
`)
	want := Usage{Name: "a_b", Registers: 40, Stack: 16, SpillStore: 12, SpillLoad: 20, Shared: 64}
	if len(a.Usage) != 1 || a.Usage[0] != want {
		t.Errorf("%+v, want %+v", a.Usage, want)
	}
	if len(a.Warnings) != 1 {
		t.Errorf("%q", a.Warnings)
	}
}
