//go:build !unix

package memory

import (
	"errors"
	"math"

	"github.com/memc-lang/memc/runtime/regular"
)

// Without mmap, regions are ordinary memory, aligned by hand.
func anonymous(n int) ([]byte, error) {
	b := make([]byte, n+Align)
	r := Region{bytes: b}
	skip := -int(r.Addr(0)) & (Align - 1)
	return b[skip : skip+n : skip+n], nil
}

func release([]byte) {}

// File reads a file into memory.
func File(path string) (*Region, error) {
	b, err := regular.Read(path, math.MaxInt)
	if err != nil {
		return nil, err
	}
	return &Region{bytes: b}, nil
}

// Code is for systems with mmap and mprotect.
func Code([]byte) (*Region, error) {
	return nil, errors.New("compiled code runs on Linux only: this system's way of making executable pages is not built in")
}
