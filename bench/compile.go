package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// compileTable shows how long memc compile takes: with an empty cache, and where it
// has compiled the same before. The whole command counts, from its start to its end.
type compileTable struct {
	targets []string
	rows    []compileRow
}

type compileRow struct {
	work, sizes, target string
	cold, cached        float64 // seconds
}

// compileRounds is how often each is compiled.
const compileRounds = 3

func (t *compileTable) run(cases []benchCase) error {
	dir, err := os.MkdirTemp("", "memc-compile")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, c := range cases {
		fmt.Fprintf(os.Stderr, "compiling, %d of %d: %s, %s\n", i+1, len(cases), c.work, c.sizes)
		for _, target := range t.targets {
			var cold, cached []float64
			for round := range compileRounds {
				kept := filepath.Join(dir, fmt.Sprintf("%d-%s-%d", i, target, round))
				for _, list := range []*[]float64{&cold, &cached} {
					begin := time.Now()
					if _, err := call(kept, append([]string{"compile", "--tuning", "off", "--target", target, "-o", kept + ".memc"}, c.args...)...); err != nil {
						return err
					}
					*list = append(*list, time.Since(begin).Seconds())
				}
			}
			t.rows = append(t.rows, compileRow{c.work, c.sizes, target, middleOf(cold), middleOf(cached)})
		}
	}
	return nil
}

// String is the table in Markdown.
func (t *compileTable) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Printed by `make tune-docs` on %s: seconds from the start of `memc compile` to its end, the middle of %d, with an empty cache and again.\n\n", processor(), compileRounds)
	b.WriteString("| work | sizes | target | cold | cached |\n|---|---|---|--:|--:|\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f s | %.0f ms |\n", r.work, r.sizes, r.target, r.cold, 1e3*r.cached)
	}
	return b.String()
}

// call runs memc with a cache of its own and gives what it prints.
func call(cache string, args ...string) ([]byte, error) {
	cmd := exec.Command("env", append([]string{"MEMC_CACHE=" + cache, *memc}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", *memc, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out, nil
}
