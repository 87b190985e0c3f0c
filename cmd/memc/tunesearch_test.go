package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNeededPhases: what rounds of a large program run times nearly everything,
// and nothing twice.
func TestNeededPhases(t *testing.T) {
	for _, c := range []struct {
		name  string
		times []phaseTime
		want  []bool
	}{
		{"one entry", []phaseTime{{"a": 5}, {"a": 1}}, []bool{true, true}},
		{"a second one with more", []phaseTime{{"a": 5}, {"a": 1}, {"a": 5, "b": 2}, {"a": 1}}, []bool{false, false, true, true}},
		{"a second one with more of each", []phaseTime{{"a": 5}, {"a": 3, "c": 2}, {"a": 5, "b": 2}, {"a": 3}}, []bool{false, true, true, false}},
		{"a small rest", []phaseTime{{"a": 5}, {"a": 1}, {"a": 5, "b": 0.01}, {"c": 0.01}}, []bool{false, true, true, false}},
		{"nothing", []phaseTime{{}, {}}, []bool{false, false}},
	} {
		if got := neededPhases(c.times); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestSampler: a long round launches a few of each kernel at one depth, the same in
// both programs but where they read weights once; a short one launches all.
func TestSampler(t *testing.T) {
	phases := []way{{rows: 512, calls: 1}, {rows: 1, calls: 2}}
	whole := &round{
		times:    []phaseTime{{"deep": 1, "head": 0.5, "small": 0.0001}, {"deep": 0.01, "small": 0.0001}},
		launches: []map[string]int{{"deep": 10, "head": 1, "small": 20}, {"deep": 20, "small": 40}},
	}
	all := newSampler(phases, whole)
	texts := map[string]string{"d": "deep", "h": "head", "s": "small"}
	picked := func(s *sampler, phase int, kernel string, depth, shift float64) (list []int) {
		pick := s.pick(phase, texts, depth, shift)
		for i := range whole.launches[phase][texts[kernel]] {
			if pick(kernel) {
				list = append(list, i)
			}
		}
		return list
	}
	s := all.again()
	for _, c := range []struct {
		phase        int
		kernel       string
		depth, shift float64
		want         []int
	}{
		{0, "d", 0, 0, []int{0}},
		{0, "d", 0.55, 0, []int{5}},
		{0, "d", 0.55, 0.5, []int{5}}, // a shift is for rows by themselves
		{0, "d", 0.999, 0, []int{9}},
		{0, "h", 0.999, 0, []int{0}},
		{1, "d", 0, 0, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}}, // as many as take long enough
		{1, "d", 0.75, 0.5, []int{3, 4, 5, 6, 7, 8, 9, 10, 11}},
	} {
		if got := picked(s, c.phase, c.kernel, c.depth, c.shift); !slices.Equal(got, c.want) {
			t.Errorf("phase %d, %s at %g: launches %v, want %v", c.phase, c.kernel, c.depth, got, c.want)
		}
	}
	if got := picked(s, 0, "s", 0.3, 0); len(got) != 20 {
		t.Errorf("of what takes no time %d launches run", len(got))
	}
	for range fewRounds {
		s.leave()
	}
	if len(picked(s, 0, "h", 0, 0))+len(picked(s, 0, "d", 0, 0)) != 0 || len(picked(s, 1, "d", 0, 0)) != 9 {
		t.Error("after a few rounds long launches still run, or short ones do not")
	}
	if len(picked(all.again(), 0, "h", 0, 0)) != 1 {
		t.Error("another contest leaves out what the one before did")
	}
	var none *sampler
	if none.pick(0, texts, none.depth(3), 0) != nil || none.again() != nil {
		t.Error("without a sampler some launches are left out")
	}
}

// TestSaveFails: a folder that stops taking records ends a search, unless a file
// takes them, which is said once.
func TestSaveFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]int{"": 0, "spec.tuning": 1} {
		var said strings.Builder
		s := &tuner{cmd: &tuneCmd{Out: out}, app: &app{err: &said}, dir: file, target: "avx2", order: []string{"map\n"},
			names: map[string]string{"map\n": "map0"}, seen: map[string]float64{"map\n": 1}, judged: map[string]bool{"map\n": true}}
		if err := s.save(); (err == nil) != (out != "") {
			t.Errorf("-o %q: %v", out, err)
		}
		if err := s.save(); out != "" && err != nil {
			t.Errorf("-o %q, the second time: %v", out, err)
		}
		if n := strings.Count(said.String(), "warning: what is found is written to spec.tuning alone"); n != want {
			t.Errorf("-o %q: %q", out, said.String())
		}
	}
}

// TestDataHash: of a file in pieces of any length the tensors count, and nothing
// before them.
func TestDataHash(t *testing.T) {
	file := func(head, data string) string {
		return string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + head + data
	}
	sum := func(file string, piece int) uint64 {
		h := &dataHash{}
		h.SetSeed(seed)
		for len(file) > 0 {
			n := min(piece, len(file))
			if k, err := h.Write([]byte(file[:n])); k != n || err != nil {
				t.Fatal(k, err)
			}
			file = file[n:]
		}
		return h.Sum64()
	}
	want := sum(file("one program", "some tensors"), 1000)
	for piece := range 30 {
		if sum(file("another", "some tensors"), piece+1) != want {
			t.Errorf("in pieces of %d bytes the header counts", piece+1)
		}
	}
	if sum(file("one program", "other tensors"), 3) == want || sum(file("one program", ""), 3) == want {
		t.Error("the tensors do not count")
	}
}
