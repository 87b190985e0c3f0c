package foreign

import (
	"errors"
	"strings"
	"testing"
)

// TestLibrary calls a function of the C library, which is everywhere where
// libraries can be opened.
func TestLibrary(t *testing.T) {
	var missing *Missing
	if _, err := Open("libmemc-is-not-there.so.9"); !errors.As(err, &missing) || !strings.Contains(err.Error(), "libmemc-is-not-there.so.9") {
		t.Errorf("a library that is not there: %v", err)
	}
	l, err := Open("libc.so.6")
	if err != nil {
		t.Skipf("no C library to try: %v", err)
	}
	if _, err := l.Symbol("memc_has_no_such_function"); err == nil {
		t.Error("a function that is not there is found")
	}
	labs, err := l.Symbol("labs")
	if err != nil {
		t.Fatal(err)
	}
	minus := -41
	args := []uintptr{uintptr(minus)}
	if got := Call(labs, args); got != 41 {
		t.Errorf("labs(-41) is %d", got)
	}
	if n := testing.AllocsPerRun(100, func() { Call(labs, args) }); n != 0 {
		t.Errorf("a call allocates %v times", n)
	}
}
