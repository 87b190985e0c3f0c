package runtime

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// Param is a weight that a program reads.
type Param struct {
	Name  string    // the tensor's name in a checkpoint
	Shape []int     // its shape there
	Init  plan.Init // how to draw it
}

// Weights are the weights of one program: read only, shared by its sessions,
// safe for concurrent use, and released when nothing refers to them.
type Weights struct {
	program *Program
	params  []Param
	file    *safetensors.Checkpoint // nil: drawn
	seed    uint64
	packed  *packed // what compiled code reads; nil for other engines
	id      func() (string, error)
}

// LoadWeights maps a checkpoint, a safetensors file or a folder with one or
// with an index of several, and brings its tensors into the program's layout.
// The error lists every tensor that is missing, with the name that comes
// closest, and every one of another shape or type. More tensors than the
// program reads are no error: see Extra.
func (p *Program) LoadWeights(path string) (*Weights, error) {
	c, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	w := &Weights{program: p, params: p.engine.Params(), file: c}
	if err := w.check(); err != nil {
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
	names := slices.Clone(w.file.Names)
	for _, p := range w.params {
		t, ok := w.file.Tensors[p.Name]
		switch {
		case !ok && len(errs) < 20:
			errs = append(errs, fmt.Errorf("the tensor %s is missing%s", p.Name, nearest(p.Name, names)))
		case !ok:
			errs = append(errs, fmt.Errorf("the tensor %s is missing", p.Name))
		case !slices.Equal(t.Shape, p.Shape):
			errs = append(errs, fmt.Errorf("the tensor %s has the shape %v, the program wants %v", p.Name, t.Shape, p.Shape))
		default:
			if _, err := floatReader(t, false); err != nil {
				errs = append(errs, fmt.Errorf("the tensor %s: %w", p.Name, err))
			}
		}
	}
	return errors.Join(errs...)
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
	i := slices.IndexFunc(w.params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("the program has no weight %s", name)
	}
	read, err := w.reader(w.params[i], false)
	if err != nil {
		return nil, err
	}
	v := make([]float32, count(w.params[i].Shape))
	err = w.guard(func() error { read(v, 0); return nil })
	return v, err
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
	return floatReader(w.file.Tensors[p.Name], odd)
}

// guard runs read, which may touch mapped files.
func (w *Weights) guard(read func() error) error {
	if w.file == nil {
		return read()
	}
	defer goruntime.KeepAlive(w) // the mapping must outlive what read holds of it
	return w.file.Guard(read)
}

// Identity names the weights, in hexadecimal: the same values of the same
// tensors in the same types have the same one. It reads all of them the first
// time.
func (w *Weights) Identity() (string, error) { return w.id() }

func (w *Weights) identify() (string, error) {
	h := sha256.New()
	params := slices.SortedFunc(slices.Values(w.params), func(a, b Param) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range params {
		if w.file == nil {
			fmt.Fprintf(h, "%q %v %d %q %v\n", p.Name, p.Shape, w.seed, p.Init.Kind, p.Init.Scale)
			continue
		}
		t := w.file.Tensors[p.Name]
		if err := w.guard(func() error {
			sum := xxh3.Hash128(t.Data).Bytes()
			fmt.Fprintf(h, "%q %v %s ", p.Name, p.Shape, t.Elem)
			_, err := h.Write(sum[:])
			return err
		}); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
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
