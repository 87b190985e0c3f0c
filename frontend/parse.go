package frontend

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"
)

var parser = participle.MustBuild[decl](participle.Lexer(definition{}), participle.UseLookahead(1))

// statements parses one statement alone, to find each faulty one of a body.
var statements = func() *participle.Parser[stmt] {
	p, err := participle.ParserForProduction[stmt](parser)
	if err != nil {
		panic(err)
	}
	return p
}()

var opens = words("import clock param dim type rows require entry fn layer memory")

// bodies are the declarations with statements in { }.
var bodies = words("fn layer memory entry")

// parse reads a file. Each declaration is parsed alone, so that a fault in one
// leaves the others whole.
func parse(filename, src string, d *Diagnostics) *file {
	if d.src == nil {
		d.src = map[string]string{}
	}
	d.src[filename] = src
	f := &file{name: filename, src: src}
	if len(src) > maxSource {
		d.add(lexer.Position{Filename: filename, Line: 1, Column: 1}, "the file has %d bytes; a spec has at most %d", len(src), maxSource)
		return f
	}
	before := len(d.List)
	toks, comments := scan(filename, src, d)
	f.toks, f.comments = toks, comments
	if len(d.List) > before {
		return f
	}
	for _, part := range split(toks) {
		if t := part[0]; !opens[t.Value] {
			d.add(t.Pos, "expected a declaration (import, clock, param, dim, type, rows, require, fn, layer, memory or entry), found %s%s", spell(t), near(t.Value, keys(opens)))
			continue
		}
		if !balanced(part, d) {
			continue
		}
		x, err := parseTokens(parser, part)
		if err == nil {
			f.decls = append(f.decls, x)
			continue
		}
		if !bodies[part[0].Value] || !faults(part, d) {
			report(d, err, part[0])
		}
	}
	return f
}

func parseTokens[G any](p *participle.Parser[G], part []lexer.Token) (*G, error) {
	lx, err := lexer.Upgrade(&tokens{list: part})
	if err != nil {
		return nil, err
	}
	return p.ParseFromLexer(lx)
}

func report(d *Diagnostics, err error, first lexer.Token) {
	var at participle.Error
	if errors.As(err, &at) {
		d.add(at.Position(), "%s", syntaxMessage(at))
	} else {
		d.add(first.Pos, "%v", err)
	}
}

// faults reports the faulty statements of the first { } in part; false where
// there is none.
func faults(part []lexer.Token, d *Diagnostics) bool {
	depth, start, found := 0, -1, false
	for i, t := range part {
		switch {
		case start >= 0 && depth == 1 && (t.Type == tokEOL || t.Type == tokPunct && t.Value == "}"):
			if one := part[start:i]; len(one) > 0 && !faults(one, d) {
				if _, err := parseTokens(statements, one); err != nil {
					report(d, err, one[0])
					found = true
				}
			} else if len(one) > 0 {
				found = true
			}
			start = i + 1
		case t.Type == tokPunct && t.Value == "{" && start < 0 && depth == 0:
			start = i + 1
		}
		if t.Type != tokPunct {
			continue
		}
		switch t.Value {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth == 0 && t.Value == "}" {
				return found
			}
		}
	}
	return found
}

// balanced reports the first bracket of a declaration that has no partner.
func balanced(part []lexer.Token, d *Diagnostics) bool {
	partner := map[string]string{")": "(", "]": "[", "}": "{"}
	var open []lexer.Token
	for _, t := range part {
		if t.Type != tokPunct {
			continue
		}
		switch t.Value {
		case "(", "[", "{":
			open = append(open, t)
		case ")", "]", "}":
			if len(open) == 0 {
				d.add(t.Pos, "this %s closes nothing", t.Value)
				return false
			}
			if o := open[len(open)-1]; o.Value != partner[t.Value] {
				d.add(t.Pos, "this %s cannot close the %s at %s", t.Value, o.Value, place(o.Pos))
				return false
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		d.add(open[len(open)-1].Pos, "this %s is never closed", open[len(open)-1].Value)
		return false
	}
	return true
}

// split cuts tokens into declarations: at a word that opens one, at the start of
// a line outside brackets, or at the margin and followed by a name (so that a
// forgotten bracket spoils one declaration only).
func split(toks []lexer.Token) [][]lexer.Token {
	var parts [][]lexer.Token
	depth, start := 0, 0
	cut := func(i int) {
		part := toks[start:i]
		for len(part) > 0 && part[len(part)-1].Type == tokEOL {
			part = part[:len(part)-1]
		}
		if len(part) > 0 {
			parts = append(parts, part)
		}
		start, depth = i, 0
	}
	for i, t := range toks {
		line := i == 0 || toks[i-1].Type == tokEOL || toks[i-1].Pos.Line < t.Pos.Line
		if line && opens[t.Value] && i > start {
			named := i+1 < len(toks) && (toks[i+1].Type == tokIdent || toks[i+1].Type == tokString)
			if depth <= 0 || t.Pos.Column == 1 && named && t.Value != "dim" && t.Value != "require" {
				cut(i)
			}
		} else if depth <= 0 && i > start && toks[i-1].Type == tokEOL {
			cut(i)
		}
		if t.Type == tokPunct {
			switch t.Value {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
		}
	}
	cut(len(toks))
	return parts
}

// syntaxMessage says what the parser found and what it wanted there.
func syntaxMessage(err participle.Error) string {
	var u *participle.UnexpectedTokenError
	if !errors.As(err, &u) {
		return err.Message()
	}
	found := "unexpected " + strings.TrimPrefix(spell(u.Unexpected), "the ")
	if u.Unexpected.Type == tokKeyword {
		found += fmt.Sprintf(" (%s is a word of the language and cannot be a name)", u.Unexpected.Value)
	}
	// participle names what it wanted by the grammar's own text: show the plain ones.
	_, want, ok := strings.Cut(err.Message(), "(expected ")
	if !ok {
		return found
	}
	want = strings.TrimSuffix(want, ")")
	want = strings.NewReplacer("<ident>", "a name", "<string>", "a string", "<int>", "a number", "<eol>", "the end of the line").Replace(want)
	return found + ", expected " + plainWant(want)
}

var wants = map[string]string{
	"Unary": "a value", "Postfix": "a value", "Primary": "a value", "Expr": "a value", "Name": "a name", "Block": "{", "Stmt": "a statement",
	"Shape": "dimensions in [ ]", "Par": "a parameter", "Result": "a result", "TypeName": "a type", "Target": "a name", "DimBind": "a name", "RowRef": "a kind of row", "FieldDecl": "a field",
	"DimItem": "a dimension", "AsForm": "dimensions in [ ] or an element type", "Args": "(", "ChunkRef": "chunk", "EntryDecl": "an entry",
	"InitForm": "how to draw it (zeros, ones, const, normal or uniform)",
}

func plainWant(w string) string {
	var out []string
	for _, f := range strings.Fields(w) {
		head := strings.TrimRight(f, "?*+)")
		head = strings.TrimLeft(head, "(")
		for k, v := range wants {
			if strings.EqualFold(k, head) {
				head = v
			}
		}
		if head == "|" || head == "" {
			continue
		}
		out = append(out, strings.ReplaceAll(head, `"`, ""))
		break
	}
	if strings.Contains(w, "|") && len(out) == 1 {
		return out[0] + " or the like"
	}
	return strings.Join(out, " ")
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}
