package ptx

import (
	"fmt"
	"slices"
	"strings"
)

// target is one GPU architecture. Shared is the most bytes of shared memory
// that one CTA may ask for (CUDA C++ Programming Guide, "Technical
// Specifications per Compute Capability"); ptx is the first PTX version that
// knows the name (PTX ISA, "Release Notes").
type target struct {
	name   string
	sm     int
	ptx    int
	shared int
}

var targets = []target{
	{"sm_80", 80, 70, 163 << 10},
	{"sm_86", 86, 71, 99 << 10},
	{"sm_87", 87, 74, 163 << 10},
	{"sm_89", 89, 78, 99 << 10},
	{"sm_90", 90, 78, 227 << 10},
	{"sm_90a", 90, 80, 227 << 10},
	{"sm_100", 100, 86, 227 << 10},
	{"sm_120", 120, 87, 99 << 10},
}

// Targets lists the names that Print accepts.
func Targets() []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.name
	}
	return names
}

func findTarget(name string) (target, error) {
	i := slices.IndexFunc(targets, func(t target) bool { return t.name == name })
	if i < 0 {
		return target{}, fmt.Errorf("ptx: no target is called %q; there are %s", name, strings.Join(Targets(), ", "))
	}
	return targets[i], nil
}
