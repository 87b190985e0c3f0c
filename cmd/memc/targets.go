package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/klauspost/cpuid/v2"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/codegen/ptx"
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

type machineInfo struct {
	Processor string       `json:"processor"`
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
	for _, t := range memc.Targets {
		build, here := memc.Buildable(t), memc.Runnable(t)
		info := targetInfo{Target: t, Compiles: build == nil, Runs: here == nil && build == nil}
		var lacks []string
		for _, err := range []error{build, here} {
			if err != nil {
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

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
