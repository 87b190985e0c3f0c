package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/memc-lang/memc/passes"
)

type passesCmd struct{}

type passInfo struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	Doc  string `json:"doc"`
}

func (passesCmd) Run(a *app) error {
	var rows []passInfo
	for _, p := range passes.Table {
		rows = append(rows, passInfo{p.Name, p.From.String(), p.To.String(), p.Doc})
	}
	r := struct {
		Passes []passInfo `json:"passes"`
	}{rows}
	return a.print(r, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "pass\ttakes\tgives\t")
		for _, p := range rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.From, p.To, p.Doc)
		}
		t.Flush()
	})
}
