// Ptx prints what NVIDIA's assembler says of the kernels of specs/bench and of a
// large model: registers, spills and shared memory, as one Markdown table. It
// needs ptxas and no GPU.
//
//	go run ./bench/ptx [-memc bin/memc] [-target sm_80] [-write FILE] CASES.json
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/memc-lang/memc/bench/section"
	"github.com/memc-lang/memc/codegen/ptx"
)

var (
	memc    = flag.String("memc", "bin/memc", "the memc to compile with")
	target  = flag.String("target", "sm_80", "what to compile and assemble for")
	writeTo = flag.String("write", "", "put the table into this file, between the lines that begin and end it")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ptx:", err)
		os.Exit(1)
	}
}

func run() error {
	path, err := ptx.FindPtxas("")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		return fmt.Errorf("name a file of cases, as bench/ptx.json: %w", err)
	}
	var cases []struct{ Name, Args string } // Args are those of memc dump
	if err := json.Unmarshal(text, &cases); err != nil {
		return fmt.Errorf("%s: %w", flag.Arg(0), err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Printed by `make ptx-docs`: what `ptxas -v` says for %s. Shared memory and scratch are bytes of a CTA, spills bytes of a thread.\n\n", *target)
	b.WriteString("| work | kernel | threads | registers | spilled | shared | scratch |\n|---|---|---|---|---|---|---|\n")
	for _, c := range cases {
		if err := rows(&b, path, c.Name, strings.Fields(c.Args)); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	if *writeTo == "" {
		fmt.Print(b.String())
		return nil
	}
	return section.Replace(*writeTo, "registers of PTX kernels", b.String())
}

// head is the comment above an entry (see codegen/ptx).
var head = regexp.MustCompile(`(?m)^// (\w+): (\d+) threads, (\d+) bytes shared, (\d+) bytes of scratch a CTA$`)

// rows adds the rows of one case: the kernels that compute something.
func rows(b *strings.Builder, path, name string, args []string) error {
	cmd := exec.Command(*memc, append([]string{"dump", "--level", "ptx", "--target", *target}, args...)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	a, err := ptx.Assemble(context.Background(), path, string(text), *target)
	if err != nil {
		return err
	}
	for _, w := range a.Warnings {
		return fmt.Errorf("ptxas warns: %s", w)
	}
	use := map[string]ptx.Usage{}
	for _, u := range a.Usage {
		use[u.Name] = u
	}
	for _, m := range head.FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(m[1], "copy") || strings.HasPrefix(m[1], "commit") {
			continue
		}
		u := use[m[1]]
		fmt.Fprintf(b, "| %s | `%s` | %s | %d | %d | %s | %s |\n", name, m[1], m[2], u.Registers, u.SpillStore+u.SpillLoad, m[3], m[4])
	}
	return nil
}
