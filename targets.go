package memc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/runtime"
)

// Groups are names that stand for several targets.
var Groups = map[string][]string{
	"cpu": {"avx512", "avx2"},
	"ptx": {"sm_80", "sm_90a"},
}

// ExpandTargets replaces groups by their targets and drops repeated names. The
// error of an unknown name lists the known ones.
func ExpandTargets(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		list, ok := Groups[name]
		if !ok {
			if !slices.Contains(Targets, name) {
				return nil, fmt.Errorf("there is no target %q; targets are %s, and the groups cpu and ptx", name, strings.Join(Targets, ", "))
			}
			list = []string{name}
		}
		for _, t := range list {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no target is named; targets are %s, and the groups cpu and ptx", strings.Join(Targets, ", "))
	}
	return out, nil
}

// Runnable is nil where this machine can run a target; else the error says what
// it lacks (*runtime.Unsupported).
func Runnable(target string) error {
	switch target {
	case "interp":
		return nil
	case "avx512":
		return runtime.Supported(target, amd64.AVX512.Features)
	case "avx2":
		return runtime.Supported(target, amd64.AVX2.Features)
	}
	return runtime.SupportedGPU(target)
}

// GPU reports whether a target's code runs on a GPU.
func GPU(target string) bool { return slices.Contains(ptx.Targets(), target) }

// Buildable is nil where this machine can compile for a target; else the error
// says what to install.
func Buildable(target string) error {
	if target == "avx512" || target == "avx2" {
		_, err := amd64.FindLLC()
		return err
	}
	return nil
}

// HostTargets are the targets of this machine's processor that it can run, the
// fastest first; the interpreter is always the last. A GPU is used where it is
// asked for by name.
func HostTargets() []string {
	var out []string
	for _, t := range []string{"avx512", "avx2", "interp"} {
		if Runnable(t) == nil {
			out = append(out, t)
		}
	}
	return out
}

// Lacks reports whether err says that the machine lacks something, as opposed
// to a fault of the input.
func Lacks(err error) bool {
	var u *runtime.Unsupported
	var m amd64.Missing
	return errors.As(err, &u) || errors.As(err, &m)
}
