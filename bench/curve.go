package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// A curve shows what a token costs at one position of a stream after the other:
// models beside each other, each with its speed of reading many rows and of
// decoding, and its state. It is taken on the fastest target and with the most
// threads alone.
type curve struct {
	target   string
	threads  int
	lines    []string            // the models, in their order
	sizes    map[string][]string // of each model, from the first position on that has them
	points   []curvePoint
	checks   int     // that memc bench compared with the interpreter
	farthest float64 // the largest error
	notes    []string
}

// curvePoint is a model at a position.
type curvePoint struct {
	line            string
	at              int
	prefill, decode float64 // tokens a second; 0: not timed
	state           float64 // bytes
}

// lacks is memc's exit code where the machine lacks something.
const lacks = 3

// run times every case. Where the machine has not what one needs, as memory, a
// note says so.
func (c *curve) run(cases []benchCase) error {
	c.sizes = map[string][]string{}
	for i, k := range cases {
		fmt.Fprintf(os.Stderr, "curve, %d of %d: %s from position %d\n", i+1, len(cases), k.work, k.at)
		if !slices.Contains(c.lines, k.work) {
			c.lines = append(c.lines, k.work)
			c.sizes[k.work] = []string{k.sizes}
		} else if last := c.sizes[k.work]; !strings.HasSuffix(last[len(last)-1], k.sizes) {
			c.sizes[k.work] = append(last, fmt.Sprintf("from position %d on %s", k.at, k.sizes))
		}
		r, err := bench(k, c.target, c.threads)
		var code *exec.ExitError
		if errors.As(err, &code) && code.ExitCode() == lacks {
			_, why, _ := strings.Cut(err.Error(), "error: ")
			c.notes = append(c.notes, fmt.Sprintf("%s from position %d: %s", k.work, k.at, why))
			continue
		}
		if err != nil {
			return err
		}
		p := curvePoint{line: k.work, at: k.at, state: r.State}
		if r.Mode == "prefill" {
			p.prefill = float64(r.Tokens) / r.Median
			if r.Decode != nil {
				p.decode = float64(r.Decode.Tokens) / r.Decode.Median
			}
		} else {
			p.decode = float64(r.Tokens) / r.Median
		}
		c.points = append(c.points, p)
		if k := r.Check; k != nil && k.Rows > 0 {
			c.checks++
			c.farthest = max(c.farthest, k.Error)
		}
	}
	return nil
}

// keys are those of the rows that run makes, and the head of its columns: every
// model has three.
func (c *curve) keys(cases []benchCase) []string {
	var lines, out []string
	for _, k := range cases {
		out = append(out, key(fmt.Sprint(k.at)))
		if !slices.Contains(lines, k.work) {
			lines = append(lines, k.work)
		}
	}
	return append(out, curveHead(lines)+"\n")
}

// curveHead is the head of a table with these models.
func curveHead(lines []string) string {
	head := "| position |"
	for _, l := range lines {
		head += fmt.Sprintf(" %s: prefill | decoding | state |", l)
	}
	return head
}

// String is the table in Markdown: a row for each position, and for each model
// three columns.
func (c *curve) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Printed by `make bench` on %s, target %s, %d threads: tokens a second of one call of many tokens that begins at a position of a stream, of calls\n", processor(), c.target, c.threads)
	b.WriteString("of one token behind it, and the bytes of the stream's state. The rows before were not read: see `--at`.\n")
	fmt.Fprintf(&b, "memc was compared with the float64 interpreter before %d of %d, largest error %.1e.\n\n", c.checks, len(c.points), c.farthest)
	fmt.Fprintf(&b, "%s\n|--:|%s\n", curveHead(c.lines), strings.Repeat("--:|", 3*len(c.lines)))
	var positions []int
	for _, p := range c.points {
		positions = append(positions, p.at)
	}
	slices.Sort(positions)
	for _, at := range slices.Compact(positions) {
		fmt.Fprintf(&b, "| %d |", at)
		for _, l := range c.lines {
			i := slices.IndexFunc(c.points, func(p curvePoint) bool { return p.line == l && p.at == at })
			if i < 0 {
				b.WriteString(" – | – | – |")
				continue
			}
			p := c.points[i]
			fmt.Fprintf(&b, " %s | %s | %s |", rate(p.prefill), rate(p.decode), bytesOf(p.state))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, l := range c.lines {
		fmt.Fprintf(&b, "- %s: %s.\n", l, strings.Join(c.sizes[l], "; "))
	}
	for _, n := range c.notes {
		fmt.Fprintf(&b, "- %s.\n", n)
	}
	return b.String()
}

// rate is a speed, or a dash.
func rate(x float64) string {
	if x == 0 {
		return "–"
	}
	return speed(x)
}

// bytesOf is a size for people.
func bytesOf(n float64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.2f GB", n/1e9)
	}
	return fmt.Sprintf("%.0f MB", n/1e6)
}
