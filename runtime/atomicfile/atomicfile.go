// Package atomicfile writes files that other processes see whole or not at all.
package atomicfile

import (
	"bufio"
	"io"
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
// any error the old file, or none, stays.
func Write(path string, fill func(w io.Writer) error) error {
	f, err := open(path)
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
