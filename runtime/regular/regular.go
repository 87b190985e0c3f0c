// Package regular reads files that must be files: not folders, nor pipes and
// devices, which may keep who opens them waiting or never end.
package regular

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Open opens a regular file for reading. It waits for nobody: neither for the
// writer of a pipe nor for a device. Errors name the file.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case st.IsDir():
		err = fmt.Errorf("%s is a folder, not a file", path)
	case !st.Mode().IsRegular():
		err = fmt.Errorf("%s is a pipe or a device, not a file", path)
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}

// Read gives the content of a regular file of at most so many bytes. A longer
// one is an error, and is not read.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	long := fmt.Errorf("%s has more than %d bytes", path, most)
	if st.Size() > most {
		return nil, long
	}
	b := make([]byte, 0, st.Size()+1) // the byte more shows the end
	for int64(len(b)) <= most {
		n, err := f.Read(b[len(b):cap(b)])
		if b = b[:len(b)+n]; err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		if len(b) == cap(b) { // it grows, or its size is not known before
			b = append(b, 0)[:len(b)]
		}
	}
	return nil, long
}
