package kernel

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// readKernels parses a file of testdata.
func readKernels(t testing.TB, name string) []*Kernel {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	ks, err := Parse(string(src))
	if err != nil {
		t.Fatalf("%s:%v", name, err)
	}
	return ks
}

// TestRoundTrip: without their comment lines, the files are what String prints.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"contract.kernel", "attend.kernel", "recur.kernel"} {
		src, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		var lines, printed []string
		for l := range strings.Lines(string(src)) {
			if !strings.HasPrefix(l, "//") && l != "\n" {
				lines = append(lines, l)
			}
		}
		want := strings.Join(lines, "")
		ks := readKernels(t, name)
		for _, k := range ks {
			printed = append(printed, k.String())
		}
		got := strings.Join(printed, "")
		again, err := Parse(got)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(again, ks) {
			t.Errorf("%s: parse(print(k)) differs from k", name)
		}
		if got != want {
			t.Errorf("%s prints as\n%s", name, got)
		}
	}
}
