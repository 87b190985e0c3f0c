package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCases(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cases.json")
	write(t, file, `[{"work": "w", "spec": "s.spec", "set": {"K": [1, 2], "e": "f32"}, "tokens": [7], "peer": "p k={K} e={e} m={tokens}"}]`)
	cases, err := readCases(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 2 {
		t.Fatalf("%d cases, want one for each K", len(cases))
	}
	c := cases[1]
	if args := strings.Join(c.args, " "); args != `s.spec --set K=2 --set e="f32" --tokens 7` {
		t.Errorf("memc bench is called with %s", args)
	}
	if c.peer != "p k=2 e=f32 m=7" || c.sizes != "K=2 e=f32 tokens=7" {
		t.Errorf("the question is %q, the sizes are %q", c.peer, c.sizes)
	}
	write(t, file, `[{"work": "w", "peer": "{nosuch}"}]`)
	if _, err := readCases(file); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("a question about a parameter that is not there: %v", err)
	}
}

// TestCaseFiles: the repository's cases can be read.
func TestCaseFiles(t *testing.T) {
	for _, file := range []string{"kernels.json", "models.json", "tune.json"} {
		cases, err := readCases(file)
		if err != nil || len(cases) == 0 {
			t.Errorf("%s: %d cases, %v", file, len(cases), err)
		}
		for _, c := range cases {
			if _, err := os.Stat(filepath.Join("..", c.args[0])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestPeer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peer")
	write(t, file, `echo "a peer, $THREADS threads"
while read -r what rest; do
	case $what in add) echo "ok 0.25 0.2 0.5 7 by hand";; stop) exit;; *) echo "no it only adds";; esac
done
`)
	p := start("it", file, []string{"THREADS=3"}, "sh", file)
	defer p.close()
	if p.absent != "" || p.about != "a peer, 3 threads" {
		t.Fatalf("absent %q, it says %q", p.absent, p.about)
	}
	if s, ok := p.ask("add x=1"); !ok || s != 0.25 || !p.how["add: by hand"] {
		t.Errorf("it answers %v, %v, %v", s, ok, p.how)
	}
	if _, ok := p.ask("divide x=1"); ok || p.absent != "" {
		t.Errorf("it does what it does not do, or is absent: %q", p.absent)
	}
	p.only = "type=bf16"
	if _, ok := p.ask("add x=1"); ok {
		t.Error("it is asked what it is not for")
	}
	p.only = ""
	if _, ok := p.ask("stop"); ok || p.absent == "" {
		t.Error("it has ended and is still there")
	}
	if p := start("none", filepath.Join(t.TempDir(), "none"), nil); p.absent == "" {
		t.Error("what is not installed is there")
	}
}

func TestTable(t *testing.T) {
	b := &table{targets: []string{"avx512"}, rounds: 1, names: []string{"A", "B"}, checks: 2, farthest: 1e-6, notes: []string{"B: absent."}}
	b.rows = []row{
		{"product", "K=1", "avx512", 2, measured{Tokens: 10, Median: 0.5, Flops: 50e9, Peak: 200}, map[string]float64{"A": 0.25}, 0},
		{"reading", "K=2", "avx512", 2, measured{Tokens: 1, Median: 0.1, Flops: 1e9, Bytes: 2e9, Peak: 200, ReadPeak: 40}, nil, 0},
		{"both", "K=3", "avx512", 2, measured{Tokens: 10, Median: 0.5, Flops: 50e9, Peak: 200}, nil, 0.6},
	}
	text := b.String()
	for _, want := range []string{
		"| product | K=1 | avx512 | 2 | 20.0 | 100 GFLOP/s | 50 % | 200 | 0.50 |\n",
		"| reading | K=2 | avx512 | 2 | 10.0 | 20.0 GB/s | 50 % | – | – |\n",
		"| both | K=3 | avx512 | 2 | 20.0 | 100 GFLOP/s | 50 % | – | 1.20 of itself |\n",
		"- of itself: ",
		"- B: absent.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}

// TestCurve: a row for each position, with what could be timed there.
func TestCurve(t *testing.T) {
	memory := filepath.Join(t.TempDir(), "memc")
	write(t, memory, `#!/bin/sh
case "$*" in
*"--at 4 "*) echo '{"mode": "prefill", "tokens": 6, "median_seconds": 0.5, "state_bytes": 2e9, "check": {"rows": 2, "error": 1e-6}, "decode": {"tokens": 2, "median_seconds": 0.25}}';;
*"--at 8 "*) echo '{"mode": "decode", "tokens": 2, "median_seconds": 0.5, "state_bytes": 4e9}';;
*) echo "error: it needs 9 GB" >&2; exit 3;;
esac
`)
	if err := os.Chmod(memory, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(was string) { *memc = was }(*memc)
	*memc = memory
	cases, err := readCases(writeCases(t, `[{"work": "a", "curve": true, "spec": "s", "at": [8, 4, 16], "tokens": [6], "set": {"K": 2}}, {"work": "b", "curve": true, "spec": "s", "at": [4], "decode": [2]}, {"work": "b", "curve": true, "spec": "s", "at": [8], "decode": [3]}]`))
	if err != nil {
		t.Fatal(err)
	}
	c := &curve{target: "avx2", threads: 2}
	if err := c.run(cases); err != nil {
		t.Fatal(err)
	}
	text := c.String()
	for _, want := range []string{
		"| position | a: prefill | decoding | state | b: prefill | decoding | state |\n",
		"| 4 | 12.0 | 8.00 | 2.00 GB | 12.0 | 8.00 | 2.00 GB |\n| 8 | – | 4.00 | 4.00 GB | – | 4.00 | 4.00 GB |\n",
		"before 2 of 4, largest error 1.0e-06",
		"- a: K=2 tokens=6.\n- b: decode=2; from position 8 on decode=3.\n- a from position 16: it needs 9 GB.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the curve lacks %q:\n%s", want, text)
		}
	}
}

// TestLoses: a table in a document is not replaced by one that lacks its rows.
func TestLoses(t *testing.T) {
	document := filepath.Join(t.TempDir(), "doc.md")
	tables := &table{targets: []string{"avx512"}, rows: []row{
		{"a", "K=1", "avx512", 1, measured{Tokens: 1, Median: 1}, nil, 0}, {"a", "K=1 --x", "avx512", 1, measured{Tokens: 1, Median: 1}, nil, 0},
		{"b", "K=2", "avx512", 1, measured{Tokens: 1, Median: 1}, nil, 0},
	}}
	write(t, document, "<!-- begin: it -->\n"+tables.String()+"<!-- end: it -->\n")
	cases := []benchCase{{work: "a", sizes: "K=1", versus: []string{"--x"}}, {work: "b", sizes: "K=2"}}
	for _, c := range []struct {
		cases   []benchCase
		threads []int
		lost    string
	}{
		{cases, []int{1}, ""},
		{cases, []int{2, 1}, ""},
		{cases, []int{2}, "3 rows"},
		{cases[:1], []int{1}, "1 rows that are not measured now, the first begins \"| b | K=2 "},
		{cases[1:], []int{1}, "2 rows"},
	} {
		p := part{name: "it", keys: tables.keys(c.cases, c.threads)}
		if err := p.loses(document); (err == nil) != (c.lost == "") || err != nil && !strings.Contains(err.Error(), c.lost) {
			t.Errorf("%v with %v threads: %v, want %q", c.cases, c.threads, err, c.lost)
		}
	}
	line := &curve{lines: []string{"x", "y"}, points: []curvePoint{{line: "x", at: 4}}}
	write(t, document, "<!-- begin: it -->\n"+line.String()+"<!-- end: it -->\n")
	x, y := benchCase{work: "x", at: 4}, benchCase{work: "y", at: 4}
	for _, c := range []struct {
		cases []benchCase
		loses bool
	}{{[]benchCase{x, y}, false}, {[]benchCase{x}, true}, {[]benchCase{{work: "x", at: 5}, {work: "y", at: 5}}, true}} {
		p := part{name: "it", keys: line.keys(c.cases), heads: true}
		if err := p.loses(document); (err != nil) != c.loses {
			t.Errorf("%v: %v", c.cases, err)
		}
	}
	if err := (&part{name: "nowhere"}).loses(document); err == nil {
		t.Error("a document without the table can lose nothing")
	}
}

// TestTuneTable: two tunings beside the default, as memc's reports have them.
func TestTuneTable(t *testing.T) {
	memory := filepath.Join(t.TempDir(), "memc")
	write(t, memory, `#!/bin/sh
case "$*" in
*--budget*) case "$MEMC_CACHE" in
	*-0) echo '{"tried": 3, "of": 4, "default_seconds": 2, "check": [{"error": 1e-6}], "kernels": [{"kernel": "map0", "default_seconds": 1.5, "tuned_seconds": 0.75, "changed": "rows 7"}, {"kernel": "map1", "default_seconds": 0.49, "tuned_seconds": 0.49}, {"kernel": "map2", "default_seconds": 0.01, "tuned_seconds": 0.01}]}';;
	*) echo '{"tried": 4, "of": 4, "default_seconds": 2, "check": [{"error": 2e-6}], "kernels": [{"kernel": "map0", "default_seconds": 2, "tuned_seconds": 2}, {"kernel": "map1", "default_seconds": 0.5, "tuned_seconds": 0.4, "changed": "rows 8"}]}';;
	esac;;
*"--tuning off"*) echo '{"tokens": 100, "median_seconds": 1, "decode": {"tokens": 16, "median_seconds": 1}}';;
*-0.tuning*) echo '{"tokens": 100, "median_seconds": 0.5, "decode": {"tokens": 16, "median_seconds": 1}}';;
*) echo '{"tokens": 100, "median_seconds": 0.8, "decode": {"tokens": 16, "median_seconds": 1}}';;
esac
`)
	if err := os.Chmod(memory, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(was string) { *memc = was }(*memc)
	*memc = memory
	cases, err := readCases(writeCases(t, `[{"work": "w", "what": "tune", "budget": "1s", "spec": "s", "tokens": [100], "set": {"K": 2}}]`))
	if err != nil {
		t.Fatal(err)
	}
	x := &tuneTable{targets: []string{"avx2"}, threads: 2}
	if err := x.run(cases); err != nil {
		t.Fatal(err)
	}
	text := x.String()
	for _, want := range []string{
		"| w | K=2 tokens=100 | avx2 | 3 and 4 of 4 | 100 | 2.00 | 1.25 | 60.0 % | 16.0 | 1.00 | 1.00 | 0.0 % |\n",
		"| w | K=2 tokens=100 | avx2 | `map0` | 1500.000 | 75 % | 0.50 | rows 7 | 1.00 | default |\n",
		"| w | K=2 tokens=100 | avx2 | `map1` | 490.000 | 24 % | 1.00 | default | 0.80 | rows 8 |\n",
		"largest error 2.0e-06",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "map2") {
		t.Error("kernels of no weight have rows")
	}
	y := &compileTable{targets: []string{"avx2"}}
	if err := y.run(cases); err != nil {
		t.Fatal(err)
	}
	if text := y.String(); !strings.Contains(text, "| w | K=2 tokens=100 | avx2 | 0.") {
		t.Errorf("the table of compiling:\n%s", text)
	}
	if _, err := readCases(writeCases(t, `[{"work": "w", "what": "tune", "spec": "s"}]`)); err == nil {
		t.Error("a tuning without a budget is read")
	}
}

func writeCases(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cases.json")
	write(t, file, text)
	return file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
