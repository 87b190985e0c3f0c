package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime/atomicfile"
)

type dumpCmd struct {
	source
	After  string `placeholder:"PASS" help:"Show the graph after this pass (spec: before any), or after all of them in turn; without it after the last."`
	Level  string `default:"graph" enum:"graph,kernel,plan,llvm,asm,ptx" help:"What to show: ${enum} (${default})."`
	Target string `placeholder:"T" help:"The target whose kernels, plan or code are shown."`
	HTML   string `name:"html" placeholder:"FILE" help:"Write a page with a column for each pass."`
	NoFuse bool   `help:"Make every node a kernel of its own."`
}

// section is a text of a dump.
type section struct {
	Name string `json:"name"` // "after grad", "plan", …
	Text string `json:"text"`
}

type dumped struct {
	Spec     string    `json:"spec"`
	Level    string    `json:"level"`
	Target   string    `json:"target,omitempty"`
	Sections []section `json:"sections"`
}

func (c *dumpCmd) Run(a *app) error {
	if c.After != "" && c.Level != "graph" {
		return usage("--after shows graphs; %s comes after all passes", c.Level)
	}
	if c.Level == "graph" && (c.Target != "" || c.NoFuse) {
		return usage("a graph does not depend on --target and --no-fuse; --level says what else to show")
	}
	if c.Level == "graph" && (c.Slab != nil || c.Products == "bf16" || c.Hybrid != "" || c.Tuning != "") {
		return usage("a graph does not depend on --slab, --products bf16, --hybrid and --tuning; --level says what else to show")
	}
	if c.HTML != "" && (c.Level != "graph" || c.After != "") {
		return usage("--html shows the graph after every pass; --level and --after do not go with it")
	}
	names := passNames()
	if c.After != "" && c.After != "all" && c.After != unchanged && !slices.Contains(names, c.After) {
		return usage("--after %s: there is no such pass; passes are all, spec, %s", c.After, strings.Join(names, ", "))
	}
	target, err := c.target()
	if err != nil {
		return err
	}
	in, err := c.open()
	if err != nil {
		return err
	}
	m, err := in.module()
	if err != nil {
		return err
	}
	r := dumped{Spec: in.name(), Level: c.Level, Target: target}
	switch {
	case c.Level != "graph":
		s, kept := c.kept(in, target)
		if !kept {
			s, err = c.low(a, m, target, in)
		}
		r.Sections = []section{s}
	default:
		r.Sections, err = graphs(m)
	}
	if err != nil {
		return err
	}
	switch {
	case c.HTML != "":
		if err := atomicfile.Write(c.HTML, func(w io.Writer) error { return page(w, r) }); err != nil {
			return err
		}
		return a.print(struct {
			File string `json:"file"`
		}{c.HTML}, func(io.Writer) {})
	case c.Level == "graph" && c.After != "all":
		after := c.After
		if after == "" {
			after = names[len(names)-1]
		}
		r.Sections = slices.DeleteFunc(r.Sections, func(s section) bool { return !slices.Contains(strings.Fields(s.Name), after) })
	}
	return a.print(r, func(w io.Writer) {
		for i, s := range r.Sections {
			if len(r.Sections) > 1 {
				if i > 0 {
					fmt.Fprintln(w)
				}
				fmt.Fprintf(w, "// ==== %s\n", s.Name)
			}
			io.WriteString(w, s.Text)
			if !strings.HasSuffix(s.Text, "\n") {
				fmt.Fprintln(w)
			}
		}
	})
}

// unchanged is what the graph before all passes is called.
const unchanged = "spec"

func passNames() []string {
	var names []string
	for _, p := range passes.Table {
		names = append(names, p.Name)
	}
	return names
}

// target is the one to lower for: the flag's, else one that suits the level.
func (c *dumpCmd) target() (string, error) {
	gpu := func(t string) bool { return slices.Contains(ptx.Targets(), t) }
	cpu := memc.Processor
	t := c.Target
	switch {
	case c.Level == "graph":
		return "", nil
	case t == "" && c.Level == "ptx":
		return ptx.Targets()[0], nil
	case t == "":
		if t = memc.HostTargets()[0]; cpu(t) {
			return t, nil
		}
		return "avx2", nil
	case !slices.Contains(memc.Targets, t):
		return "", usage("--target %s: there is no such target; targets are %s", t, strings.Join(memc.Targets, ", "))
	case !gpu(t) && !cpu(t):
		return "", usage("--target %s has no %s: it runs the graph", t, c.Level)
	case c.Level == "ptx" && !gpu(t):
		return "", usage("--level ptx is for the targets %s, not for %s", strings.Join(ptx.Targets(), " and "), t)
	case (c.Level == "llvm" || c.Level == "asm") && !cpu(t):
		return "", usage("--level %s is for the targets %s, not for %s", c.Level, strings.Join(memc.Groups["cpu"], ", "), t)
	}
	return t, nil
}

// graphs gives the graph before the passes and after each, unchanged ones merged
// under one name.
func graphs(m *ir.Module) ([]section, error) {
	out := []section{{unchanged, m.String()}}
	for _, p := range passes.Table {
		next := *m
		next.Entries = nil
		for _, g := range m.Entries {
			h, err := p.Apply(g)
			if err != nil {
				return nil, err
			}
			next.Entries = append(next.Entries, h)
		}
		m = &next
		if text, last := m.String(), &out[len(out)-1]; text == last.Text {
			last.Name += " " + p.Name
		} else {
			out = append(out, section{"after " + p.Name, text})
		}
	}
	return out, nil
}

// kept gives a text that an artifact holds as it was compiled.
func (c *dumpCmd) kept(in *input, target string) (section, bool) {
	if in.artifact == nil || c.NoFuse || c.changes() {
		return section{}, false
	}
	t := in.artifact.Find(target)
	switch {
	case t != nil && c.Level == "plan":
		return section{"plan for " + target, t.Plan}, true
	case t != nil && c.Level == "ptx":
		return section{"ptx for " + target, string(t.Code)}, true
	}
	return section{}, false
}

// low gives a text below the graph.
func (c *dumpCmd) low(a *app, m *ir.Module, target string, in *input) (section, error) {
	if err := in.portable(); err != nil {
		return section{}, err
	}
	o := in.options([]string{target})
	o.NoFuse, o.Warn = c.NoFuse, a.warn
	m, err := memc.Optimise(m, false, nil)
	if err == nil {
		err = memc.CheckTuning(m, o)
	}
	if err != nil {
		return section{}, err
	}
	p, err := memc.Lower(m, target, o)
	if err != nil {
		return section{}, err
	}
	machine := memc.MachineOf(target)
	s := section{Name: c.Level + " for " + target}
	switch c.Level {
	case "kernel":
		s.Text = kernelText(p.Kernels)
	case "plan":
		s.Text = p.Plan.String()
	case "llvm":
		s.Text, err = amd64.Print(p.Kernels, machine)
	case "asm":
		s.Text, err = amd64.Assembly(a.ctx, p.Kernels, machine)
	case "ptx":
		var mod *ptx.Module
		if mod, err = ptx.Print(p.Kernels, target); err == nil {
			s.Text = mod.Text
		}
	}
	return s, err
}

func kernelText(ks []*kernel.Kernel) string {
	var b strings.Builder
	for i, k := range ks {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(k.String())
	}
	return b.String()
}
