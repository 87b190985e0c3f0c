//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// peakRSS is the most memory, in bytes, that this process had at one time, 0
// where the system does not say.
func peakRSS() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}
