package gen

import (
	"fmt"
	"strings"
)

// The generated test feeds exampleRows rows, once whole and once cut after
// exampleCut of them.
const (
	exampleRows = 6
	exampleCut  = 2
	mostBytes   = 1 << 29 // of weights and states that a test may draw
)

// test writes the package's tests: an example for each entry point, and a stream
// that is cut, saved and loaded. They run with drawn weights, where those are of
// a size that a test can afford; else they are compiled only.
func (m *model) test(s *source) {
	s.printf("%s%s from the spec %s. DO NOT EDIT.\n\n//go:build linux && amd64\n\npackage %s\n\n", mark, m.manifest.Compiler, m.manifest.Name, m.pkg)
	runs := m.bytes <= mostBytes
	cut := -1 // the entry point that the test of saved states uses
	for i := len(m.entries) - 1; i >= 0 && runs; i-- {
		if m.entries[i].plain() {
			cut = i
		}
	}
	s.printf("import (\n\t\"context\"\n\t\"fmt\"\n\t\"log\"\n")
	if cut >= 0 {
		s.printf("\t\"path/filepath\"\n\t\"reflect\"\n\t\"testing\"\n")
	}
	s.printf("\n\t\"github.com/memc-lang/memc/runtime\"\n)\n\n")
	for i := range m.entries {
		m.example(s, &m.entries[i], runs)
	}
	if cut >= 0 {
		m.resume(s, &m.entries[cut])
	}
	s.printf("%s", `// someFloats and someInts make up inputs.
func someFloats(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32((i*37+11)%101)/50 - 1
	}
	return v
}

func someInts(n, below int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32((i*37 + 11) % below)
	}
	return v
}

var _, _ = someFloats, someInts // a program may take one kind alone
`)
}

// plain reports whether every argument is a slice, so that a test can make it up.
func (e *entry) plain() bool {
	for _, p := range e.in {
		if p.typ == tensor {
			return false
		}
	}
	return true
}

// made is code that makes up an input with exampleRows rows.
func (p port) made() string {
	n := p.per
	if p.rows {
		n *= exampleRows
	}
	switch p.typ {
	case "[]int32":
		below := int64(100)
		if p.below > 0 {
			below = p.below
		}
		return fmt.Sprintf("someInts(%d, %d)", n, below)
	case "[]float32":
		return fmt.Sprintf("someFloats(%d)", n)
	}
	return tensor + "{}"
}

func (m *model) open() string {
	if m.weights {
		return "NewDrawn(1) // New(\"weights.safetensors\") loads trained ones"
	}
	return "New()"
}

func (m *model) example(s *source, e *entry, runs bool) {
	s.printf("func ExampleSession_%s() {\nm, err := %s\n%ss, err := m.NewSession(runtime.Options{})\n%sdefer s.Close()\n", e.method, m.open(), fatal, fatal)
	var in, lens []string
	known := runs && e.plain()
	for _, p := range e.in {
		in = append(in, p.made())
	}
	want := ""
	results, print := newNames("_", fixed, set("m", "s", "log")), ""
	for _, p := range e.out {
		name := results.pick(p.name)
		lens = append(lens, name)
		if p.typ == tensor {
			print += fmt.Sprintf("fmt.Println(%q, %s.Shape)\n", p.name+":", name)
			known = false
			continue
		}
		n := p.per
		if p.rows {
			n *= exampleRows
			known = known && p.Dims[0] == e.clock
		}
		print += fmt.Sprintf("fmt.Println(%q, len(%s), %q)\n", p.name+":", name, "values")
		want += fmt.Sprintf("// %s: %d values\n", p.name, n)
	}
	s.printf("%s, err := s.%s(context.Background(), %s)\n%s%sfmt.Println(s.Pos(), \"rows read\")\n", strings.Join(lens, ", "), e.method, strings.Join(in, ", "), fatal, print)
	if known {
		s.printf("// Output:\n%s// %d rows read\n", want, exampleRows)
	}
	s.printf("}\n\n")
}

const fatal = "if err != nil {\nlog.Fatal(err)\n}\n"

// resume writes a test that feeds a stream whole, and again in two pieces with
// the state saved and loaded between them.
func (m *model) resume(s *source, e *entry) {
	s.printf(`// TestResume feeds a stream whole, and in two pieces with its state saved after
// the first and loaded by another session: the last values are the same.
func TestResume(t *testing.T) {
	m, err := %s
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	session := func() *Session {
		s, err := m.NewSession(runtime.Options{})
		must(err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	whole, first, second := session(), session(), session()
	path := filepath.Join(t.TempDir(), "state.safetensors")
`, m.open())
	var all, head, tail, lefts, rights []string
	for i, p := range e.in {
		s.printf("in%d := %s\n", i, p.made())
		all = append(all, fmt.Sprintf("in%d", i))
		if p.rows {
			head = append(head, fmt.Sprintf("in%d[:%d]", i, exampleCut*p.per))
			tail = append(tail, fmt.Sprintf("in%d[%d:]", i, exampleCut*p.per))
		} else {
			head, tail = append(head, all[i]), append(tail, all[i])
		}
	}
	blanks := strings.Repeat("_, ", len(e.out))
	for i := range e.out {
		lefts = append(lefts, fmt.Sprintf("want%d", i))
		rights = append(rights, fmt.Sprintf("got%d", i))
	}
	call := func(session string, in []string) string {
		return fmt.Sprintf("%s.%s(context.Background(), %s)", session, e.method, strings.Join(in, ", "))
	}
	s.printf("%s, err := %s\nmust(err)\n", strings.Join(lefts, ", "), call("whole", all))
	s.printf("%serr = %s\nmust(err)\nmust(first.SaveState(path))\nmust(second.LoadState(path))\n", blanks, call("first", head))
	s.printf("%s, err := %s\nmust(err)\n", strings.Join(rights, ", "), call("second", tail))
	for i, p := range e.out {
		want := lefts[i]
		if p.typ == tensor {
			want, rights[i] = want+".Data", rights[i]+".Data"
		}
		if p.rows { // the second piece gave the last of them
			want = fmt.Sprintf("%s[len(%s)-len(%s):]", want, want, rights[i])
		}
		s.printf("if !reflect.DeepEqual(%s, %s) {\nt.Error(\"%s: other values after a restored state\")\n}\n", rights[i], want, p.name)
	}
	s.printf("if whole.Pos() != second.Pos() {\nt.Errorf(\"%%d rows read, not %%d\", second.Pos(), whole.Pos())\n}\n}\n\n")
}
