package memc

import (
	"context"
	"fmt"

	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
)

// Peak is a program whose one entry point, "peak", does nothing but f32 fused
// multiply-adds: flops of them (two each) for each thread in each call. Timed
// beside a program it says how much of the machine that program uses.
func Peak(ctx context.Context, target string) (a *artifact.Artifact, flops int64, err error) {
	machine, ok := machines[target]
	if !ok {
		return nil, 0, fmt.Errorf("there is no measure of the peak for the target %s", target)
	}
	blob, err := amd64.Peak(ctx, machine)
	if err != nil {
		return nil, 0, err
	}
	p := &plan.Plan{
		Target: target, Slab: 1, Arena: 128, Record: 2,
		Buffers:    []plan.Buffer{{Name: "y", Class: plan.Output, Elem: elem.F32, Dims: []int{1}, Bytes: 4}},
		Slots:      []plan.Slot{{Name: "pos"}, {Name: "n"}},
		Kernels:    []string{amd64.PeakName},
		Signatures: []plan.Signature{{}},
		Entries: []plan.Entry{{
			Name:    "peak",
			Outputs: []plan.Port{{Name: "y", Buffer: 0, Elem: elem.F32, Dims: []int{1}, Names: []string{"one"}}},
			Steps:   []plan.Step{{Kind: plan.Launch, Kernel: amd64.PeakName}},
		}},
	}
	return &artifact.Artifact{
		Manifest: artifact.Manifest{Name: "peak", Compiler: Version, Params: map[string]string{},
			Entries: []artifact.Entry{{Name: "peak", Outputs: []artifact.Port{{Name: "y", Elem: "f32", Dims: []string{"1"}}}}}},
		Targets: []artifact.Target{{Name: target, Format: "amd64", Features: blob.Features, Symbols: blob.Symbols, Scratch: blob.Scratch, Plan: p.String(), Code: blob.Code}},
	}, machine.PeakFlops(), nil
}
