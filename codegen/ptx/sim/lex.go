package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// token is a word, a number, or a sign of PTX text. A mnemonic with its dots
// and a special register ("%tid.x") are one word.
type token struct {
	text string
	line int
	word bool
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c == '%' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// lex cuts text into tokens (PTX ISA, "Source Format" and "Identifiers"); the
// error names the line.
func lex(text string) ([]token, error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r > '~' }); i >= 0 {
		return nil, fmt.Errorf("sim: line %d: PTX is written in ASCII", 1+strings.Count(text[:i], "\n"))
	}
	var out []token
	line := 1
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case strings.HasPrefix(text[i:], "//"):
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i+2:], "*/")
			if end < 0 {
				return nil, fmt.Errorf("sim: line %d: the comment does not end", line)
			}
			line += strings.Count(text[i:i+2+end], "\n")
			i += end + 4
		case c == '"':
			end := strings.IndexAny(text[i+1:], "\"\n")
			if end < 0 || text[i+1+end] != '"' {
				return nil, fmt.Errorf("sim: line %d: the string does not end", line)
			}
			out = append(out, token{text[i : i+end+2], line, false})
			i += end + 2
		case isWord(c):
			j := i
			// A double colon is within a mnemonic ("L1::no_allocate"), a single
			// one behind a label.
			for j < len(text) && (isWord(text[j]) || strings.HasPrefix(text[j:], "::")) {
				if text[j] == ':' {
					j++
				}
				j++
			}
			out = append(out, token{text[i:j], line, true})
			i = j
		case strings.IndexByte(",;:{}[]()+-=|@!<>", c) >= 0:
			out = append(out, token{text[i : i+1], line, false})
			i++
		default:
			return nil, fmt.Errorf("sim: line %d: %q is no part of PTX", line, rune(c))
		}
	}
	return out, nil
}

// literal reads a number: an integer (decimal, 0x, 0b, octal, with U behind
// it), or the bits of an f32 ("0f3F800000") or f64 ("0d...").
func literal(s string) (bits uint64, isFloat, ok bool) {
	if len(s) == 10 && (s[:2] == "0f" || s[:2] == "0F") {
		v, err := strconv.ParseUint(s[2:], 16, 32)
		return v, true, err == nil
	}
	if s == "" || s[0] < '0' || s[0] > '9' || strings.Contains(s, "_") {
		return 0, false, false
	}
	v, err := strconv.ParseUint(strings.TrimSuffix(s, "U"), 0, 64)
	return v, false, err == nil
}
