// Package frontend reads the spec language and elaborates it into graphs.
// docs/language.md is the language's reference.
package frontend

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/specs"
)

// A Reader gives the text of a spec file; a file that is not there is an error
// that wraps fs.ErrNotExist.
type Reader func(path string) ([]byte, error)

// maxFiles bounds the files of one spec.
const maxFiles = 100

// readFile reads at most one byte more than a spec may have.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s is a folder, not a spec", name)
	}
	return io.ReadAll(io.LimitReader(f, maxSource+1))
}

// Load reads the spec at path and elaborates it. read may be nil: files are then
// read from disk. What is not found there is looked for among the specs that
// come with the compiler (specs/NAME.spec and lib/NAME.spec). set and config
// hold JSON values for the parameters, set before config before the default;
// entries of config that are no parameter are ignored, entries of set are not.
// The module is nil exactly where diagnostics are given.
func Load(name string, read Reader, set, config map[string]json.RawMessage) (*ir.Module, *Diagnostics) {
	if read == nil {
		read = readFile
	}
	e := &elab{
		d: &Diagnostics{src: map[string]string{}}, b: ir.NewBuilder(), global: &scope{vars: map[string]value{}},
		decls: map[string]*declared{}, weights: map[string]*ir.Node{}, rowInts: map[string]rowInt{}, tests: map[*ints.Expr]lexer.Position{}, choices: map[*ir.Node]*ir.Node{}, memo: map[string][]value{},
	}
	name = path.Clean(filepath.ToSlash(name))
	l := &loader{e: e, read: read, seen: map[string]bool{}}
	src, err := l.open(name)
	if err != nil {
		e.d.plain("%v", err)
		return nil, e.d
	}
	l.load(name, src, nil)
	if e.d.faulty() {
		return nil, e.d.orNil()
	}
	e.params(l.files, set, config)
	m := &ir.Module{Spec: path.Base(name), Doc: l.files[len(l.files)-1].lead()}
	e.globals(l.files)
	if !e.d.faulty() {
		e.entries(l.files[len(l.files)-1], m)
	}
	e.spellAll(l.files)
	if e.d.faulty() {
		return nil, e.d.orNil()
	}
	m.Params = e.paramList(l.files)
	return m, nil
}

type loader struct {
	e     *elab
	read  Reader
	seen  map[string]bool
	files []*file // imported ones first
}

// open reads a file; specs/… that is not there is one that comes with the compiler.
func (l *loader) open(name string) ([]byte, error) {
	src, err := l.read(name)
	if rest, ok := strings.CutPrefix(name, "specs/"); ok && errors.Is(err, fs.ErrNotExist) {
		if src, err := specs.FS.ReadFile(rest); err == nil {
			return src, nil
		}
	}
	return src, err
}

// load reads a file and what it imports; stack holds the files being read.
func (l *loader) load(name string, src []byte, stack []string) {
	l.seen[name] = true
	f := parse(name, string(src), l.e.d)
	stack = append(slices.Clone(stack), name)
	for _, d := range f.decls {
		if d.Import == nil {
			continue
		}
		want := strings.Trim(d.Import.Path, `"`)
		found, src, err := l.find(name, want)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.e.errorf(d.Import.Pos, "there is no spec %q, neither next to %s nor among those that come with the compiler", want, name)
		case err != nil:
			l.e.errorf(d.Import.Pos, "%v", err)
		case slices.Contains(stack, found):
			l.e.errorf(d.Import.Pos, "the import goes in a circle: %s", strings.Join(append(stack, found), " imports "))
		case l.seen[found]:
		case len(l.seen) >= maxFiles:
			l.e.errorf(d.Import.Pos, "a spec has at most %d files", maxFiles)
		default:
			l.load(found, src, stack)
		}
	}
	l.files = append(l.files, f)
}

// find reads the imported file: next to the importing one, or among the specs
// that come with the compiler.
func (l *loader) find(from, want string) (name string, src []byte, err error) {
	name = path.Join(path.Dir(from), want)
	if src, err = l.open(name); errors.Is(err, fs.ErrNotExist) {
		name = path.Join("specs", path.Clean("/"+want))
		src, err = l.open(name)
	}
	return name, src, err
}

// lead is the comment at the top of a file.
func (f *file) lead() string { return f.doc(0) }

// doc is the comment above a line, or at the top of the file for line 0.
func (f *file) doc(line int) string {
	var out []string
	next := line
	list := slices.Clone(f.comments)
	if line > 0 {
		slices.Reverse(list)
	}
	for _, c := range list {
		if !c.alone || line > 0 && c.pos.Line >= line {
			continue
		}
		if line == 0 && (next == 0 && c.pos.Line > 1 || next > 0 && c.pos.Line != next) || line > 0 && c.pos.Line != next-1 {
			break
		}
		text := strings.TrimSpace(strings.TrimLeft(c.text, "#"))
		if line > 0 {
			out, next = append([]string{text}, out...), c.pos.Line
		} else {
			out, next = append(out, text), c.pos.Line+1
		}
	}
	return strings.Join(out, "\n")
}

// trailing is the comment at the end of a line.
func (f *file) trailing(line int) string {
	for _, c := range f.comments {
		if !c.alone && c.pos.Line == line {
			return strings.TrimSpace(strings.TrimLeft(c.text, "#"))
		}
	}
	return ""
}

// entries elaborates the entry points of a file, one graph each.
func (e *elab) entries(f *file, m *ir.Module) {
	for _, d := range f.decls {
		if d.Entry == nil {
			continue
		}
		if slices.ContainsFunc(m.Entries, func(g *ir.Graph) bool { return g.Name == d.Entry.Name.Text }) {
			e.errorf(d.Entry.Name.Pos, "two entries are called %s", d.Entry.Name.Text)
			continue
		}
		if g := e.entry(d.Entry); g != nil {
			g.Doc = f.doc(d.Pos.Line)
			m.Entries = append(m.Entries, g)
		}
	}
	if len(m.Entries) == 0 && !e.d.faulty() {
		e.errorf(lexer.Position{Filename: f.name, Line: 1, Column: 1}, "the spec has no entry point: entry forward(tokens i32[t]) -> …")
	}
}

func (e *elab) entry(x *entryDecl) *ir.Graph {
	if n := max(len(x.Params), len(x.Results)); n > maxPorts {
		e.errorf(x.Pos, "the entry %s has %d inputs or results; at most %d: put several values into one, along a dimension", x.Name.Text, n, maxPorts)
		return nil
	}
	g := &ir.Graph{Name: x.Name.Text, B: e.b}
	e.used = map[string]*ir.Node{}
	s := &scope{vars: map[string]value{}}
	for _, p := range x.Params {
		if p.Shape == nil {
			e.errorf(p.Pos, "an input needs its type: %s f32[t, …]", p.Name.Text)
			return nil
		}
		et, ok := elem.F32, true
		if p.Elem != "" {
			et, ok = e.elemOf(p.Pos, p.Elem, s)
		}
		dims, okd := e.dims(p.Shape, s)
		if !ok || !okd {
			return nil
		}
		if _, twice := s.vars[p.Name.Text]; twice {
			e.errorf(p.Pos, "two inputs are called %s", p.Name.Text)
			return nil
		}
		in, ok := e.make(p.Pos, "input", ir.Attr{Name: p.Name.Text, Elem: et, Dims: dims}).(tensorV)
		if !ok {
			return nil
		}
		if c := in.Type.Clock(); c != nil {
			if c.Kind != ir.Base || g.Base != nil && g.Base != c {
				e.errorf(p.Pos, "the inputs of an entry have rows of one base clock, found %s", in.Type)
				return nil
			}
			g.Base = c
		}
		s.vars[p.Name.Text] = in
		g.Inputs = append(g.Inputs, in.Node)
	}
	if g.Base == nil {
		e.errorf(x.Pos, "an entry needs an input with rows of a clock: tokens i32[t]")
		return nil
	}
	var v value
	if x.Value != nil {
		v = e.expr(x.Value, s)
	} else {
		v = e.body(x.Body, s)
	}
	vals := []value{v}
	if l, ok := v.(listV); ok && len(x.Results) > 1 {
		vals = l
	}
	if isBad(vals...) {
		return nil
	}
	if len(vals) != len(x.Results) {
		e.errorf(x.Pos, "the entry has %d results, found %d", len(x.Results), len(vals))
		return nil
	}
	for i, r := range x.Results {
		if slices.ContainsFunc(g.Outputs, func(o ir.Output) bool { return o.Name == r.Name.Text }) {
			e.errorf(r.Pos, "two results are called %s", r.Name.Text)
			return nil
		}
		n, ok := e.tensor(r.Pos, vals[i], r.Name.Text)
		et, oke := e.elemOf(r.Pos, r.Elem, s)
		if !ok || !oke {
			return nil
		}
		if et.Float() {
			n = e.numbers(n)
		}
		if n.Type.Elem != et {
			e.errorf(r.Pos, "expected %s to be %s, found %s", r.Name.Text, et, n.Type)
			return nil
		}
		if isBad(e.shaped(r.Pos, "expected "+r.Name.Text, nil, r.Shape, n, s)) {
			return nil
		}
		g.Outputs = append(g.Outputs, ir.Output{Name: r.Name.Text, Node: n})
	}
	g.Clocks = clocksOf(g)
	return g
}

// clocksOf lists the clocks that a graph's nodes use, parents first.
func clocksOf(g *ir.Graph) []*ir.Clock {
	var out []*ir.Clock
	var add func(c *ir.Clock)
	add = func(c *ir.Clock) {
		if c != nil && !slices.Contains(out, c) {
			add(c.Of)
			out = append(out, c)
		}
	}
	add(g.Base)
	var walk func(roots []*ir.Node)
	walk = func(roots []*ir.Node) {
		for _, n := range ir.Postorder(roots...) {
			add(n.Type.Clock())
			add(n.Attr.Clock)
			if n.Body != nil {
				add(n.Body.Clock)
				walk(n.Body.Roots())
			}
		}
	}
	walk(g.Roots())
	return out
}
