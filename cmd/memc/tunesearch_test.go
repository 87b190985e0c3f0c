package main

import (
	"slices"
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
		{"a second one with more", []phaseTime{{"a": 5}, {"a": 1}, {"a": 5, "b": 2}, {"a": 1}}, []bool{false, true, true, false}},
		{"a small rest", []phaseTime{{"a": 5}, {"a": 1}, {"a": 5, "b": 0.01}, {"c": 0.01}}, []bool{false, true, true, false}},
		{"nothing", []phaseTime{{}, {}}, []bool{false, false}},
	} {
		if got := neededPhases(c.times); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
