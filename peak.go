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
	a, err = limit(ctx, target, amd64.PeakName)
	return a, machines[target].PeakFlops(), err
}

// ReadPeak is Peak for memory: its one entry point, "read", reads so many bytes
// in each call, all threads together, and more of them than caches hold. They
// are a weight of the program, and take memory as long as it is there.
func ReadPeak(ctx context.Context, target string) (a *artifact.Artifact, bytes int64, err error) {
	a, err = limit(ctx, target, amd64.ReadName, plan.Buffer{
		Name: "data", Class: plan.Weight, Elem: elem.F32, Dims: []int{amd64.ReadBytes / 4}, Bytes: amd64.ReadBytes,
		Tensor: "data", Shape: []int{amd64.ReadBytes / 4}, Init: plan.Init{Kind: "const", Scale: 1},
	})
	return a, amd64.ReadBytes, err
}

// limit is a program of one kernel of those that measure a machine, which is
// given these buffers. A program must have an output: it stays as it is.
func limit(ctx context.Context, target, kernel string, bufs ...plan.Buffer) (*artifact.Artifact, error) {
	machine, ok := machines[target]
	if !ok {
		return nil, fmt.Errorf("there is no measure of the peak for the target %s", target)
	}
	blob, err := amd64.Limits(ctx, machine)
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{
		Target: target, Slab: 1, Arena: 128, Record: 2,
		Buffers:    []plan.Buffer{{Name: "y", Class: plan.Output, Elem: elem.F32, Dims: []int{1}, Bytes: 4}},
		Slots:      []plan.Slot{{Name: "pos"}, {Name: "n"}},
		Kernels:    []string{kernel},
		Signatures: []plan.Signature{{}},
	}
	step := plan.Step{Kind: plan.Launch, Kernel: kernel}
	for _, b := range bufs {
		step.Bufs = append(step.Bufs, len(p.Buffers))
		p.Buffers = append(p.Buffers, b)
		p.Signatures[0].Bufs = append(p.Signatures[0].Bufs, plan.Param{Elem: b.Elem, Dims: b.Dims})
	}
	p.Entries = []plan.Entry{{
		Name:    kernel,
		Outputs: []plan.Port{{Name: "y", Buffer: 0, Elem: elem.F32, Dims: []int{1}, Names: []string{"one"}}},
		Steps:   []plan.Step{step},
	}}
	return &artifact.Artifact{
		Manifest: artifact.Manifest{Name: kernel, Compiler: Version, Params: map[string]string{},
			Entries: []artifact.Entry{{Name: kernel, Outputs: []artifact.Port{{Name: "y", Elem: "f32", Dims: []string{"1"}}}}}},
		Targets: []artifact.Target{{Name: target, Format: "amd64", Features: blob.Features, Symbols: blob.Symbols, Scratch: blob.Scratch, Plan: p.String(), Code: blob.Code}},
	}, nil
}
