// Bench times memc beside other programs that do the same work, in turns and on
// as many threads, and what it makes of tuning and how long it compiles, and prints
// Markdown tables. See README.md.
//
//	go run ./bench [-threads 1,2] [-rounds 3] [-only REGEXP] [-target T,…] [-write FILE] CASES.json…
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/bench/section"
)

var (
	memc    = flag.String("memc", "bin/memc", "the memc to time")
	tools   = flag.String("peers", ".tools/peers", "where the peers are installed")
	target  = flag.String("target", "", "what memc compiles for, with commas between: amx, avx512, avx2; peers may use what any of them may (default amx, where the processor has it, and avx512)")
	threads = flag.String("threads", "1,2", "numbers of threads")
	rounds  = flag.Int("rounds", 3, "how often everyone has a turn at each case")
	only    = flag.String("only", "", "a regular expression: the cases whose work and sizes it matches")
	writeTo = flag.String("write", "", "put the tables into this file, between the lines that begin and end each; rows there that are not measured now would be lost, which is an error")
	drop    = flag.Bool("drop", false, "with -write: rows that are not measured now may go")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	pick, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	targets := strings.Split(*target, ",")
	if *target == "" {
		targets = usual()
	}
	for _, t := range targets {
		if t != "amx" && t != "avx512" && t != "avx2" {
			return fmt.Errorf("-target %s: amx, avx512, avx2 or several of them", *target)
		}
	}
	var cases, curves, tunings, compilations []benchCase
	for _, file := range flag.Args() {
		list, err := readCases(file)
		if err != nil {
			return err
		}
		for _, c := range list {
			switch {
			case !pick.MatchString(c.work + " " + c.sizes):
			case c.what == "tune":
				tunings = append(tunings, c)
			case c.what == "compile":
				compilations = append(compilations, c)
			case c.curve:
				curves = append(curves, c)
			default:
				cases = append(cases, c)
			}
		}
	}
	if len(cases)+len(curves)+len(tunings)+len(compilations) == 0 {
		return fmt.Errorf("no cases: name files of them, as bench/kernels.json")
	}
	var counts []int
	for _, word := range strings.Split(*threads, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("-threads %s: numbers with commas between them", *threads)
		}
		counts = append(counts, n)
	}
	t := &table{targets: targets, rounds: *rounds}
	curve := &curve{target: targets[0], threads: slices.Max(counts)}
	tuning := &tuneTable{targets: targets, threads: slices.Max(counts)}
	compiling := &compileTable{targets: targets}
	all := []part{
		{"results of specs/bench", len(cases), t.keys(cases, counts), false, func() error {
			for _, n := range counts {
				if err := t.run(cases, n); err != nil {
					return err
				}
			}
			return nil
		}, t},
		{"curve of whole models", len(curves), curve.keys(curves), true, func() error { return curve.run(curves) }, curve},
		{"times of compiling", len(compilations), keysOf(compilations, targets), false, func() error { return compiling.run(compilations) }, compiling},
		{"tuned against default", len(tunings), keysOf(tunings, targets), false, func() error { return tuning.run(tunings) }, tuning},
	}
	all = slices.DeleteFunc(all, func(p part) bool { return p.cases == 0 })
	if *writeTo != "" && !*drop { // before hours are spent
		for _, p := range all {
			if err := p.loses(*writeTo); err != nil {
				return err
			}
		}
	}
	for _, p := range all {
		if err := p.run(); err != nil {
			return err
		}
		fmt.Print(p.text)
		if *writeTo == "" {
			continue
		}
		if err := section.Replace(*writeTo, p.name, p.text.String()); err != nil {
			return err
		}
	}
	return nil
}

// usual are the targets that are timed unless others are named.
func usual() []string {
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(b), " amx_bf16 ") {
		return []string{"amx", "avx512"}
	}
	return []string{"avx512"}
}

// measured is what memc bench --json says of one way of calling.
type measured struct {
	Tokens   int     `json:"tokens"`
	Median   float64 `json:"median_seconds"`
	Flops    float64 `json:"flops"`
	Bytes    float64 `json:"bytes"`
	Peak     float64 `json:"peak_gflops"`
	ReadPeak float64 `json:"peak_gbytes_per_second"`
}

type report struct {
	measured
	Mode   string    `json:"mode"`
	Decode *measured `json:"decode"`
	State  float64   `json:"state_bytes"`
	Check  *struct {
		Rows  int     `json:"rows"`
		Error float64 `json:"error"`
		Why   string  `json:"why"`
	} `json:"check"`
}

// bench runs memc bench once.
func bench(c benchCase, target string, threads int) (*report, error) {
	args := append([]string{"bench", "--json", "--target", target, "--threads", strconv.Itoa(threads)}, c.args...)
	if c.check > 0 {
		args = append(args, "--check", strconv.Itoa(c.check))
	}
	cmd := exec.Command(*memc, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", *memc, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	os.Stderr.Write(said.Bytes())
	r := &report{}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("%s %s: %w", *memc, strings.Join(args, " "), err)
	}
	return r, nil
}
