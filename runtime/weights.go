package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// Param is a weight that a program reads.
type Param struct {
	Name  string    // the tensor's name in a checkpoint
	Shape []int     // its shape there
	Init  plan.Init // how to draw it

	// Stored are the types that the program stores it as: each once, in the order of
	// their numbers; nil where that is not said.
	Stored []plan.Elem
}

// Store adds a type to those that the program stores the weight as.
func (p *Param) Store(e plan.Elem) {
	if i, ok := slices.BinarySearch(p.Stored, e); !ok {
		p.Stored = slices.Insert(p.Stored, i, e)
	}
}

// codes is the type of codes that the program stores the weight as, and nothing
// besides; ok is false where there is none.
func (p *Param) codes() (e plan.Elem, ok bool) {
	if len(p.Stored) != 1 || !p.Stored[0].Quantised() || len(p.Shape) == 0 {
		return 0, false
	}
	return p.Stored[0], true
}

// Weights are the weights of one program: read only, shared by its sessions,
// safe for concurrent use, and released when nothing refers to them.
type Weights struct {
	program *Program
	params  []Param
	file    *safetensors.Checkpoint // nil: drawn
	coded   map[string]*coded       // the file's weights that are codes
	seed    uint64
	packed  *packed // what compiled code reads; nil for other engines
	id      func() (string, error)
}

// LoadWeights maps a checkpoint, a safetensors file or a folder with one or
// with an index of several, and brings its tensors into the program's layout.
// The error lists every tensor that is missing, with the name that comes
// closest, and every one of another shape or type. More tensors than the
// program reads are no error: see Extra.
//
// Weights that the file has as codes (see WriteQuantised) are taken as they are by
// a program that stores them as such codes, are code times scale for one that
// stores them as f32, bf16 or f16, and are an error for one that stores them as
// codes of the other type.
func (p *Program) LoadWeights(path string) (*Weights, error) {
	c, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	w := &Weights{program: p, params: p.engine.Params(), file: c}
	if w.coded, err = codedOf(c); err == nil {
		err = w.check()
	}
	if err == nil {
		err = w.checkCodes()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := w.ready(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return w, nil
}

// DrawWeights draws every weight as the program's inits say. A tensor's values
// depend on the seed and its name alone, not on the target or its layout.
func (p *Program) DrawWeights(seed uint64) (*Weights, error) {
	w := &Weights{program: p, params: p.engine.Params(), seed: seed}
	if err := w.ready(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Weights) ready() error {
	w.id = sync.OnceValues(w.identify)
	e, ok := w.program.engine.(packer)
	if !ok {
		return nil
	}
	var err error
	w.packed, err = e.pack(w)
	return err
}

// packer is an engine that keeps weights in a layout of its own.
type packer interface {
	pack(w *Weights) (*packed, error)
}

// check compares the checkpoint with what the program wants.
func (w *Weights) check() error {
	var errs []error
	var others []error // of one reason, which one sentence says
	names := slices.Clone(w.file.Names)
	for _, p := range w.params {
		t, ok := w.file.Tensors[p.Name]
		switch {
		case !ok && len(errs) < 20:
			errs = append(errs, fmt.Errorf("the tensor %s is missing%s", p.Name, nearest(p.Name, names)))
		case !ok:
			errs = append(errs, fmt.Errorf("the tensor %s is missing", p.Name))
		case w.coded[p.Name] != nil:
			c := w.coded[p.Name]
			if !slices.Equal(c.shape, p.Shape) {
				errs = append(errs, fmt.Errorf("the tensor %s has the shape %v, the program wants %v", p.Name, c.shape, p.Shape))
			} else if err := c.fits(&p); err != nil {
				others = append(others, fmt.Errorf("the tensor %s %w", p.Name, err))
			}
		case w.likeCodes(p.Name):
			errs = append(errs, fmt.Errorf("the tensor %s holds %s, which is no floating type; if these are codes, the metadata of this one file should say so: %s", p.Name, t.Elem, anew))
		case !slices.Equal(t.Shape, p.Shape):
			errs = append(errs, fmt.Errorf("the tensor %s has the shape %v, the program wants %v", p.Name, t.Shape, p.Shape))
		default:
			if _, err := floatReader(t, false); err != nil {
				errs = append(errs, fmt.Errorf("the tensor %s: %w", p.Name, err))
			}
		}
	}
	switch n := len(others); {
	case n == 1:
		errs = append(errs, others[0])
	case n > 1:
		errs = append(errs, fmt.Errorf("%w (and %d other tensors)", others[0], n-1))
	}
	return errors.Join(errs...)
}

// likeCodes reports whether a tensor may be codes whose metadata was lost.
func (w *Weights) likeCodes(name string) bool {
	_, scales := w.file.Tensors[name+scalesSuffix]
	e := w.file.Tensors[name].Elem
	return scales && (e == safetensors.I8 || e == U8)
}

// Extra lists the checkpoint's tensors that the program does not read, sorted.
func (w *Weights) Extra() []string {
	if w.file == nil {
		return nil
	}
	reads := map[string]bool{}
	for _, p := range w.params {
		reads[p.Name] = true
	}
	for name := range w.coded {
		reads[name+scalesSuffix] = true // or go unread with their codes
	}
	var extra []string
	for _, name := range w.file.Names {
		if !reads[name] {
			extra = append(extra, name)
		}
	}
	slices.Sort(extra)
	return extra
}

// Params lists the weights that the program reads, in no particular order.
func (w *Weights) Params() []Param { return w.params }

// Float32 gives one of the program's weights, row-major in its checkpoint's
// shape, converted to f32.
func (w *Weights) Float32(name string) ([]float32, error) {
	p, err := w.param(name)
	if err != nil {
		return nil, err
	}
	read, err := w.reader(*p, false)
	if err != nil {
		return nil, err
	}
	v := make([]float32, count(p.Shape))
	err = w.guard(func() error { read(v, 0); return nil })
	return v, err
}

// Quantised gives one of the program's weights, of a dimension at least, as its
// codes in the quantised type e stand for it: row-major, each code times its
// scale. The error names a value that codes cannot stand for.
func (w *Weights) Quantised(name string, e plan.Elem) ([]float32, error) {
	p, err := w.param(name)
	if err != nil {
		return nil, err
	}
	c, err := w.coder(*p, e, p.Shape[len(p.Shape)-1])
	if err != nil {
		return nil, err
	}
	v := make([]float32, count(p.Shape))
	l := pieces(p.Shape)
	return v, w.each(l.groups(), func(s *scratch, g int) error {
		from, rows, _ := l.piece(g)
		codes, scales, err := c.rows(s, from/l.cols, rows)
		if err != nil {
			return err
		}
		made := coded{elem: e, ks: c.ks, codes: Tensor{Data: codes}, scales: Tensor{Data: scales}}
		made.floats(v[from:][:rows*l.cols], 0)
		return nil
	})
}

func (w *Weights) param(name string) (*Param, error) {
	i := slices.IndexFunc(w.params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("the program has no weight %s", name)
	}
	return &w.params[i], nil
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// reader gives a weight's elements from any one on; odd as for floatReader.
func (w *Weights) reader(p Param, odd bool) (func(dst []float32, from int), error) {
	if w.file == nil {
		return drawReader(w.seed, p.Name, p.Init), nil
	}
	if c := w.coded[p.Name]; c != nil {
		return c.floats, nil
	}
	return floatReader(w.file.Tensors[p.Name], odd)
}

// coder gives a weight's rows of ks elements as codes of type e. What is to be
// quantised is rounded to f32 first.
func (w *Weights) coder(p Param, e plan.Elem, ks int) (*coder, error) {
	c := &coder{tensor: p.Name, elem: e, ks: ks, stored: w.coded[p.Name]}
	if s := c.stored; s != nil && (s.elem != e || s.ks != ks) {
		return nil, fmt.Errorf("it is stored as %s in rows of %d, the program stores it as %s in rows of %d", s.elem, s.ks, e, ks)
	}
	var err error
	c.read, err = w.reader(p, false)
	return c, err
}

// fits refuses codes for a program that has others: made again of their values
// they would stand for other ones.
func (c *coded) fits(p *Param) error {
	for _, e := range p.Stored {
		if e.Quantised() && e != c.elem {
			return fmt.Errorf("is stored as %s, and the program stores it as %s: give the original weights, or what memc quantize --quantize %s makes of them, or compile with --quantize %s", c.elem, e, e, c.elem)
		}
	}
	return nil
}

// checkCodes checks the values of all codes and scales that the program reads.
func (w *Weights) checkCodes() error {
	for i := range w.params {
		c := w.coded[w.params[i].Name]
		if c == nil {
			continue
		}
		l := pieces(c.shape)
		if err := w.each(l.groups(), func(_ *scratch, g int) error {
			from, rows, _ := l.piece(g)
			return c.check(from/l.cols, rows)
		}); err != nil {
			return fmt.Errorf("the tensor %s: %w: %s", w.params[i].Name, err, anew)
		}
	}
	return nil
}

// guard runs read, which may touch mapped files.
func (w *Weights) guard(read func() error) error {
	if w.file == nil {
		return read()
	}
	defer goruntime.KeepAlive(w) // the mapping must outlive what read holds of it
	return w.file.Guard(read)
}

// nearest suggests the name that a missing tensor may go by.
func nearest(name string, names []string) string {
	best, least := "", len(name)/4+2
	for _, n := range names {
		if strings.HasSuffix(n, "."+name) || strings.HasSuffix(name, "."+n) {
			return ": is it called " + n + " here?"
		}
		if d := distance(name, n, least); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return ": is it called " + best + " here?"
}

// distance is the number of single-letter edits between two names, or limit
// where it is at least that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(b) > 500 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			edit := diagonal
			if a[i] != b[j] {
				edit++
			}
			diagonal = row[j+1]
			row[j+1] = min(edit, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return row[len(b)]
}
