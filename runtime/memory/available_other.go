//go:build !linux

package memory

// Available is not known here.
func Available() int64 { return -1 }
