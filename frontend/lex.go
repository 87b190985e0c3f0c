package frontend

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/participle/v2/lexer"
)

// The kinds of token. A word of the language that a spec may also use as a name
// (dim, rows, group, …) is an Ident; Keyword holds the words that are reserved.
const (
	tokIdent lexer.TokenType = iota + 1
	tokKeyword
	tokInt
	tokFloat
	tokString
	tokPunct
	tokEOL
)

var keywords = words("if then else for in each initial repeat over per where as at and or not div mod state read write return probe true false fn layer memory entry weight")

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// joins holds the words and signs that, at the start of a line, continue the
// line before; a minus does not, because a line may begin with one.
var joins = words("then else where and or at as per over + * / @ == != < <= > >=")

// A comment is text from # to the end of its line.
type comment struct {
	pos   lexer.Position
	text  string
	alone bool // nothing else stands on its line
}

// Bounds on what a hostile file may ask of the parser, whose recursion they limit.
const (
	maxSource  = 1 << 20
	maxNesting = 64
	maxPrefix  = 64 // if, each, repeat, initial in one statement
)

// definition tells participle the names of the tokens.
type definition struct{}

func (definition) Symbols() map[string]lexer.TokenType {
	return map[string]lexer.TokenType{"EOF": lexer.EOF, "Ident": tokIdent, "Keyword": tokKeyword, "Int": tokInt, "Float": tokFloat, "String": tokString, "Punct": tokPunct, "EOL": tokEOL}
}

// Lex reads tokens as one declaration's parser sees them.
func (definition) Lex(name string, r io.Reader) (lexer.Lexer, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxSource))
	if err != nil {
		return nil, err
	}
	d := &Diagnostics{}
	toks, _ := scan(name, string(src), d)
	return &tokens{list: toks}, nil
}

// tokens hands a slice of tokens to participle.
type tokens struct {
	list []lexer.Token
	end  lexer.Position
}

func (t *tokens) Next() (lexer.Token, error) {
	if len(t.list) == 0 {
		return lexer.EOFToken(t.end), nil
	}
	k := t.list[0]
	t.list = t.list[1:]
	t.end = k.Pos
	t.end.Column += utf8.RuneCountInString(k.Value)
	return k, nil
}

type scanner struct {
	src      string
	pos      lexer.Position
	toks     []lexer.Token
	comments []comment
	d        *Diagnostics
	brackets []lexer.Token // open ( [ {
	prefix   int
	newline  bool // a line ended since the last token
}

// scan cuts a file into tokens and comments. A line ends its statement unless
// its last token wants more, its next line begins with a word that continues it,
// or a bracket is open.
func scan(name, src string, d *Diagnostics) ([]lexer.Token, []comment) {
	s := &scanner{src: src, pos: lexer.Position{Filename: name, Line: 1, Column: 1}, d: d}
	for s.next() {
	}
	return s.toks, s.comments
}

func (s *scanner) advance(n int) string {
	text := s.src[s.pos.Offset : s.pos.Offset+n]
	s.pos.Offset += n
	for _, r := range text {
		if r == '\n' {
			s.pos.Line++
			s.pos.Column = 1
		} else {
			s.pos.Column++
		}
	}
	return text
}

func (s *scanner) next() bool {
	rest := s.src[s.pos.Offset:]
	if rest == "" {
		return false
	}
	c := rest[0]
	switch {
	case c == '\n':
		s.newline = true
		s.advance(1)
	case c == ' ' || c == '\t' || c == '\r':
		s.advance(1)
	case c == '#':
		n := strings.IndexByte(rest, '\n')
		if n < 0 {
			n = len(rest)
		}
		alone := len(s.toks) == 0 || s.newline
		pos := s.pos
		s.comments = append(s.comments, comment{pos, strings.TrimRight(s.advance(n), " \t\r"), alone})
	case c == ';':
		s.newline = true
		s.eol()
		s.advance(1)
	case c == '"':
		n := 1
		for n < len(rest) && rest[n] != '"' && rest[n] != '\n' {
			n++
		}
		if n == len(rest) || rest[n] == '\n' {
			s.d.add(s.pos, "the string has no closing quote")
			s.advance(n)
			break
		}
		s.emit(tokString, n+1)
	case c >= '0' && c <= '9':
		s.number(rest)
	case c == '_' || c < utf8.RuneSelf && unicode.IsLetter(rune(c)):
		n := 1
		for n < len(rest) && (rest[n] == '_' || rest[n] >= '0' && rest[n] <= '9' || rest[n] < utf8.RuneSelf && unicode.IsLetter(rune(rest[n]))) {
			n++
		}
		if keywords[rest[:n]] {
			s.emit(tokKeyword, n)
		} else {
			s.emit(tokIdent, n)
		}
	default:
		s.punct(rest)
	}
	return true
}

func (s *scanner) number(rest string) {
	n, kind := 0, tokInt
	digits := func() {
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
	}
	digits()
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		kind = tokFloat
		n++
		digits()
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		m := n
		n++
		if n < len(rest) && (rest[n] == '-' || rest[n] == '+') {
			n++
		}
		if n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			kind = tokFloat
			digits()
		} else {
			n = m
		}
	}
	s.emit(kind, n)
}

func (s *scanner) punct(rest string) {
	for _, p := range []string{"..", "==", "!=", "<=", ">=", "->"} {
		if strings.HasPrefix(rest, p) {
			s.emit(tokPunct, 2)
			return
		}
	}
	if strings.IndexByte("()[]{}+-*/@=<>,:.", rest[0]) >= 0 {
		s.emit(tokPunct, 1)
		return
	}
	r, n := utf8.DecodeRuneInString(rest)
	s.d.add(s.pos, "unexpected character %q", r)
	if r < ' ' || r == utf8.RuneError { // no text: what follows says nothing
		n = len(rest)
	}
	s.advance(n)
}

// eol ends the running statement, if there is one.
func (s *scanner) eol() {
	if k := len(s.brackets); k > 0 && s.brackets[k-1].Value != "{" || len(s.toks) == 0 {
		return
	}
	switch last := s.toks[len(s.toks)-1]; {
	case last.Type == tokEOL, last.Type == tokKeyword && last.Value != "true" && last.Value != "false":
	case last.Type == tokPunct && !strings.Contains(")]}", last.Value):
	default:
		s.toks = append(s.toks, lexer.Token{Type: tokEOL, Value: "\n", Pos: last.Pos})
		s.prefix = 0
	}
}

func (s *scanner) emit(kind lexer.TokenType, n int) {
	word := s.src[s.pos.Offset : s.pos.Offset+n]
	if s.newline && !joins[word] {
		s.eol()
	}
	s.newline = false
	tok := lexer.Token{Type: kind, Value: word, Pos: s.pos}
	s.advance(n)
	if kind == tokString {
		s.toks = append(s.toks, tok)
		return
	}
	switch word {
	case "(", "[", "{":
		s.brackets = append(s.brackets, tok)
		if len(s.brackets) == maxNesting+1 {
			s.d.add(tok.Pos, "brackets are nested more than %d deep", maxNesting)
		}
	case ")", "]", "}":
		if k := len(s.brackets); k > 0 {
			s.brackets = s.brackets[:k-1]
		}
		if k := len(s.toks); word == "}" && k > 0 && s.toks[k-1].Type == tokEOL {
			s.toks = s.toks[:k-1]
		}
	case "if", "each", "repeat", "initial", "-", "not":
		if s.prefix++; s.prefix == maxPrefix+1 {
			s.d.add(tok.Pos, "a statement holds more than %d of if, each, repeat, not and minus", maxPrefix)
		}
	}
	s.toks = append(s.toks, tok)
}

// spell shows a token in a message.
func spell(t lexer.Token) string {
	switch {
	case t.Type == lexer.EOF:
		return "the end"
	case t.Type == tokEOL:
		return "the end of the line"
	case t.Type == tokString:
		return "the string " + t.Value
	}
	return fmt.Sprintf("%q", t.Value)
}
