//go:build !(linux && (amd64 || arm64))

package foreign

import (
	"fmt"
	goruntime "runtime"
)

// Call is never reached: nothing can be opened here.
func Call(uintptr, []uintptr) uintptr { panic("foreign: no foreign code runs on this system") }

// Open says that this system cannot.
func Open(name string) (*Library, error) {
	return nil, &Missing{name, fmt.Sprintf("memc opens libraries on Linux on x86-64 and ARM64; this is %s on %s", goruntime.GOOS, goruntime.GOARCH)}
}

// Symbol is never reached.
func (l *Library) Symbol(string) (uintptr, error) {
	panic("foreign: no foreign code runs on this system")
}
