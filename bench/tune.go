package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tuneTable shows what memc tune finds: each case is tuned twice, each time with
// nothing known from before, and then programs of the target's own sizes and of
// both tunings run in turns.
type tuneTable struct {
	targets  []string
	threads  int
	programs []tunedProgram
	kernels  []tunedKernel
	checks   int
	farthest float64 // the largest error in the interpreter's comparisons
}

// tunedProgram is a case on a target: the speeds in tokens a second of one call of
// many tokens and of calls of one.
type tunedProgram struct {
	work, sizes, target string
	tried               [2][2]int // sets of sizes, of as many as there are
	same                bool      // both tunings have the same sizes: the programs are one
	many, one           turns
}

// turns are the speeds of the default and of both tunings in each round.
type turns [3][]float64

// tunedKernel is one of its kernels.
type tunedKernel struct {
	work, sizes, target, name string
	seconds, share            float64    // with the target's own sizes
	parts                     [2]float64 // of the time
	changed                   [2]string
}

// leastShown is the share of a program's time that a kernel's row begins at.
const leastShown = 0.01

// tuneRounds is how often everyone has a turn, tuneRepeat how often it runs then.
const (
	tuneRounds = 5
	tuneRepeat = 9
	tuneDecode = 16
)

// tuned is what memc tune --json says.
type tuned struct {
	Tried   int     `json:"tried"`
	Of      int     `json:"of"`
	Default float64 `json:"default_seconds"`
	Check   []struct {
		Error float64 `json:"error"`
	} `json:"check"`
	Refused []string `json:"refused"`
	Kernels []struct {
		Kernel  string  `json:"kernel"`
		Default float64 `json:"default_seconds"`
		Tuned   float64 `json:"tuned_seconds"`
		Changed string  `json:"changed"`
	} `json:"kernels"`
}

func (t *tuneTable) run(cases []benchCase) error {
	dir, err := os.MkdirTemp("", "memc-tune")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, c := range cases {
		for _, target := range t.targets {
			fmt.Fprintf(os.Stderr, "tuning, %d of %d: %s, %s on %s\n", i+1, len(cases), c.work, c.sizes, target)
			if err := t.one(c, target, filepath.Join(dir, fmt.Sprintf("%d-%s", i, target))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tuneTable) one(c benchCase, target, dir string) error {
	p := tunedProgram{work: c.work, sizes: c.sizes, target: target}
	var kernels []tunedKernel
	files := []string{"off"}
	for k := range 2 {
		kept := fmt.Sprintf("%s-%d", dir, k)
		file := kept + ".tuning"
		files = append(files, file)
		args := slices.Concat([]string{"tune", "--json", "--target", target, "--threads", fmt.Sprint(t.threads), "--budget", c.budget, "-o", file}, c.args)
		out, err := call(kept, args...)
		if err != nil {
			return err
		}
		var r tuned
		if err := json.Unmarshal(out, &r); err != nil {
			return fmt.Errorf("%s %s: %w", *memc, strings.Join(args, " "), err)
		}
		if len(r.Refused) > 0 {
			return fmt.Errorf("%s %s: sizes were refused: %q", *memc, strings.Join(args, " "), r.Refused)
		}
		p.tried[k] = [2]int{r.Tried, r.Of}
		for _, x := range r.Check {
			t.checks++
			t.farthest = max(t.farthest, x.Error)
		}
		for _, x := range r.Kernels {
			at := slices.IndexFunc(kernels, func(y tunedKernel) bool { return y.name == x.Kernel })
			if at < 0 {
				at = len(kernels)
				kernels = append(kernels, tunedKernel{work: c.work, sizes: c.sizes, target: target, name: x.Kernel, seconds: x.Default, share: x.Default / r.Default, parts: [2]float64{1, 1}})
			}
			kernels[at].parts[k], kernels[at].changed[k] = x.Tuned/x.Default, x.Changed
		}
	}
	for _, k := range kernels {
		if k.share >= leastShown {
			t.kernels = append(t.kernels, k)
		}
	}
	p.same = !slices.ContainsFunc(kernels, func(k tunedKernel) bool { return k.changed[0] != k.changed[1] })
	for range tuneRounds {
		for way, file := range files {
			c := c
			c.check = 1 // compared already
			c.args = append(slices.Clip(c.args), "--tuning", file, "--decode", fmt.Sprint(tuneDecode), "--repeat", fmt.Sprint(tuneRepeat))
			r, err := bench(c, target, t.threads)
			if err != nil {
				return err
			}
			p.many[way] = append(p.many[way], float64(r.Tokens)/r.Median)
			p.one[way] = append(p.one[way], float64(r.Decode.Tokens)/r.Decode.Median)
		}
	}
	t.programs = append(t.programs, p)
	return nil
}

func middleOf(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }

// part is the middle of the rounds' ratios of two speeds.
func (t *turns) part(of, to int) float64 {
	var x []float64
	for i := range t[of] {
		x = append(x, t[of][i]/t[to][i])
	}
	return middleOf(x)
}

// cells are the default's speed, what both tunings make of it, and how far these
// are apart.
func (t *turns) cells(same bool) string {
	apart := "same sizes"
	if !same {
		x := t.part(1, 2)
		apart = fmt.Sprintf("%.1f %%", 100*(max(x, 1/x)-1))
	}
	return fmt.Sprintf(" %s | %.2f | %.2f | %s ", speed(middleOf(t[0])), t.part(1, 0), t.part(2, 0), apart)
}

// String is both tables in Markdown.
func (t *tuneTable) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Printed by `make tune-docs` on %s, %d threads: each case is tuned twice with nothing known from before (`memc tune`), and then programs of the\n", processor(), t.threads)
	fmt.Fprintf(&b, "target's own sizes and of both tunings run in turns, %d times: the default's tokens a second, of one call of all tokens and of %d calls of one token behind it, and the\n", tuneRounds, tuneDecode)
	fmt.Fprintf(&b, "middle of the rounds' ratios of both tunings to it. Apart is how far the speeds of the two tunings are from each other, likewise; where they chose the same sizes they\n")
	fmt.Fprintf(&b, "are one program, and their ratios show the noise. `memc tune` compared each program with the float64 interpreter, largest error %.1e.\n\n", t.farthest)
	b.WriteString("| work | sizes | target | sets tried | many: default | first | second | apart | one: default | first | second | apart |\n")
	b.WriteString("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, p := range t.programs {
		fmt.Fprintf(&b, "| %s | %s | %s | %d and %d of %d |%s|%s|\n", p.work, p.sizes, p.target, p.tried[0][0], p.tried[1][0], p.tried[0][1], p.many.cells(p.same), p.one.cells(p.same))
	}
	b.WriteString("\nKernel by kernel, those with a hundredth of the time and more: the part of the default's time that a kernel takes with the sizes found, 1.00 where the default is best.\n\n")
	b.WriteString("| work | sizes | target | kernel | default ms | share | first | sizes | second | sizes |\n")
	b.WriteString("|---|---|---|---|--:|--:|--:|---|--:|---|\n")
	for _, k := range t.kernels {
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` | %.3f | %.0f %% | %.2f | %s | %.2f | %s |\n", k.work, k.sizes, k.target, k.name, 1e3*k.seconds, 100*k.share,
			k.parts[0], cmp.Or(k.changed[0], "default"), k.parts[1], cmp.Or(k.changed[1], "default"))
	}
	return b.String()
}
