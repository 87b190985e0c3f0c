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
	begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, begun := bytes.Cut(b, []byte(begin))
	_, tail, ended := bytes.Cut(rest, []byte(end))
	if !begun || !ended {
		return fmt.Errorf("%s lacks the lines %q and %q", file, begin, end)
	}
	return os.WriteFile(file, bytes.Join([][]byte{head, []byte(begin + text + end), tail}, nil), 0o644)
}
