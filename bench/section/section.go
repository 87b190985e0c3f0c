// Package section writes what a command printed into a document, between two
// lines that name it.
package section

import (
	"bytes"
	"fmt"
	"os"
)

// Replace puts text between the lines "<!-- begin: name -->" and
// "<!-- end: name -->" of a file. Text ends with a line's end. The error of a file
// without these lines names them.
func Replace(file, name, text string) error {
	head, _, tail, err := cut(file, name)
	if err != nil {
		return err
	}
	return os.WriteFile(file, bytes.Join([][]byte{head, []byte(text), tail}, nil), 0o644)
}

// Read gives the text that Replace would replace, with the same errors.
func Read(file, name string) (string, error) {
	_, text, _, err := cut(file, name)
	return string(text), err
}

// cut gives the text between the two lines, which belong to head and tail.
func cut(file, name string) (head, text, tail []byte, err error) {
	begin, end := []byte("<!-- begin: "+name+" -->\n"), []byte("<!-- end: "+name+" -->\n")
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, nil, err
	}
	i := bytes.Index(b, begin)
	if i >= 0 {
		i += len(begin)
		if n := bytes.Index(b[i:], end); n >= 0 {
			return b[:i], b[i : i+n], b[i+n:], nil
		}
	}
	return nil, nil, nil, fmt.Errorf("%s lacks the lines %q and %q", file, begin, end)
}
