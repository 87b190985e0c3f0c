package frontend

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
)

// maxErrors is how many errors one run reports.
const maxErrors = 50

// Diagnostic is one fault of a spec.
type Diagnostic struct {
	Pos  ir.Pos // File is empty where no place of a spec is at fault
	Msg  string
	Line string   // the source line
	From []ir.Pos // the calls that led there, innermost first
}

// String gives file:line:col: error: message, the source line and a caret.
func (d Diagnostic) String() string {
	if d.Pos.File == "" {
		return "error: " + d.Msg
	}
	s := fmt.Sprintf("%s: error: %s", d.Pos, d.Msg)
	if d.Line == "" {
		return s
	}
	// Tabs stay tabs under tabs, so that the caret stands right in any editor.
	var under strings.Builder
	for i, r := range []rune(d.Line) {
		if i >= d.Pos.Col-1 {
			break
		}
		if r == '\t' {
			under.WriteByte('\t')
		} else {
			under.WriteByte(' ')
		}
	}
	s += "\n    " + d.Line + "\n    " + under.String() + "^"
	for _, p := range d.From {
		s += fmt.Sprintf("\n    called from %s", p)
	}
	return s
}

// Diagnostics are the faults of a spec and all it imports, in order of place.
type Diagnostics struct {
	List []Diagnostic
	src  map[string]string
	more int // faults beyond maxErrors
}

// Error lists every fault.
func (d *Diagnostics) Error() string {
	s := make([]string, len(d.List))
	for i, x := range d.List {
		s[i] = x.String()
	}
	if d.more > 0 {
		s = append(s, fmt.Sprintf("and %d more errors", d.more))
	}
	return strings.Join(s, "\n")
}

func (d *Diagnostics) add(pos lexer.Position, format string, args ...any) {
	p := ir.Pos{File: pos.Filename, Line: pos.Line, Col: pos.Column}
	msg := fmt.Sprintf(format, args...)
	if slices.ContainsFunc(d.List, func(o Diagnostic) bool { return o.Pos == p }) {
		return // a function that is called often, or a fault that follows from the first
	}
	if len(d.List) >= maxErrors {
		d.more++
		return
	}
	line := ""
	if src := d.src[pos.Filename]; pos.Offset <= len(src) && src != "" {
		start := strings.LastIndexByte(src[:pos.Offset], '\n') + 1
		line, _, _ = strings.Cut(src[start:], "\n")
		line = strings.TrimRight(line, "\r")
		if utf8.RuneCountInString(line) > 300 {
			line = string([]rune(line)[:300])
		}
	}
	d.List = append(d.List, Diagnostic{Pos: p, Msg: msg, Line: line})
}

// Rename gives every file that the faults name another name.
func (d *Diagnostics) Rename(to func(file string) string) {
	for i := range d.List {
		if p := &d.List[i].Pos; p.File != "" {
			p.File = to(p.File)
		}
		for k := range d.List[i].From {
			d.List[i].From[k].File = to(d.List[i].From[k].File)
		}
	}
}

// plain adds a fault that stands at no place of a spec.
func (d *Diagnostics) plain(format string, args ...any) {
	d.List = append(d.List, Diagnostic{Msg: fmt.Sprintf(format, args...)})
}

func (d *Diagnostics) faulty() bool { return len(d.List) > 0 }

// orNil is d where it holds a fault, ready to print.
func (d *Diagnostics) orNil() *Diagnostics {
	if !d.faulty() {
		return nil
	}
	slices.SortStableFunc(d.List, func(a, b Diagnostic) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		return 10000*(a.Pos.Line-b.Pos.Line) + a.Pos.Col - b.Pos.Col
	})
	return d
}

// near gives ", did you mean X?" for the candidate closest to word, or "".
func near(word string, candidates []string) string {
	best, at := 1+max(1, len(word)/3), ""
	slices.Sort(candidates)
	for _, c := range candidates {
		if k := distance(word, c); k < best && k < len(word) {
			best, at = k, c
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", at)
}

// distance is the number of letters to insert, delete, change or swap with the
// next (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var d [65][65]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
