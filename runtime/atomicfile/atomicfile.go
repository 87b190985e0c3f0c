// Package atomicfile writes files that other processes see whole or not at all.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
	if named, err := filepath.EvalSymlinks(path); err == nil {
		path = named
	}
	place := open
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fmt.Errorf("%s is a folder, not a file", path)
	} else if err == nil && !st.Mode().IsRegular() {
		place = openStream
	}
	f, err := place(path)
	if err != nil {
		return err
	}
	defer f.Cleanup()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := fill(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Replace()
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
