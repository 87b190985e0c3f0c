// Package atomicfile writes files that other processes see whole or not at all.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// pending is a temporary file that Replace renames into place and Cleanup
// removes where it was not.
type pending interface {
	io.Writer
	Replace() error
	Cleanup() error
}

// Write lets fill write a new version of the file at path, in a temporary file
// beside it that is synced and renamed into place when fill has succeeded. On
// any error the old file, or none, stays. A link to a file stays too: the file is
// written. What is there and no file, such as a device or a pipe, is written to.
func Write(path string, fill func(w io.Writer) error) error {
	f, err := place(path)
	if err != nil {
		return of(path, err)
	}
	defer f.Cleanup()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := fill(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return of(path, err)
	}
	return of(path, f.Replace())
}

// Check says why Write would fail before it has written anything: it makes the
// temporary file and removes it. What is there and no file, it leaves alone: who
// reads from a pipe would take that for the end.
func Check(path string) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() && !st.IsDir() {
		return nil
	}
	f, err := place(path)
	if err == nil {
		err = f.Cleanup()
	}
	return of(path, err)
}

// place opens what a new version of the file at path is written to.
func place(path string) (pending, error) {
	to := path
	if named, err := filepath.EvalSymlinks(path); err == nil {
		to = named
	}
	switch st, err := os.Stat(to); {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%s is a folder, not a file", path)
	case err == nil && !st.Mode().IsRegular():
		return openStream(to)
	}
	return open(to)
}

// of gives an error of the system as one of the file that was to be written: no one
// knows the temporary file.
func of(path string, err error) error {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &link):
		err = link.Err
	default:
		return err
	}
	return &fs.PathError{Op: "write", Path: path, Err: err}
}

// stream is what was there before, and stays.
type stream struct{ *os.File }

func (s stream) Replace() error { return s.Close() }
func (s stream) Cleanup() error { return s.Close() }

// openStream waits for nobody: a pipe without a reader is an error.
func openStream(path string) (pending, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) {
		return nil, fmt.Errorf("%s is a pipe from which nobody reads", path)
	}
	if err != nil {
		return nil, err
	}
	return stream{f}, nil
}
