package frontend

import (
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/participle/v2/lexer"
)

// width is how long a formatted line may be where it can be broken.
const width = 120

// Format gives a spec its one layout: two spaces a level, one space around
// operators, at most one empty line, long statements broken where their nesting
// is least. Comments stay: those on lines of their own before what follows them,
// those at a line's end there. The error is *Diagnostics.
func Format(name, src string) (string, error) {
	d := &Diagnostics{}
	f := parse(name, src, d)
	if d.faulty() {
		return "", d.orNil()
	}
	w := &writer{f: f, comments: f.comments, first: true}
	for _, x := range f.decls {
		w.item(x.Pos, 0, func() { w.decl(x) })
	}
	w.before(len(src)+1, 0)
	if w.out.Len() == 0 {
		return "", nil
	}
	return w.out.String() + "\n", nil
}

// A writer prints items (declarations and statements), each on lines of its own,
// with the comments that belong to them.
type writer struct {
	f        *file
	comments []comment // not yet printed
	out      strings.Builder
	first    bool // nothing stands before on this level
	last     int  // source line on which what was printed last ends
	at       int  // token number of the running item's first
	depth    int
	words    []word // of the running line
}

// A word is text and the break before it: a space or nothing, or a new line
// where the line is too long, breaks of the least level first.
type word struct {
	text  string
	space string
	level int // -1: the line cannot be broken here
}

// newline begins a line for something from the given source line.
func (w *writer) newline(line, depth int) {
	if w.out.Len() > 0 {
		w.out.WriteByte('\n')
		if !w.first && line-w.last > 1 {
			w.out.WriteByte('\n')
		}
	}
	w.first = false
	w.out.WriteString(strings.Repeat("  ", depth))
}

// before prints the comments that stand before a place of the source.
func (w *writer) before(offset, depth int) {
	for len(w.comments) > 0 && w.comments[0].pos.Offset < offset {
		c := w.comments[0]
		w.comments = w.comments[1:]
		w.newline(c.pos.Line, depth)
		w.out.WriteString(c.text)
		w.last = c.pos.Line
	}
}

// trailing prints the comment that ends a source line.
func (w *writer) trailing(line int) {
	if len(w.comments) > 0 && !w.comments[0].alone && w.comments[0].pos.Line == line {
		w.out.WriteString("  " + w.comments[0].text)
		w.comments = w.comments[1:]
	}
}

// item prints one declaration or statement at its depth. Comments in the midst
// of a line's words move before it.
func (w *writer) item(pos lexer.Position, depth int, print func()) {
	for w.at < len(w.f.toks) && w.f.toks[w.at].Pos.Offset < pos.Offset {
		w.at++
	}
	w.before(pos.Offset, depth)
	// The words of this item up to its end or to the { of its body.
	start, end := w.at, w.at
	nest := 0
	for k := start; k < len(w.f.toks); k++ {
		t := w.f.toks[k]
		if t.Type == tokEOL && nest == 0 {
			break
		}
		if t.Type == tokPunct && strings.Contains("([{", t.Value) {
			nest++
		}
		if t.Type == tokPunct && strings.Contains(")]}", t.Value) {
			if nest--; nest < 0 {
				break
			}
		}
		end = k
		if t.Value == "{" && t.Type == tokPunct {
			break
		}
	}
	w.before(w.f.toks[end].Pos.Offset, depth)
	old := w.depth
	w.depth = depth
	w.newline(pos.Line, depth)
	w.last = w.f.toks[end].Pos.Line
	print()
	w.flush()
	w.trailing(w.last)
	w.depth = old
}

// flush writes the running line's words, broken where they are too long.
func (w *writer) flush() {
	text := w.out.String()
	col := utf8.RuneCountInString(text[strings.LastIndexByte(text, '\n')+1:])
	lay(&w.out, w.words, col, 2*w.depth+4)
	w.words = nil
}

// lay writes words from column col on; a line that follows is indented.
func lay(out *strings.Builder, words []word, col, indent int) int {
	if len(words) == 0 {
		return col
	}
	least, total := -1, 0
	for k, x := range words {
		total += utf8.RuneCountInString(x.text)
		if k > 0 {
			total += len(x.space)
		}
		if k > 0 && x.level >= 0 && (least < 0 || x.level < least) {
			least = x.level
		}
	}
	if col+total <= width || least < 0 {
		for k, x := range words {
			if k > 0 {
				out.WriteString(x.space)
			}
			out.WriteString(x.text)
		}
		return col + total
	}
	// Parts between breaks of the least level, as many on a line as fit; what
	// follows a broken part begins a line.
	broken := false
	for start, k := 0, 1; k <= len(words); k++ {
		if k < len(words) && words[k].level != least {
			continue
		}
		part := words[start:k]
		n := 0
		for i, x := range part {
			n += utf8.RuneCountInString(x.text)
			if i > 0 {
				n += len(x.space)
			}
		}
		if start > 0 {
			if (broken || col+len(part[0].space)+n > width) && col > indent {
				out.WriteString("\n" + strings.Repeat(" ", indent))
				col = indent
			} else {
				out.WriteString(part[0].space)
				col += len(part[0].space)
			}
		}
		before := out.Len()
		col = lay(out, part, col, indent+2)
		broken = strings.Contains(out.String()[before:], "\n")
		start = k
	}
	return col
}

// put adds text to the running line, before which it can be broken at a level.
func (w *writer) put(text string, level int) {
	x := word{text: text, level: level}
	if rest, ok := strings.CutPrefix(text, " "); ok {
		x.text, x.space = rest, " "
	}
	if level < 0 && len(w.words) > 0 {
		// What cannot be broken off is part of the word before.
		w.words[len(w.words)-1].text += x.space + x.text
		return
	}
	w.words = append(w.words, x)
}

// glue adds text that cannot be broken off.
func (w *writer) glue(text string) { w.put(text, -1) }

// block prints { statements }; on one line where the source has it so.
func (w *writer) block(pos lexer.Position, stmts []*stmt, close lexer.Position) {
	if len(stmts) == 0 && close.Line == pos.Line {
		w.glue(" {}")
		return
	}
	if close.Line == pos.Line && simple(stmts) {
		w.glue(" {")
		for k, x := range stmts {
			if k > 0 {
				w.glue(";")
			}
			w.glue(" ")
			w.stmt(x, 100)
		}
		w.glue(" }")
		return
	}
	w.open(pos)
	for _, x := range stmts {
		w.item(x.Pos, w.depth+1, func() { w.stmt(x, 0) })
	}
	w.close(close)
}

func simple(stmts []*stmt) bool {
	for _, x := range stmts {
		if x.Write != nil || x.If != nil || x.For != nil {
			return false
		}
	}
	return true
}

// open prints { and goes on with the lines in it.
func (w *writer) open(pos lexer.Position) {
	w.glue(" {")
	w.flush()
	w.trailing(pos.Line)
	w.first, w.last = true, pos.Line
}

// close prints the comments before } and itself.
func (w *writer) close(pos lexer.Position) {
	w.before(pos.Offset, w.depth+1)
	w.first = true
	w.newline(pos.Line, w.depth)
	w.glue("}")
	w.first, w.last = false, pos.Line
}

// closing finds the } that closes the { at pos.
func (w *writer) closing(pos lexer.Position) lexer.Position {
	nest := 0
	for k := w.at; k < len(w.f.toks); k++ {
		t := w.f.toks[k]
		if t.Pos.Offset < pos.Offset || t.Type != tokPunct {
			continue
		}
		switch t.Value {
		case "{":
			nest++
		case "}":
			if nest--; nest == 0 {
				return t.Pos
			}
		}
	}
	return pos
}
