package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/bench/section"
)

// part is one of the tables with the cases that fill it.
type part struct {
	name  string // of its place in a document
	cases int
	keys  []string // how its rows will begin, each key a few cells
	heads bool     // the head is among the keys
	run   func() error
	text  fmt.Stringer
}

// loses is an error where a document's table has rows which this one will not
// have: a table is written as a whole.
func (p *part) loses(file string) error {
	old, err := section.Read(file, p.name)
	if err != nil {
		return err
	}
	lost, first := 0, ""
	for _, row := range rowsOf(old, p.heads) {
		if !slices.ContainsFunc(p.keys, func(key string) bool { return strings.HasPrefix(row+"\n", key) }) {
			if lost++; lost == 1 {
				first = row
			}
		}
	}
	if lost > 0 {
		return fmt.Errorf("%s: the table of the %s would lose %d rows that are not measured now, the first begins %.100q: name all files of cases without -only, or say -drop where they may go", file, p.name, lost, first)
	}
	return nil
}

// rowsOf lists the rows of Markdown's tables, with their heads or without.
func rowsOf(text string, heads bool) []string {
	lines := strings.Split(text, "\n")
	var rows []string
	for i, l := range lines {
		head := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|--")
		if strings.HasPrefix(l, "| ") && (heads || !head) {
			rows = append(rows, l)
		}
	}
	return rows
}

// key is how a row with these first cells begins.
func key(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |" }

// keysOf are the keys of tables that begin with work, sizes and target.
func keysOf(cases []benchCase, targets []string) []string {
	var out []string
	for _, c := range cases {
		for _, target := range targets {
			out = append(out, key(c.work, c.sizes, target))
		}
	}
	return out
}
