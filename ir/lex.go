package ir

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
)

// SyntaxError says where a text is wrong, both numbers from 1.
type SyntaxError struct {
	Line, Col int
	Msg       string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// lexer cuts the text into words, numbers, strings, value names such as %12,
// and single marks. Reading fails by a panic with a *SyntaxError, which Parse
// turns into its error: every function below stops at the first fault.
type lexer struct {
	src  string
	pos  int // behind tok
	at   int // where tok begins
	tok  string
	text string // of a string: what it says
	kind tokenKind
}

type tokenKind uint8

const (
	end tokenKind = iota
	name
	number
	quoted
	value // %12
	mark
)

func (l *lexer) failAt(at int, format string, args ...any) {
	before := l.src[:min(at, len(l.src))]
	panic(&SyntaxError{1 + strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n'), fmt.Sprintf(format, args...)})
}

func (l *lexer) fail(format string, args ...any) { l.failAt(l.at, format, args...) }

func (l *lexer) found() string {
	if l.kind == end {
		return "the end"
	}
	return strconv.Quote(shorten(l.tok))
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func (l *lexer) next() {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			l.pos++
			continue
		case strings.HasPrefix(l.src[l.pos:], "//"):
			i := strings.IndexByte(l.src[l.pos:], '\n')
			if i < 0 {
				i = len(l.src) - l.pos
			}
			l.pos += i
			continue
		}
		break
	}
	l.at, l.text = l.pos, ""
	if l.pos == len(l.src) {
		l.tok, l.kind = "", end
		return
	}
	rest := l.src[l.pos:]
	digit := func(i int) bool { return i < len(rest) && rest[i] >= '0' && rest[i] <= '9' }
	n := 1
	switch c := rest[0]; {
	case digit(0) || c == '-' && (digit(1) || strings.HasPrefix(rest, "-inf")):
		l.kind = number
		for n < len(rest) && (nameByte(rest[n]) || (rest[n] == '-' || rest[n] == '+') && rest[n-1] == 'e' && digit(n+1)) {
			n++
		}
	case nameByte(c):
		l.kind = name
		for n < len(rest) && nameByte(rest[n]) {
			n++
		}
	case c == '"':
		l.kind = quoted
		q, err := strconv.QuotedPrefix(rest)
		if err != nil {
			l.fail("a string that does not end, or a wrong escape in it")
		}
		n = len(q)
		if l.text, err = strconv.Unquote(q); err != nil {
			l.fail("a wrong string")
		}
	case c == '%':
		l.kind = value
		for digit(n) {
			n++
		}
	default:
		l.kind = mark
	}
	l.tok = rest[:n]
	l.pos += n
}

// is reports whether the token is this word or mark, and takes it.
func (l *lexer) is(s string) bool {
	if l.tok != s || l.kind == quoted {
		return false
	}
	l.next()
	return true
}

func (l *lexer) expect(s string) {
	if !l.is(s) {
		l.fail("expected %q, found %s", s, l.found())
	}
}

// name takes a word or a string.
func (l *lexer) name(what string) string {
	s := l.tok
	switch l.kind {
	case name:
	case quoted:
		s = l.text
	default:
		l.fail("expected %s, found %s", what, l.found())
	}
	l.next()
	return s
}

func (l *lexer) quoted(what string) string {
	if l.kind != quoted {
		l.fail("expected %s in quotes, found %s", what, l.found())
	}
	return l.name(what)
}

func (l *lexer) int() int64 {
	k, err := strconv.ParseInt(l.tok, 10, 64)
	if l.kind != number || err != nil {
		l.fail("expected an integer, found %s", l.found())
	}
	l.next()
	return k
}

// maxSize bounds every size in a text, so that sums and products of a few of
// them stay inside 64 bits.
const maxSize = 1 << 40

// size takes an integer from least to maxSize.
func (l *lexer) size(least int64) int {
	at := l.at
	k := l.int()
	if k < least || k > maxSize {
		l.failAt(at, "a size of %d; it must be at least %d and at most 2^40", k, least)
	}
	return int(k)
}

func (l *lexer) float() float64 {
	s := l.tok
	switch s {
	case "nan":
		l.next()
		return math.NaN()
	case "inf":
		l.next()
		return math.Inf(1)
	}
	f, err := strconv.ParseFloat(s, 64)
	if l.kind != number || err != nil {
		l.fail("expected a number, found %s", l.found())
	}
	l.next()
	return f
}

// ints takes [1 2 3].
func (l *lexer) ints() []int64 {
	l.expect("[")
	var out []int64
	for !l.is("]") {
		out = append(out, l.int())
	}
	return out
}

// expr takes an integer expression: everything up to a comma or a closing mark
// that is not inside brackets of its own.
func (l *lexer) expr() *ints.Expr {
	depth := 0
	i := l.at
loop:
	for ; i < len(l.src); i++ {
		switch l.src[i] {
		case '(', '[':
			depth++
		case ')', ']':
			if depth == 0 {
				break loop
			}
			depth--
		case ',', '}', '\n':
			if depth == 0 || l.src[i] != ',' {
				break loop
			}
		}
	}
	e, err := ints.Parse(l.src[l.at:i])
	if s, ok := err.(*ints.SyntaxError); ok {
		l.failAt(l.at+s.At, "%s", s.Msg)
	} else if err != nil {
		l.fail("%v", err)
	}
	l.pos = i
	l.next()
	return e
}

// paren takes (expression).
func (l *lexer) paren() *ints.Expr {
	l.expect("(")
	e := l.expr()
	l.expect(")")
	return e
}
