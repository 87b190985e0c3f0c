package kernel

import (
	"fmt"
	"strings"
)

// token is a word, a number, a mark, a newline, a comment, or "" at the end.
type token struct {
	text string
	at   int // byte offset
}

// isWord reports whether c may stand in a name or a number.
func isWord(c byte) bool {
	return c == '_' || c == '.' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// scan gives the token that begins at or behind the byte offset.
func scan(src string, at int) token {
	for at < len(src) && (src[at] == ' ' || src[at] == '\t' || src[at] == '\r') {
		at++
	}
	rest := src[at:]
	if rest == "" {
		return token{"", at}
	}
	end := 1
	switch {
	case strings.HasPrefix(rest, "//"):
		end = strings.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest)
		}
	case isWord(rest[0]):
		for end < len(rest) && (isWord(rest[end]) || isDigit(rest[0]) && isExponent(rest, end)) {
			end++
		}
	case len(rest) > 1:
		switch rest[:2] {
		case "||", "&&", "==", "!=", "<=", ">=", "+=":
			end = 2
		}
	}
	return token{rest[:end], at}
}

// isExponent reports whether the sign at i belongs to a number such as 1e-05.
func isExponent(s string, i int) bool {
	return (s[i] == '-' || s[i] == '+') && (s[i-1] == 'e' || s[i-1] == 'E') && i+1 < len(s) && isDigit(s[i+1])
}

// place is an error at a byte of the source, as line:column, both from 1.
func place(src string, at int, format string, args ...any) error {
	before := src[:min(at, len(src))]
	line := strings.Count(before, "\n") + 1
	col := len(before) - strings.LastIndexByte(before, '\n')
	return fmt.Errorf("%d:%d: %s", line, col, fmt.Sprintf(format, args...))
}
