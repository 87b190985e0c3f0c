//go:build unix

package memory

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/memc-lang/memc/runtime/regular"
)

func anonymous(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

func release(pages []byte) {
	// The range came from Mmap whole, so unmapping it cannot fail.
	_ = unix.Munmap(pages)
}

// File maps a file for reading. If the file shrinks while it is mapped, reading
// what is gone faults; see debug.SetPanicOnFault.
func File(path string) (*Region, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case st.Size() == 0:
		return &Region{}, nil
	case int64(int(st.Size())) != st.Size():
		return nil, fmt.Errorf("%s has %d bytes: too many for this machine's addresses", path, st.Size())
	}
	pages, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be mapped: %w", path, err)
	}
	return own(pages), nil
}

// Code maps machine code: the bytes are copied to fresh pages, which then turn
// readable and executable; they are never writable and executable at once.
func Code(code []byte) (*Region, error) {
	if len(code) == 0 {
		return nil, fmt.Errorf("no code to map")
	}
	pages, err := anonymous(len(code) + Slack)
	if err != nil {
		return nil, fmt.Errorf("no memory for %d bytes of code: %w", len(code), err)
	}
	copy(pages, code)
	if err := unix.Mprotect(pages, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		release(pages)
		return nil, fmt.Errorf("this machine does not let code pages be made executable: %w", err)
	}
	return own(pages), nil
}
