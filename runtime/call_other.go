//go:build !(linux && amd64)

package runtime

import (
	"fmt"
	goruntime "runtime"
	"time"
)

// nativeHere says why this system cannot run compiled code.
func nativeHere() error {
	return &Unsupported{fmt.Sprintf("compiled code for amd64 runs on Linux on x86-64; this is %s on %s", goruntime.GOOS, goruntime.GOARCH)}
}

func allowTiles() error { return nativeHere() }

func sleep(*int64, int64, time.Duration) { panic("runtime: nothing works here, nor sleeps") }

func wake(*int64) { panic("runtime: nothing works here, nor sleeps") }
