package gen

import (
	"fmt"
	"slices"
	"strings"
)

// code writes the package itself.
func (m *model) code(s *source) {
	s.printf("%s%s from the spec %s. DO NOT EDIT.\n\n", mark, m.manifest.Compiler, m.manifest.Name)
	s.comment(m.packageDoc())
	s.printf("package %s\n\nimport (\n\t\"context\"\n\t_ \"embed\"\n", m.pkg)
	if m.any(port.checked) {
		s.printf("\t\"fmt\"\n")
	}
	s.printf("\t\"sync\"\n\n\t\"github.com/memc-lang/memc/runtime\"\n)\n\n")
	m.constants(s)
	m.modelType(s)
	m.sessionType(s)
	for i := range m.entries {
		m.entries[i].code(s)
	}
	s.printf("%s", sessionMethods)
	if m.any(func(p port) bool { return p.checked() && p.rows }) {
		s.printf("%s", checkRows)
	}
}

// any reports whether an input of an entry point is such a one.
func (m *model) any(is func(port) bool) bool {
	return slices.ContainsFunc(m.entries, func(e entry) bool { return slices.ContainsFunc(e.in, is) })
}

func (m *model) packageDoc() string {
	e := &m.entries[0]
	from := `"weights.safetensors"`
	if !m.weights {
		from = ""
	}
	return paragraphs(
		wrap(fmt.Sprintf("Package %s runs the program of the spec %s, compiled for %s.", m.pkg, m.manifest.Name, list(m.targets))),
		m.manifest.Doc,
		fmt.Sprintf("\tm, err := %s.New(%s)\n\ts, err := m.NewSession(runtime.Options{})\n\t%s, err := s.%s(ctx, %s)",
			m.pkg, from, strings.Join(portNames(e.out), ", "), e.method, strings.Join(portNames(e.in), ", ")),
		wrap("A Model is the program with its weights; a Session is one stream, whose calls feed the rows that come next. "+
			"However a stream is cut into calls, its results are the same to the bit."),
	)
}

// constants are the spec's parameters.
func (m *model) constants(s *source) {
	var rest, lines source
	taken := newNames("Param", exports)
	for _, p := range m.params {
		value, ok := constant(p)
		if !ok {
			rest.printf("\t%s = %s\n", p.Name, p.Value)
			continue
		}
		lines.printf("%s = %s", taken.pick(exported(p.Name)), value)
		if doc := strings.Join(strings.Fields(p.Doc), " "); doc != "" {
			lines.printf(" ")
			lines.comment(doc)
		} else {
			lines.printf("\n")
		}
	}
	doc := "The spec's parameters: the values with which the program was compiled."
	if rest.Len() > 0 {
		doc += " Beside\nthese, which can be constants, there are\n\n" + rest.String()
	}
	if lines.Len() > 0 {
		s.comment(doc)
		s.printf("const (\n%s)\n\n", lines.String())
	}
}

// modelType writes Model and what makes one.
func (m *model) modelType(s *source) {
	s.printf("//go:embed %s\nvar modelFile []byte\n\n", artifactFile)
	s.printf("%s", `var modelProgram = sync.OnceValues(func() (*runtime.Program, error) { return runtime.Read(modelFile, "") })

`)
	if !m.weights {
		s.printf("%s", weightlessModel)
		return
	}
	s.printf("%s", weightedModel)
}

const weightlessModel = `// Model is the program; it reads no weights. It is read only and safe for
// concurrent use.
type Model struct {
	program *runtime.Program
	weights *runtime.Weights
}

// New prepares the program. A *runtime.Unsupported error says what this machine
// lacks to run it.
func New() (*Model, error) {
	p, err := modelProgram()
	if err != nil {
		return nil, err
	}
	return &Model{p, nil}, nil
}

`

const weightedModel = `// Model is the program with weights. It is read only and safe for concurrent
// use; sessions share it.
type Model struct {
	program *runtime.Program
	weights *runtime.Weights
}

// New loads the weights from a safetensors file, or from a folder that holds one
// or the index of several. The error lists every tensor that is missing or of
// another shape; a *runtime.Unsupported error says what this machine lacks.
func New(weights string) (*Model, error) {
	p, err := modelProgram()
	if err != nil {
		return nil, err
	}
	w, err := p.LoadWeights(weights)
	if err != nil {
		return nil, err
	}
	return &Model{p, w}, nil
}

// NewDrawn draws the weights at random, as the spec says how; the same seed
// gives the same ones.
func NewDrawn(seed uint64) (*Model, error) {
	p, err := modelProgram()
	if err != nil {
		return nil, err
	}
	w, err := p.DrawWeights(seed)
	if err != nil {
		return nil, err
	}
	return &Model{p, w}, nil
}

`

func (m *model) sessionType(s *source) {
	s.printf("%s", `// NewSession begins a stream.
func (m *Model) NewSession(o runtime.Options) (*Session, error) {
	s, err := m.program.NewSession(m.weights, o)
	if err != nil {
		return nil, err
	}
	return &Session{s}, nil
}

`)
	state := fmt.Sprintf("The state takes %d bytes, however long the stream.", m.state)
	if m.grows {
		state = "The state grows with the stream: see StateBytes."
	}
	s.comment(wrap("Session is one stream: a Model and a state. Its calls follow each other; two at the same time are an error. " + state))
	s.printf("type Session struct{ session *runtime.Session }\n\n")
}

// code writes an entry point's method.
func (e *entry) code(s *source) {
	s.comment(e.doc())
	s.printf("func (%s *Session) %s(ctx context.Context", e.receiver, e.method)
	for _, p := range e.in {
		s.printf(", %s %s", p.name, p.typ)
	}
	s.printf(") (")
	for _, p := range e.out {
		s.printf("%s %s, ", p.name, p.typ)
	}
	s.printf("err error) {\n")
	zero := e.zero()
	fail := fmt.Sprintf("err != nil {\nreturn %s, err\n}\n", zero)
	for i, p := range e.in {
		switch {
		case p.checked() && p.rows:
			s.printf("%s%d, err := modelRows(%q, len(%s), %d)\nif %s", e.rows, i, p.Name, p.name, p.per, fail)
		case p.checked():
			s.printf("if len(%s) != %d {\nreturn %s, fmt.Errorf(\"the input %s takes %d values, not %%d\", len(%s))\n}\n", p.name, p.per, zero, p.Name, p.per, p.name)
		}
	}
	s.printf("%s := []runtime.Tensor{", e.ins)
	for i, p := range e.in {
		if i > 0 {
			s.printf(", ")
		}
		s.printf("%s", p.argument(fmt.Sprintf("%s%d", e.rows, i)))
	}
	s.printf("}\n%s := make([]runtime.Tensor, %d)\n", e.outs, len(e.out))
	s.printf("if err = %s.session.Run(ctx, %d, %s, %s); %s", e.receiver, e.number, e.ins, e.outs, fail)
	for i, p := range e.out {
		if p.typ == tensor {
			s.printf("%s = %s[%d]\n", p.name, e.outs, i)
			continue
		}
		s.printf("if %s, err = runtime.%s(%s[%d]); %s", p.name, goTypes[p.typ], e.outs, i, fail)
	}
	s.printf("return %s, nil\n}\n\n", strings.Join(portNames(e.out), ", "))
}

// zero are the results beside an error.
func (e *entry) zero() string {
	var s []string
	for _, p := range e.out {
		if p.typ == tensor {
			s = append(s, tensor+"{}")
		} else {
			s = append(s, "nil")
		}
	}
	return strings.Join(s, ", ")
}

// argument is the tensor of an input with the number of its rows in that variable.
func (p port) argument(rows string) string {
	if p.typ == tensor {
		return p.name
	}
	s := fmt.Sprintf("runtime.From%s(%s", goTypes[p.typ], p.name)
	if p.rows && !p.checked() {
		rows = "len(" + p.name + ")"
	}
	if p.rows {
		s += ", " + rows
	}
	for _, d := range p.dims {
		s += fmt.Sprintf(", %d", d)
	}
	return s + ")"
}

func (e *entry) doc() string {
	table := [][]string{}
	for _, p := range e.in {
		table = append(table, []string{p.name, p.shape(), p.about()})
	}
	for _, p := range e.out {
		table = append(table, []string{p.name, p.shape(), "result: " + p.about()})
	}
	return paragraphs(
		wrap(fmt.Sprintf("%s is the entry point %s: it feeds the rows that come next.", e.method, e.spec.Name)),
		e.spec.Doc,
		columns(table),
		wrap(fmt.Sprintf("%s is the number of rows fed, at least 1; it follows from the arguments' lengths. "+
			"Values lie row by row, the last dimension closest together; the results are the caller's. "+
			"An error about the arguments leaves the session as it was; where ctx ends a long call, Pos tells how many rows were read.", e.clock)),
	)
}

const sessionMethods = `// Pos is the number of rows that the session has read.
func (s *Session) Pos() int64 { return s.session.Pos() }

// StateBytes is the memory that the session's state takes, in bytes.
func (s *Session) StateBytes() int64 { return s.session.StateBytes() }

// Probes are the values of the chunks that the last call completed, in order;
// the slice is valid until the next call.
func (s *Session) Probes() []runtime.Probe { return s.session.Probes() }

// SaveState writes the session's state to a file, which appears whole or not at
// all. From it the stream goes on with the same results to the bit.
func (s *Session) SaveState(path string) error { return s.session.SaveState(path) }

// LoadState replaces the session's state by a saved one of the same program,
// target and weights. On an error the session is as it was.
func (s *Session) LoadState(path string) error { return s.session.LoadState(path) }

// Fork is a session that goes on from the same point, with a state of its own.
func (s *Session) Fork() (*Session, error) {
	f, err := s.session.Fork()
	if err != nil {
		return nil, err
	}
	return &Session{f}, nil
}

// Close ends the session and frees its memory at once.
func (s *Session) Close() error { return s.session.Close() }

// Runtime is the session behind this one, for calls by name and for calls that
// allocate nothing.
func (s *Session) Runtime() *runtime.Session { return s.session }
`

const checkRows = `
// modelRows gives the number of rows in n values of an input that has per values
// a row.
func modelRows(input string, n, per int) (int, error) {
	if n%per != 0 {
		return 0, fmt.Errorf("the input %s takes %d values a row: %d are no whole number of rows", input, per, n)
	}
	return n / per, nil
}
`
