package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// entry is an element of a file of cases. A list of values stands for a case
// with each of them.
type entry struct {
	Work     string                     `json:"work"`
	Curve    bool                       `json:"curve"` // a line of the curve over positions: see curve.go
	What     string                     `json:"what"`  // tune, compile: see tune.go, compile.go; "": time the spec
	Spec     string                     `json:"spec"`
	Config   string                     `json:"config"`   // a file with the spec's parameters
	Set      map[string]json.RawMessage `json:"set"`      // parameters: a value or a list of values
	Cache    []string                   `json:"cache"`    // what keys and values are kept as
	Products []string                   `json:"products"` // what operands are rounded to; "": they are not
	Quantize []string                   `json:"quantize"` // what weights are quantised as; "": they are not
	Tokens   []int                      `json:"tokens"`   // of a call, or
	Decode   []int                      `json:"decode"`   // so many calls of one token
	At       []int                      `json:"at"`       // from a position
	Check    int                        `json:"check"`    // rows to compare with the interpreter; 0: what memc bench thinks
	Repeat   int                        `json:"repeat"`   // runs in a round; 0: likewise
	Rounds   int                        `json:"rounds"`   // at most so many
	Peer     string                     `json:"peer"`     // the question that peers are asked, with {parameters}
	Versus   []string                   `json:"versus"`   // flags of memc bench: memc with them has a turn, too
	Budget   string                     `json:"budget"`   // of memc tune
}

// benchCase is one row of the table, but for the number of threads.
type benchCase struct {
	work, sizes string
	curve       bool
	what        string
	budget      string
	at          int
	args        []string // of memc bench
	peer        string   // "": no peer has it
	versus      []string // more args, of a second memc; none: there is none
	check       int      // rows to compare; 0: what memc bench thinks
	rounds      int      // at most so many; 0: any number
}

func readCases(file string) ([]benchCase, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var entries []entry
	if err := json.Unmarshal(b, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var out []benchCase
	for _, e := range entries {
		if e.What != "" && e.What != "tune" && e.What != "compile" || (e.What == "tune") != (e.Budget != "") {
			return nil, fmt.Errorf("%s: %s: what is done is tune, with a budget, or compile, not %q with the budget %q", file, e.Work, e.What, e.Budget)
		}
		list, err := e.cases()
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, e.Work, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

// choice is a parameter and the values that it takes.
type choice struct {
	name   string
	values []string
}

// cases lists the cases of an entry, the last parameters changing fastest.
func (e *entry) cases() ([]benchCase, error) {
	var choices []choice
	for name, raw := range e.Set {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		c := choice{name: name}
		for _, v := range list {
			c.values = append(c.values, string(v))
		}
		choices = append(choices, c)
	}
	slices.SortFunc(choices, func(a, b choice) int { return strings.Compare(a.name, b.name) })
	for _, c := range []struct {
		name   string
		values []int
	}{{"at", e.At}, {"tokens", e.Tokens}, {"decode", e.Decode}} {
		if len(c.values) > 0 {
			choices = append(choices, choice{c.name, strings.Fields(strings.Trim(fmt.Sprint(c.values), "[]"))})
		}
	}
	for _, c := range []choice{{"cache", e.Cache}, {"products", e.Products}, {"quantize", e.Quantize}} {
		if len(c.values) > 0 {
			choices = append(choices, c)
		}
	}
	var out []benchCase
	var walk func(rest []choice, chosen [][2]string)
	walk = func(rest []choice, chosen [][2]string) {
		if len(rest) == 0 {
			out = append(out, e.one(chosen))
			return
		}
		for _, v := range rest[0].values {
			walk(rest[1:], append(slices.Clip(chosen), [2]string{rest[0].name, v}))
		}
	}
	walk(choices, nil)
	for _, c := range out {
		if strings.Contains(c.peer, "{") {
			return nil, fmt.Errorf("the question %q names a parameter that the case has not", c.peer)
		}
	}
	return out, nil
}

// one is the case of these parameters.
func (e *entry) one(chosen [][2]string) benchCase {
	c := benchCase{work: e.Work, curve: e.Curve, what: e.What, budget: e.Budget, args: []string{e.Spec}, peer: e.Peer, versus: e.Versus, rounds: e.Rounds}
	if e.Config != "" {
		c.args = append(c.args, "--config", e.Config)
	}
	var sizes []string
	for _, x := range chosen {
		name, value := x[0], x[1]
		shown := strings.Trim(value, `"`)
		switch name {
		case "at", "tokens", "decode", "cache", "products", "quantize":
			if value == "" {
				continue
			}
			c.args = append(c.args, "--"+name, value)
			if name == "at" {
				c.at, _ = strconv.Atoi(value)
				if c.curve {
					continue // it has a column of its own
				}
			}
		default:
			c.args = append(c.args, "--set", name+"="+value)
		}
		sizes = append(sizes, name+"="+shown)
		c.peer = strings.ReplaceAll(c.peer, "{"+name+"}", shown)
	}
	if e.Repeat > 0 {
		c.args = append(c.args, "--repeat", fmt.Sprint(e.Repeat))
	}
	c.check = e.Check
	c.sizes = strings.Join(sizes, " ")
	return c
}
