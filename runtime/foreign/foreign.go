// Package foreign calls code that is not Go's: compiled programs, and functions
// of libraries that are opened while a program runs. Nothing is linked, so that
// memc builds and runs where a library is not.
package foreign

import "fmt"

// Library is an opened shared library. It stays open: code of it may be running.
type Library struct {
	name   string
	handle uintptr
}

// Missing is the error of a library that is not here or cannot be opened.
type Missing struct {
	Library string
	Why     string // what the loader says
}

func (m *Missing) Error() string {
	return fmt.Sprintf("the library %s cannot be opened: %s", m.Library, m.Why)
}
