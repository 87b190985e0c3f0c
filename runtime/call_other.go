//go:build !(linux && amd64)

package runtime

import (
	"fmt"
	goruntime "runtime"
	"sync/atomic"
)

// nativeHere says why this system cannot run compiled code.
func nativeHere() error {
	return &Unsupported{fmt.Sprintf("compiled code for amd64 runs on Linux on x86-64; this is %s on %s", goruntime.GOOS, goruntime.GOARCH)}
}

func allowTiles() error { return nativeHere() }

func callWalk(uintptr, *walkCall, int, *[8]uintptr) { panic("runtime: compiled code cannot run here") }

func park(*atomic.Uint32) { panic("runtime: nothing works here, nor sleeps") }

func unpark(*atomic.Uint32) { panic("runtime: nothing works here, nor sleeps") }
