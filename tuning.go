package memc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/cache"
	"github.com/memc-lang/memc/runtime/regular"
)

// Sizes are the tile sizes of a kernel that may be chosen, as passes.Tiling has
// them, in elements; 0 is the target's own.
type Sizes struct {
	Rows      int `json:"rows,omitempty"`
	Cols      int `json:"cols,omitempty"`
	MapElems  int `json:"map_elems,omitempty"`
	AttendQ   int `json:"attend_q,omitempty"`
	RecurRows int `json:"recur_rows,omitempty"`
}

// The most that sizes may be; MapElems is a product of two of them.
const (
	mostSize     = 1 << 10
	mostMapElems = 1 << 18
)

// over gives the tiling with the sizes that are chosen.
func (s Sizes) over(t passes.Tiling) passes.Tiling {
	for _, x := range []struct {
		to   *int
		size int
	}{{&t.Rows, s.Rows}, {&t.Cols, s.Cols}, {&t.MapElems, s.MapElems}, {&t.AttendQ, s.AttendQ}, {&t.RecurRows, s.RecurRows}} {
		if x.size > 0 {
			*x.to = x.size
		}
	}
	return t
}

func (s Sizes) check() error {
	for _, size := range []int{s.Rows, s.Cols, s.AttendQ, s.RecurRows} {
		if size < 0 || size > mostSize {
			return fmt.Errorf("a tile size of %d: it is from 1 to %d", size, mostSize)
		}
	}
	if s.MapElems < 0 || s.MapElems > mostMapElems {
		return fmt.Errorf("tiles of maps of %d elements: from 1 to %d", s.MapElems, mostMapElems)
	}
	return nil
}

// String lists what differs from the target's own sizes.
func (s Sizes) String() string {
	var out []string
	for _, x := range []struct {
		name string
		size int
	}{{"rows", s.Rows}, {"cols", s.Cols}, {"map elements", s.MapElems}, {"query rows", s.AttendQ}, {"recur rows", s.RecurRows}} {
		if x.size > 0 {
			out = append(out, fmt.Sprintf("%s %d", x.name, x.size))
		}
	}
	return strings.Join(out, ", ")
}

// SizesToTry are the sets of sizes that a search for a target tries: those of different
// schedules vary together, as each kernel reads only its own. A long search tries them all,
// a short one those that come first.
func SizesToTry(target string) []Sizes {
	t := TilingOf(target)
	by := func(x int, f float64) int { return max(1, int(float64(x)*f)) }
	var out []Sizes
	for _, f := range [][4]float64{ // Rows, Cols, MapElems, and rows of attention and memories
		{0.5, 1, 0.25, 0.5}, {2, 1, 4, 2}, {1, 2, 2, 1.5}, {1, 0.5, 0.5, 0.25}, {2, 2, 0.125, 0.75}, {0.5, 2, 8, 3}, {4, 1, 0.0625, 0.125},
		{2, 0.5, 16, 4}, {1, 4, 32, 1.25}, {0.25, 2, 0.03125, 0.375}, {4, 0.25, 1.5, 0.625}, {0.25, 4, 0.75, 2.5}, {0.5, 0.5, 6, 0.875}, {0.25, 1, 12, 1.75},
	} {
		out = append(out, Sizes{Rows: by(t.Rows, f[0]), Cols: by(t.Cols, f[1]), MapElems: by(t.MapElems, f[2]), AttendQ: by(t.AttendQ, f[3]), RecurRows: by(t.RecurRows, f[3])})
	}
	return out
}

// TunedSizes are sizes that were timed.
type TunedSizes struct {
	Sizes Sizes   `json:"sizes"`
	Time  float64 `json:"time"` // of the kernel, as a part of what the target's own sizes take
}

// TunedKernel is one record of tuning: what is best for one kernel on one kind
// of machine. The kernel's text has its shapes and, in weights' and buffers'
// element types, how it was configured.
type TunedKernel struct {
	Kernel   string       `json:"kernel"` // hash of Program.Texts, 64 hexadecimal digits
	Schedule string       `json:"schedule"`
	Machine  string       `json:"machine"` // as Machine gives it
	Target   string       `json:"target"`
	Compiler string       `json:"compiler"` // Version
	Choices  []TunedSizes `json:"choices"`  // best first; none: the target's own are best
}

// MostChoices bounds a record's choices; later ones serve where earlier ones fail.
const MostChoices = 8

func (k *TunedKernel) check() error {
	if b, err := hex.DecodeString(k.Kernel); err != nil || len(b) != sha256.Size {
		return errors.New("it names no kernel by the hash of its text")
	}
	if k.Machine == "" || k.Target == "" || k.Compiler == "" {
		return errors.New("it lacks its machine, target or compiler")
	}
	if len(k.Choices) > MostChoices {
		return fmt.Errorf("it has %d choices, the most are %d", len(k.Choices), MostChoices)
	}
	for _, c := range k.Choices {
		if err := c.Sizes.check(); err != nil {
			return err
		}
		if !(c.Time > 0 && c.Time < 1) {
			return fmt.Errorf("sizes that take %g of the time of the target's own are no choice", c.Time)
		}
	}
	return nil
}

// fits reports whether a record is of this machine and compiler.
func (k *TunedKernel) fits() bool { return k.Machine == Machine() && k.Compiler == Version }

// file is a record's name in a folder of them.
func (k *TunedKernel) file() string {
	return cache.Key("tuned", k.Kernel, k.Machine, k.Target, k.Compiler) + tunedSuffix
}

const tunedSuffix = ".json"

// Machine names the kind of this machine's processor: model and features.
var Machine = sync.OnceValue(func() string {
	features := cpuid.CPU.FeatureSet()
	slices.Sort(features)
	sum := sha256.Sum256([]byte(strings.Join(features, " ")))
	return cpuid.CPU.BrandName + " " + hex.EncodeToString(sum[:4])
})

// Tuning is a set of records. A nil Tuning has none.
type Tuning struct {
	kernels map[string]TunedKernel // by target and kernel
	file    string                 // that they were read from, see OpenTuning; empty: none
	all     []TunedKernel          // of the file, those of other machines too
}

// NewTuning gives the records that fit this machine and compiler; unfit is the
// number of others.
func NewTuning(list []TunedKernel) (t *Tuning, unfit int) {
	t = &Tuning{kernels: map[string]TunedKernel{}}
	for _, k := range list {
		if !k.fits() {
			unfit++
			continue
		}
		t.kernels[k.Target+" "+k.Kernel] = k
	}
	return t, unfit
}

// OpenTuning reads a file that WriteTuningFile wrote, to compile programs with it
// that it has records for: see CheckTuning.
func OpenTuning(path string) (*Tuning, error) {
	list, err := ReadTuningFile(path)
	if err != nil {
		return nil, err
	}
	t, _ := NewTuning(list)
	t.file, t.all = path, list
	return t, nil
}

// CheckTuning says why a file of tuning has no effect on a program, which m is
// behind its passes: no record is for one of its kernels on one of the targets. A
// file may serve several machines and versions of memc: where it has such records
// for others alone, o.Warn is told. Tuning that is of no file passes.
func CheckTuning(m *ir.Module, o Options) error {
	t := o.Tuning
	if t == nil || t.file == "" {
		return nil
	}
	o.Tuning = nil // records know kernels by what they are without it
	kernels := map[string]bool{}
	for _, target := range o.Targets {
		if target == "interp" {
			continue
		}
		p, err := Lower(m, target, o)
		if err != nil {
			return err
		}
		for _, text := range p.Texts {
			kernels[target+" "+HashKernel(text)] = true
		}
	}
	unfit := false
	for _, k := range t.all {
		own := kernels[k.Target+" "+k.Kernel]
		if own && k.fits() {
			return nil
		}
		// Another version may have had other texts for the same kernels.
		unfit = unfit || own || k.Compiler != Version && slices.Contains(o.Targets, k.Target)
	}
	if !unfit {
		return fmt.Errorf("%s has no effect: none of its %d records is for a kernel of this program on %s (memc tune -o writes such)", t.file, len(t.all), strings.Join(o.Targets, ", "))
	}
	if o.Warn != nil {
		o.Warn(fmt.Sprintf("%s is not used: none of its %d records is for a kernel of this program on this machine (%s) with memc %s", t.file, len(t.all), Machine(), Version))
	}
	return nil
}

// HashKernel gives what a record names a kernel by; text is one of passes.Program.Texts.
func HashKernel(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Force is a tuning that gives every kernel the same sizes, to time them or to
// test that results are the same.
func Force(target string, s Sizes) *Tuning {
	return &Tuning{kernels: map[string]TunedKernel{target + " ": {Target: target, Choices: []TunedSizes{{Sizes: s}}}}}
}

// of is the record of a kernel with this text.
func (t *Tuning) of(target, text string) (key string, k TunedKernel) {
	if t == nil {
		return "", k
	}
	key = target + " " + HashKernel(text)
	k, ok := t.kernels[key]
	if !ok {
		key = target + " " // all of them
		k = t.kernels[key]
	}
	return key, k
}

// Choices are those for a kernel of this text, best first.
func (t *Tuning) Choices(target, text string) []TunedSizes {
	_, k := t.of(target, text)
	return k.Choices
}

// uses reports whether there is any choice for a target.
func (t *Tuning) uses(target string) bool {
	if t == nil {
		return false
	}
	for _, k := range t.kernels {
		if k.Target == target && len(k.Choices) > 0 {
			return true
		}
	}
	return false
}

// without is the tuning after the best choice for a kernel has failed, or for all
// of a target where nothing says which it was (text is empty). what names them;
// it is empty where there was no choice, so that it is not the tuning that fails.
func (t *Tuning) without(target, text string) (next *Tuning, what string) {
	if text == "" && !t.uses(target) {
		return t, ""
	}
	at, k := t.of(target, text)
	if text != "" && len(k.Choices) == 0 {
		return t, ""
	}
	next = &Tuning{kernels: maps.Clone(t.kernels), file: t.file, all: t.all}
	for key, k := range t.kernels {
		if len(k.Choices) > 0 && k.Target == target && (text == "" || key == at) {
			k.Choices = k.Choices[1:]
			next.kernels[key] = k
		}
	}
	if text == "" {
		return next, "all kernels"
	}
	schedule, _, _ := strings.Cut(text, "\n")
	return next, fmt.Sprintf("%s %.12s (%s)", schedule, HashKernel(text), k.Choices[0].Sizes)
}

// chooser is what lowering asks; nil where there is nothing to choose.
func (t *Tuning) chooser(target string) func(text string) passes.Tiling {
	if !t.uses(target) {
		return nil
	}
	return func(text string) passes.Tiling {
		choices := t.Choices(target, text)
		if len(choices) == 0 {
			return TilingOf(target)
		}
		return choices[0].Sizes.over(TilingOf(target))
	}
}

// id names the choices for some targets, in a cache's keys, and of a file what
// CheckTuning goes by.
func (t *Tuning) id(targets []string) string {
	var parts []string
	if t != nil && t.file != "" {
		parts = []string{t.file, Machine(), fmt.Sprint(t.all)}
	}
	for _, target := range targets {
		if !t.uses(target) {
			continue
		}
		for key, k := range t.kernels {
			if k.Target == target && len(k.Choices) > 0 {
				parts = append(parts, fmt.Sprintf("%s %v", key, k.Choices))
			}
		}
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return ""
	}
	return cache.Key(parts...)
}

// What is read of records: a folder's files beyond so many, and longer ones, are
// left alone.
const (
	mostRecords   = 1 << 14
	mostRecord    = 1 << 14 // bytes
	mostTunedFile = 1 << 24 // bytes of a file of many
)

// TuningDir is the folder of records beside a cache's files; empty where the
// cache keeps nothing.
func TuningDir(c *cache.Cache) string {
	if c.Dir() == "" {
		return ""
	}
	return filepath.Join(c.Dir(), "tuning")
}

// ReadTuningDir gives the records of a folder; none where there is no folder.
// faulty are the files that hold none, each with a sentence that says why.
func ReadTuningDir(dir string) (list []TunedKernel, faulty map[string]error, err error) {
	faulty = map[string]error{}
	if dir == "" {
		return nil, faulty, nil
	}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, faulty, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the folder of tuning's records: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(mostRecords)
	if err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("the folder of tuning's records: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, tunedSuffix) {
			continue // another process is writing it
		}
		b, err := regular.Read(filepath.Join(dir, name), mostRecord)
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		var k TunedKernel
		if err == nil {
			k, err = decodeStrict[TunedKernel](b)
		}
		if err == nil {
			err = k.check()
		}
		if err == nil && name != k.file() {
			err = errors.New("it is named for another kernel or machine")
		}
		if err != nil {
			faulty[name] = fmt.Errorf("%s is no record of tuning: %w", filepath.Join(dir, name), err)
			continue
		}
		list = append(list, k)
	}
	return list, faulty, nil
}

// CheckTuningDir says why WriteTuned could put no record into a folder, which is
// made where there is none.
func CheckTuningDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = atomicfile.Check(filepath.Join(dir, "any"+tunedSuffix))
	}
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		err = at.Err // where is said already
	}
	if err != nil {
		return fmt.Errorf("no record of tuning can be kept in %s: %w", dir, err)
	}
	return nil
}

// WriteTuned puts a record into a folder, which is made where there is none: the
// file appears whole or not at all, in the place of an earlier one.
func WriteTuned(dir string, k TunedKernel) error {
	if err := k.check(); err != nil {
		return fmt.Errorf("a record of tuning cannot be kept: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the folder of tuning's records: %w", err)
	}
	if err := writeJSON(filepath.Join(dir, k.file()), k); err != nil {
		return fmt.Errorf("a record of tuning cannot be kept: %w", err)
	}
	return nil
}

// PruneTuning removes records of other compilers and files that hold none. It
// gives the number of files that are gone.
func PruneTuning(dir string) (int, error) {
	list, faulty, err := ReadTuningDir(dir)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, k := range list {
		if k.Compiler != Version {
			names = append(names, k.file())
		}
	}
	for name := range faulty {
		names = append(names, name)
	}
	for i, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return i, fmt.Errorf("a record of tuning cannot be removed: %w", err)
		}
	}
	return len(names), nil
}

// tunedFile is a file of many records, to commit beside a spec.
type tunedFile struct {
	Kernels []TunedKernel `json:"tuned"`
}

// WriteTuningFile writes records to one file: one list, the same for the same
// records in any order.
func WriteTuningFile(path string, list []TunedKernel) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b TunedKernel) int {
		return strings.Compare(a.Target+a.Schedule+a.Kernel+a.Machine, b.Target+b.Schedule+b.Kernel+b.Machine)
	})
	return writeJSON(path, tunedFile{append([]TunedKernel{}, list...)})
}

// ReadTuningFile reads what WriteTuningFile wrote.
func ReadTuningFile(path string) ([]TunedKernel, error) {
	b, err := regular.Read(path, mostTunedFile)
	if err != nil {
		return nil, err
	}
	f, err := decodeStrict[tunedFile](b)
	if err != nil {
		return nil, fmt.Errorf("%s is no file of tuning (memc tune -o writes one): %w", path, err)
	}
	if len(f.Kernels) > mostRecords {
		return nil, fmt.Errorf("%s has %d records, the most are %d", path, len(f.Kernels), mostRecords)
	}
	for i := range f.Kernels {
		if err := f.Kernels[i].check(); err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, i+1, err)
		}
	}
	return f.Kernels, nil
}

// decodeStrict reads one JSON value that has no fields but T's.
func decodeStrict[T any](b []byte) (v T, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, err
	}
	if _, err := d.Token(); err != io.EOF {
		return v, errors.New("something follows its end")
	}
	return v, nil
}

func writeJSON[T any](path string, v T) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}
