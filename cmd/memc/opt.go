package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime/regular"
)

type optCmd struct {
	File   string   `arg:"" help:"A graph's text, as memc dump prints it; - is the standard input."`
	Passes []string `required:"" placeholder:"a,b,…" help:"The passes to run, in this order."`
}

// maxGraph is the most bytes of a graph's text that are read.
const maxGraph = 1 << 28

func (c *optCmd) Run(a *app) error {
	var list []passes.Pass
	for _, name := range c.Passes {
		i := slices.IndexFunc(passes.Table, func(p passes.Pass) bool { return p.Name == name })
		if i < 0 {
			return usage("--passes %s: there is no such pass; passes are %s", name, strings.Join(passNames(), ", "))
		}
		list = append(list, passes.Table[i])
	}
	if len(list) == 0 {
		return usage("--passes names no pass; passes are %s", strings.Join(passNames(), ", "))
	}
	for i := 1; i < len(list); i++ {
		if list[i].From != list[i-1].To {
			return usage("--passes: %s takes a %s graph, %s gives a %s one", list[i].Name, list[i].From, list[i-1].Name, list[i-1].To)
		}
	}
	var src []byte
	var err error
	if c.File == "-" {
		src, err = a.standardInput(maxGraph)
	} else {
		src, err = regular.Read(c.File, maxGraph)
	}
	if err != nil {
		return err
	}
	m, err := ir.Parse(string(src))
	if err != nil {
		return fmt.Errorf("%s:%w", c.File, err)
	}
	if errs := m.Verify(); len(errs) > 0 {
		return fmt.Errorf("%s: %s", c.File, ir.Explain(errs))
	}
	if len(m.Entries) == 0 {
		return fmt.Errorf("%s has no entry: it takes a graph as memc dump prints it", c.File)
	}
	for _, p := range list {
		for i, g := range m.Entries {
			if m.Entries[i], err = p.Apply(g); err != nil {
				return fmt.Errorf("%s: %s: %w", c.File, g.Name, err)
			}
		}
		if errs := m.Verify(); len(errs) > 0 {
			return fmt.Errorf("%s: after %s: %s", c.File, p.Name, ir.Explain(errs))
		}
	}
	return a.print(section{"after " + strings.Join(c.Passes, " "), m.String()}, func(w io.Writer) { io.WriteString(w, m.String()) })
}
