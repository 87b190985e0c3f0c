//go:build linux && (amd64 || arm64)

package foreign

import (
	"fmt"
	goruntime "runtime"

	"github.com/ebitengine/purego"
)

// Call calls the C function at fn with integers and addresses, at most 15, and
// gives what it returns. What addresses among args point to must not move or be
// freed until it has returned: it lies outside Go's heap, or in a variable of
// the heap that the caller keeps.
func Call(fn uintptr, args []uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// Open opens a shared library by the name that the loader knows it by. The
// error is a *Missing.
func Open(name string) (*Library, error) {
	goruntime.LockOSThread() // the loader keeps its last error for the thread
	defer goruntime.UnlockOSThread()
	h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, &Missing{name, err.Error()}
	}
	return &Library{name, h}, nil
}

// Symbol gives the address of a function.
func (l *Library) Symbol(name string) (uintptr, error) {
	at, err := purego.Dlsym(l.handle, name)
	if err != nil || at == 0 {
		return 0, fmt.Errorf("the library %s has no function %s", l.name, name)
	}
	return at, nil
}
