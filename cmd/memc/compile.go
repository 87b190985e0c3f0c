package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime/artifact"
)

type compileCmd struct {
	source
	Out    string   `short:"o" placeholder:"FILE" help:"Where to write the artifact; without it NAME.memc in the current folder."`
	Target []string `placeholder:"T" help:"Targets, or the groups cpu and ptx; without it those that this machine can run."`
}

type compiledTarget struct {
	Target   string   `json:"target"`
	Format   string   `json:"format"`
	Bytes    int      `json:"code_bytes"`
	Kernels  int      `json:"kernels"`
	Features []string `json:"features"`
}

type compiled struct {
	Spec    string           `json:"spec"`
	File    string           `json:"file"`
	Bytes   int              `json:"bytes"`
	Targets []compiledTarget `json:"targets"`
	Seconds float64          `json:"compile_seconds"`
}

func (c *compileCmd) Run(a *app) error {
	targets := memc.HostTargets()
	if c.Target != nil {
		var err error
		if targets, err = memc.ExpandTargets(c.Target); err != nil {
			return usageError{err}
		}
	}
	in, err := c.open()
	if err != nil {
		return err
	}
	out := c.Out
	if out == "" {
		out = in.name() + ".memc"
	}
	if samePath(out, c.Spec) {
		return usage("-o %s would replace what is compiled", out)
	}
	if err := writable(out); err != nil {
		return err
	}
	art, seconds, err := in.compileTimed(a, targets)
	if err != nil {
		return err
	}
	file, err := artifact.Encode(art)
	if err != nil {
		return err
	}
	if err := artifact.WriteFile(out, art); err != nil {
		return err
	}
	r := compiled{Spec: in.name(), File: filepath.Clean(out), Bytes: len(file), Seconds: seconds}
	for i := range art.Targets {
		t := &art.Targets[i]
		r.Targets = append(r.Targets, compiledTarget{t.Name, t.Format, len(t.Code), strings.Count("\n"+t.Plan, "\nkernel "), append([]string{}, t.Features...)})
	}
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d bytes in %.2f s\n", r.File, r.Bytes, r.Seconds)
		for _, t := range r.Targets {
			fmt.Fprintf(w, "  %-8s %d kernels, %d bytes of code\n", t.Target, t.Kernels, t.Bytes)
		}
	})
}
