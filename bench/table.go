package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// table collects what was measured.
type table struct {
	targets  []string
	rounds   int
	rows     []row
	names    []string // of the peers
	notes    []string // about the peers, by threads
	checks   int      // cases that memc bench compared with the interpreter
	unsure   int      // cases that were too large for that
	farthest float64  // the largest error
}

// row is one line: a case and a number of threads.
type row struct {
	work, sizes string
	target      string
	threads     int
	memc        measured           // of the round with the median time
	peers       map[string]float64 // seconds
	versus      float64            // those of memc with the case's other flags; 0: not asked
}

// run takes every case through its rounds: memc, then each peer, and again.
func (t *table) run(cases []benchCase, threads int) error {
	peers := kinds(*tools, t.targets, threads)
	defer func() {
		for _, p := range peers {
			p.close()
		}
	}()
	for i, c := range cases {
		fmt.Fprintf(os.Stderr, "%d threads, %d of %d: %s, %s\n", threads, i+1, len(cases), c.work, c.sizes)
		prefill, decode, second := map[string][]measured{}, map[string][]measured{}, map[string][]measured{}
		seconds := map[string][]float64{}
		rounds := t.rounds
		if c.rounds > 0 {
			rounds = min(rounds, c.rounds)
		}
		for round := range rounds {
			if round > 0 {
				c.check = 1 // compared already
			}
			for _, target := range t.targets {
				r, err := bench(c, target, threads)
				if err != nil {
					return err
				}
				prefill[target] = append(prefill[target], r.measured)
				if r.Decode != nil {
					decode[target] = append(decode[target], *r.Decode)
				}
				if len(c.versus) > 0 {
					other := c
					other.args = slices.Concat(c.args, c.versus)
					o, err := bench(other, target, threads)
					if err != nil {
						return err
					}
					second[target] = append(second[target], o.measured)
				}
				if round == 0 && r.Check != nil && r.Check.Rows > 0 {
					t.checks++
					t.farthest = max(t.farthest, r.Check.Error)
				} else if round == 0 {
					t.unsure++
				}
			}
			for _, p := range peers {
				if s, ok := p.ask(c.peer); ok {
					seconds[p.name] = append(seconds[p.name], s)
				}
			}
		}
		others := map[string]float64{}
		for name, s := range seconds {
			slices.Sort(s)
			others[name] = s[len(s)/2]
		}
		for _, target := range t.targets {
			first := row{work: c.work, sizes: c.sizes, target: target, threads: threads, memc: middle(prefill[target]), peers: others}
			if s := second[target]; s != nil {
				other := row{work: c.work, sizes: c.sizes + " " + strings.Join(c.versus, " "), target: target, threads: threads, memc: middle(s)}
				first.versus = other.memc.Median
				t.rows = append(t.rows, first, other)
			} else {
				t.rows = append(t.rows, first)
			}
			if d := decode[target]; d != nil {
				t.rows = append(t.rows, row{work: c.work + ", decoding", sizes: c.sizes, target: target, threads: threads, memc: middle(d)})
			}
		}
	}
	for _, p := range peers {
		if !slices.Contains(t.names, p.name) {
			t.names = append(t.names, p.name)
		}
		note := p.about
		if p.absent != "" {
			note = "absent (" + p.absent + ")"
		}
		note = fmt.Sprintf("%s, %d threads: %s", p.name, threads, note)
		if len(p.how) > 0 {
			note += "; the fastest of its ways: " + strings.Join(slices.Sorted(maps.Keys(p.how)), ", ")
		}
		t.notes = append(t.notes, note+".")
	}
	return nil
}

// keys are those of the rows that run makes.
func (t *table) keys(cases []benchCase, threads []int) []string {
	var out []string
	for _, c := range cases {
		for _, target := range t.targets {
			for _, n := range threads {
				for _, work := range []string{c.work, c.work + ", decoding"} {
					for _, sizes := range []string{c.sizes, c.sizes + " " + strings.Join(c.versus, " ")} {
						out = append(out, key(work, sizes, target, fmt.Sprint(n)))
					}
				}
			}
		}
	}
	return out
}

func middle(list []measured) measured {
	slices.SortFunc(list, func(a, b measured) int {
		if a.Median < b.Median {
			return -1
		}
		return 1
	})
	return list[len(list)/2]
}

// String is the table in Markdown.
func (t *table) String() string {
	var b strings.Builder
	names := slices.DeleteFunc(slices.Clone(t.names), func(n string) bool {
		return !slices.ContainsFunc(t.rows, func(r row) bool { return r.peers[n] > 0 })
	})
	fmt.Fprintf(&b, "Printed by `make bench` on %s: medians of the calls of a round, and of rounds (%d) in which everyone had a turn. A share is that of the f32 multiply-adds or,\n", processor(), t.rounds)
	b.WriteString("where figures are GB/s, of the reading speed that the same threads reached between the runs. Peers' figures count the same work.\n")
	fmt.Fprintf(&b, "memc was compared with the float64 interpreter before %d of the cases, largest error %.1e", t.checks, t.farthest)
	if t.unsure > 0 {
		fmt.Fprintf(&b, "; %d were too large for that", t.unsure)
	}
	b.WriteString(".\n\n")
	fmt.Fprintf(&b, "| work | sizes | target | threads | tokens/s | memc | share |%s memc / best peer |\n", cells(names))
	fmt.Fprintf(&b, "|---|---|---|--:|--:|--:|--:|%s--:|\n", strings.Repeat("--:|", len(names)))
	for _, r := range t.rows {
		r.write(&b, names)
	}
	b.WriteString("\n")
	if slices.ContainsFunc(t.rows, func(r row) bool { return r.versus > 0 }) {
		b.WriteString("- of itself: memc beside memc with the flags of the next row, which had turns in the same rounds.\n")
	}
	for _, n := range t.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return b.String()
}

func cells(list []string) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, " %s |", s)
	}
	return b.String()
}

func (r *row) write(b *strings.Builder, names []string) {
	m := r.memc
	work, unit, limit := m.Flops, "GFLOP/s", m.Peak
	if m.ReadPeak > 0 {
		work, unit, limit = m.Bytes, "GB/s", m.ReadPeak
	}
	share := "–"
	if limit > 0 {
		share = fmt.Sprintf("%.0f %%", 100*work/m.Median/1e9/limit)
	}
	var others []string
	best := 0.0
	for _, n := range names {
		s := r.peers[n]
		if s == 0 {
			others = append(others, "–")
			continue
		}
		others = append(others, speed(work/s/1e9))
		if best == 0 || s < best {
			best = s
		}
	}
	ratio := "–"
	if r.versus > 0 {
		ratio = fmt.Sprintf("%.2f of itself", r.versus/m.Median)
	} else if best > 0 {
		ratio = fmt.Sprintf("%.2f", best/m.Median)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %d | %s | %s %s | %s |%s %s |\n", r.work, r.sizes, r.target, r.threads, speed(float64(m.Tokens)/m.Median), speed(work/m.Median/1e9), unit, share, cells(others), ratio)
}

// speed has three digits or whole numbers.
func speed(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// processor is the machine's name for its processor.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	name, count := "a processor without a name", 0
	for _, line := range strings.Split(string(b), "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			name = strings.TrimSpace(value)
		case "processor":
			count++
		}
	}
	return fmt.Sprintf("%d × %s", count, name)
}
