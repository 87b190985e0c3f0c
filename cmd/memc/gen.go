package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/gen"
	"github.com/memc-lang/memc/ir"
)

type genCmd struct {
	source
	Package string   `name:"pkg" placeholder:"NAME" help:"The package's name; without it the folder's, or the spec's."`
	Out     string   `short:"o" placeholder:"DIR" help:"The package's folder; without it one of the package's name in the current folder."`
	Target  []string `default:"avx512,avx2" placeholder:"T" help:"Targets, or the groups cpu and ptx (${default})."`
}

// Help is what memc gen --help says beside its flags.
func (genCmd) Help() string {
	return "Use it from a Go file: //go:generate go run github.com/memc-lang/memc/cmd/memc gen model.spec"
}

type generated struct {
	Spec    string   `json:"spec"`
	Package string   `json:"package"`
	Dir     string   `json:"dir"`
	Files   []string `json:"files"`
	Targets []string `json:"targets"`
}

func (c *genCmd) Run(a *app) error {
	targets, err := memc.ExpandTargets(c.Target)
	if err != nil {
		return usageError{err}
	}
	if slices.Contains(targets, "interp") {
		return usage("--target interp runs in the compiler, which a generated package does without")
	}
	// The package's folder, written before, may have the spec's name.
	if _, err := os.Stat(filepath.Join(c.Spec, "model.go")); err == nil {
		c.Spec += ".spec"
	}
	in, err := c.open()
	if err != nil {
		return err
	}
	name, dir := c.Package, c.Out
	switch {
	case name == "" && dir == "":
		name = gen.PackageName(in.name())
	case name == "":
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		name = gen.PackageName(filepath.Base(abs))
	case !gen.ValidPackage(name):
		return usage("--pkg %s: that is no name for a Go package", name)
	}
	if dir == "" {
		dir = name
	}
	m, err := in.module()
	if err != nil {
		return err
	}
	art, err := in.compile(a, targets)
	if err != nil {
		return err
	}
	files, err := gen.Package(art, gen.Options{Package: name, Params: params(m)})
	if err != nil {
		return err
	}
	if err := gen.Write(dir, files); err != nil {
		return err
	}
	r := generated{Spec: in.name(), Package: name, Dir: filepath.Clean(dir), Targets: targets}
	for _, f := range files {
		r.Files = append(r.Files, f.Name)
	}
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "package %s in %s: %s\n", name, r.Dir, strings.Join(r.Files, ", "))
	})
}

func params(m *ir.Module) []gen.Param {
	var p []gen.Param
	for _, x := range m.Params {
		p = append(p, gen.Param(x))
	}
	return p
}

// longPkg lets -pkg, as Go's tools write it, stand for --pkg.
func longPkg(args []string) []string {
	out := append([]string(nil), args...)
	for i, s := range out {
		if s == "--" {
			break
		}
		if s == "-pkg" || strings.HasPrefix(s, "-pkg=") {
			out[i] = "-" + s
		}
	}
	return out
}
