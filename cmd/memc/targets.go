package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/klauspost/cpuid/v2"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/runtime/cuda"
)

type targetsCmd struct{}

// targetInfo says what this machine can do with a target. Compiles is whether
// memc can compile for it here, Runs whether the result runs here.
type targetInfo struct {
	Target   string `json:"target"`
	Compiles bool   `json:"compiles"`
	Runs     bool   `json:"runs"`
	Missing  string `json:"missing,omitempty"`
}

// gpuInfo is a GPU that the driver shows.
type gpuInfo struct {
	Name       string `json:"name"`
	Memory     int64  `json:"memory_bytes"`
	Capability string `json:"compute_capability"`
}

type machineInfo struct {
	Processor string       `json:"processor"`
	Driver    string       `json:"cuda_driver,omitempty"` // the CUDA that the NVIDIA driver is of
	GPUs      []gpuInfo    `json:"gpus"`
	NoGPU     string       `json:"no_gpu,omitempty"` // why there is none
	LLC       string       `json:"llc,omitempty"`
	Ptxas     string       `json:"ptxas,omitempty"`
	Targets   []targetInfo `json:"targets"`
	Missing   []string     `json:"missing"` // tools, with the command that installs each
}

func (targetsCmd) Run(a *app) error {
	r := machineInfo{Processor: cpuid.CPU.BrandName, Missing: []string{}}
	var err error
	if r.LLC, err = amd64.FindLLC(); err != nil {
		r.Missing = append(r.Missing, err.Error())
	}
	if r.Ptxas, err = ptx.FindPtxas(""); err != nil {
		r.Missing = append(r.Missing, err.Error())
	}
	if err := r.gpus(); err != nil {
		r.NoGPU = err.Error()
	}
	for _, t := range memc.Targets {
		build, here := memc.Buildable(t), memc.Runnable(t)
		info := targetInfo{Target: t, Compiles: build == nil, Runs: here == nil && build == nil}
		var lacks []string
		for _, err := range []error{build, here} {
			switch {
			case err == nil:
			case memc.GPU(t) && r.NoGPU != "":
				lacks = append(lacks, "needs an NVIDIA GPU")
			default:
				lacks = append(lacks, err.Error())
			}
		}
		info.Missing = strings.Join(lacks, "; ")
		r.Targets = append(r.Targets, info)
	}
	return a.print(r, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "target\tcompiles\truns\t")
		for _, i := range r.Targets {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", i.Target, yes(i.Compiles), yes(i.Runs), i.Missing)
		}
		t.Flush()
		fmt.Fprintf(w, "\nprocessor: %s\n", r.Processor)
		for _, g := range r.GPUs {
			fmt.Fprintf(w, "GPU: %s, compute capability %s, %s of memory, driver for CUDA %s\n", g.Name, g.Capability, size(g.Memory), r.Driver)
		}
		if r.NoGPU != "" {
			fmt.Fprintf(w, "GPU: none: %s\n", r.NoGPU)
		}
		if r.LLC != "" {
			fmt.Fprintf(w, "llc: %s\n", r.LLC)
		}
		if r.Ptxas != "" {
			fmt.Fprintf(w, "ptxas: %s\n", r.Ptxas)
		}
		for _, m := range r.Missing {
			fmt.Fprintf(w, "missing: %s\n", m)
		}
	})
}

// gpus lists what the NVIDIA driver shows; the error says why it shows nothing.
func (r *machineInfo) gpus() error {
	r.GPUs = []gpuInfo{}
	d, err := cuda.Open()
	if err != nil {
		return err
	}
	r.Driver = d.Version().String()
	all, err := d.Devices()
	if err != nil {
		return err
	}
	for _, i := range all {
		r.GPUs = append(r.GPUs, gpuInfo{i.Name, i.Memory, fmt.Sprintf("%d.%d", i.Capability/10, i.Capability%10)})
	}
	if len(all) == 0 {
		return errors.New("the NVIDIA driver shows none")
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
