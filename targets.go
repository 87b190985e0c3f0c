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

// machines are the processors that there is code generation for, by target.
var machines = map[string]amd64.Machine{}

// processors are their targets, the fastest first.
var processors = func() (names []string) {
	for _, m := range []amd64.Machine{amd64.AMX, amd64.AVX512, amd64.AVX2} {
		machines[m.Name] = m
		names = append(names, m.Name)
	}
	return names
}()

// Processor reports whether a target is a processor's, with code that LLVM
// assembles.
func Processor(target string) bool { return slices.Contains(processors, target) }

// MachineOf is what a target's code is made for; the zero Machine where that is no
// processor.
func MachineOf(target string) amd64.Machine { return machines[target] }

// Groups are names that stand for several targets.
var Groups = map[string][]string{
	"cpu": processors,
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
	if target == "interp" {
		return nil
	}
	if m, ok := machines[target]; ok {
		return runtime.Supported(target, m.Features)
	}
	return runtime.SupportedGPU(target)
}

// GPU reports whether a target's code runs on a GPU.
func GPU(target string) bool { return slices.Contains(ptx.Targets(), target) }

// Buildable is nil where this machine can compile for a target; else the error
// says what to install.
func Buildable(target string) error {
	if Processor(target) {
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
	for _, t := range append(slices.Clone(processors), "interp") {
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
