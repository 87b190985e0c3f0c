package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/cache"
	"github.com/memc-lang/memc/runtime/regular"
)

// source is what a command works on.
type source struct {
	Spec   string   `arg:"" help:"A spec, an artifact (.memc), or a model folder whose config.json names its spec."`
	Set    []string `sep:"none" placeholder:"K=V" help:"Set a parameter of the spec; the value is JSON. May be repeated."`
	Config string   `placeholder:"FILE" help:"A JSON object with values for the spec's parameters; other keys are ignored."`

	Quantize string `placeholder:"Q" help:"Store the weights of products as q8 (8.25 bits each) or q4 (4.5 bits)."`
	Products string `placeholder:"T" help:"Round the operands of products to bf16, which matrix units multiply faster, or what weights of q8 or q4 are multiplied with to q8; f32 leaves them. Sums stay f32."`
	Cache    string `placeholder:"T" help:"Keep the keys and values of attention as f32, bf16, f16 or q8."`
	Slab     *int   `placeholder:"N" help:"Rows that one pass through the code takes (512); longer calls are cut. More suit a GPU and need more memory."`
	Hybrid   string `placeholder:"H" help:"How attention and a memory of one layer run: apart, launch (in one launch), or beside (one in the other's pauses); without it as counts say."`
	Tuning   string `placeholder:"FILE" help:"Tile sizes that memc tune -o wrote, or off; without it what memc tune has found on this machine."`
}

// engine is how a program is run.
type engine struct {
	Target  string `placeholder:"T" help:"The target to run; without it the fastest that this machine has."`
	Threads *int   `placeholder:"N" help:"Threads of a call on a processor; without it one for each that there is."`
	Rebuild bool   `help:"Compile an artifact again from its graph instead of trusting its code."`
}

// stepwise is how launches on a GPU are waited for.
type stepwise struct {
	Stepwise bool `help:"On a GPU, wait for every launch: an error then names its kernel."`
}

// weights is where a program's weights come from.
type weights struct {
	Weights string  `placeholder:"F" help:"A safetensors file, or a folder with one."`
	Seed    *uint64 `placeholder:"N" help:"Draw random weights from this seed."`
}

// input is a source that has been found and read.
type input struct {
	spec        string // the spec's file, where it is one
	set, config map[string]json.RawMessage
	quantize    string // memc.Options
	products    string
	hybrid      string
	cache       string
	slab        int
	tuning      *memc.Tuning
	asked       string // --tuning
	tunes       bool   // what was found on this machine is used
	artifact    *artifact.Artifact
	folder      string // the model folder, where it is one
}

// name is what the input is called in results.
func (in *input) name() string {
	if in.artifact != nil {
		return in.artifact.Manifest.Name
	}
	return strings.TrimSuffix(filepath.Base(in.spec), ".spec")
}

// open finds out what the source is and reads its parameters.
func (s *source) open() (*input, error) {
	in := &input{quantize: s.Quantize, cache: s.Cache, products: s.Products, hybrid: s.Hybrid, asked: s.Tuning, tunes: s.Tuning == ""}
	if s.Tuning != "" && s.Tuning != "off" {
		var err error
		if in.tuning, err = memc.OpenTuning(s.Tuning); err != nil {
			return nil, err
		}
	}
	if q := s.Quantize; q != "" && !slices.Contains(memc.Quantizations, q) {
		return nil, usage("--quantize %s: weights are quantised as %s", q, strings.Join(memc.Quantizations, " or "))
	}
	if s.Slab != nil {
		if *s.Slab < 1 || *s.Slab > mostSlab {
			return nil, usage("--slab %d: from 1 to %d rows", *s.Slab, mostSlab)
		}
		in.slab = *s.Slab
	}
	if t := s.Products; t != "" && !slices.Contains(memc.Products, t) {
		return nil, usage("--products %s: operands of products are %s", t, strings.Join(memc.Products, " or "))
	}
	if t := s.Hybrid; t != "" && !slices.Contains(memc.Hybrids, t) {
		return nil, usage("--hybrid %s: attention and a memory run %s", t, strings.Join(memc.Hybrids, ", "))
	}
	if t := s.Cache; t != "" && !slices.Contains(memc.Caches, t) {
		return nil, usage("--cache %s: keys and values are kept as one of %s", t, strings.Join(memc.Caches, ", "))
	}
	var err error
	if in.set, err = settingsOf(s.Set); err != nil {
		return nil, err
	}
	if s.Config != "" {
		if in.config, err = readConfig(s.Config); err != nil {
			return nil, err
		}
	}
	st, err := os.Stat(s.Spec)
	switch {
	case err == nil && st.IsDir():
		// A folder that is no model hides no spec of its name.
		if _, err := os.Stat(filepath.Join(s.Spec, "config.json")); errors.Is(err, fs.ErrNotExist) {
			if in.spec, err = memc.FindSpec("", s.Spec); err != nil {
				return nil, fmt.Errorf("%s is a folder without a config.json: no model folder; a spec is given by its file", s.Spec)
			}
			return in, nil
		}
		return in, s.folder(in)
	case err == nil && isArtifact(s.Spec):
		if len(s.Set) > 0 || s.Config != "" {
			return nil, usage("%s is an artifact: its parameters were set when it was compiled, --set and --config cannot change them", s.Spec)
		}
		in.artifact, err = artifact.ReadFile(s.Spec)
		return in, err
	}
	in.spec, err = memc.FindSpec("", s.Spec)
	return in, err
}

// changes reports whether flags say how the source is to be compiled.
func (s *source) changes() bool {
	return s.Quantize != "" || s.Cache != "" || s.Products != "" || s.Hybrid != "" || s.Slab != nil || s.Tuning != ""
}

// isArtifact reports whether a file is an artifact, by its name or its first
// bytes.
func isArtifact(path string) bool {
	if filepath.Ext(path) == ".memc" {
		return true
	}
	f, err := regular.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 5)
	n, _ := f.Read(magic)
	return n == 5 && bytes.Equal(magic, []byte("\x89memc"))
}

// folder reads a model folder's config.json.
func (s *source) folder(in *input) error {
	file := filepath.Join(s.Spec, "config.json")
	if s.Config != "" {
		return usage("%s is a model folder and has a config.json of its own; --config cannot replace it, --set changes single parameters", s.Spec)
	}
	config, err := readConfig(file)
	if err != nil {
		return err
	}
	var name string
	if raw, ok := config["spec"]; !ok || json.Unmarshal(raw, &name) != nil || name == "" {
		return fmt.Errorf(`%s does not name the model's spec: it needs an entry "spec": "NAME"`, file)
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%s names the spec %q, which is not inside the folder", file, name)
	}
	if in.spec, err = memc.FindSpec(s.Spec, name); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	delete(config, "spec")
	in.config, in.folder = config, s.Spec
	return nil
}

// mostSlab bounds the rows of one pass, which buffers have room for.
const mostSlab = 1 << 20

// maxConfig is the most bytes of a config file.
const maxConfig = 1 << 24

func readConfig(file string) (map[string]json.RawMessage, error) {
	b, err := regular.Read(file, maxConfig)
	if err != nil {
		return nil, err
	}
	config, err := members(b)
	if err != nil {
		return nil, fmt.Errorf("%s %w", file, err)
	}
	return config, nil
}

// members gives the members of a JSON object. A name that stands there twice is an
// error: one of its values would be lost. Errors begin with a verb, for a file's name.
func members(b []byte) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("is no JSON object: %w", err)
	}
	if all == nil {
		return nil, errors.New("is no JSON object: null")
	}
	in := json.NewDecoder(bytes.NewReader(b))
	if _, err := in.Token(); err != nil { // the brace
		return nil, err
	}
	for seen := map[any]bool{}; in.More(); {
		name, err := in.Token()
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, fmt.Errorf("has %q twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// settingsOf reads the values of --set.
func settingsOf(list []string) (map[string]json.RawMessage, error) {
	set := map[string]json.RawMessage{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usage("--set %s: it takes the form NAME=VALUE", s)
		}
		if _, twice := set[k]; twice {
			return nil, usage("--set %s is given twice", k)
		}
		if !json.Valid([]byte(v)) {
			return nil, usage("--set %s: the value %s is no JSON; text stands in quotes: --set '%s=\"…\"'", k, v, k)
		}
		set[k] = json.RawMessage(v)
	}
	return set, nil
}

// options are the compiler's options for these targets. An artifact's products
// stay as it was compiled unless the command line says otherwise.
func (in *input) options(targets []string) memc.Options {
	products := in.products
	if products == "" && in.artifact != nil && !slices.Equal(targets, []string{"interp"}) {
		products = in.artifact.Manifest.Products
	}
	return memc.Options{Targets: targets, Set: in.set, Config: in.config, Quantize: in.quantize, Cache: in.cache, Products: products, Hybrid: in.hybrid, Slab: in.slab, Tuning: in.tuning, Read: memc.ReadSpec}
}

// module elaborates the spec, or reads the artifact's graph.
func (in *input) module() (*ir.Module, error) {
	if in.artifact == nil {
		return memc.Load(in.spec, in.options(nil))
	}
	m, err := memc.ParseGraph(in.artifact)
	if err != nil {
		return nil, err
	}
	return memc.Store(m, in.options(nil))
}

// program is a program that is ready to run.
type program struct {
	*runtime.Program
	in             *input
	compileSeconds float64 // how long compiling took, when it was compiled; 0 for an artifact
}

// maxThreads is the most threads of a call.
const maxThreads = 1024

// checkThreads refuses a number of threads that is given and cannot be.
func checkThreads(n *int) error {
	if n != nil && (*n < 1 || *n > maxThreads) {
		return usage("--threads %d: give a number from 1 to %d, or leave --threads out for one for each processor", *n, maxThreads)
	}
	return nil
}

// threads is how many threads a call has on a target.
func (e *engine) threads(target string) int {
	switch {
	case target == "interp":
		return 1
	case e.Threads != nil:
		return *e.Threads
	}
	return goruntime.GOMAXPROCS(0)
}

// program compiles the source where that is needed and opens it for a target.
func (s *source) program(a *app, e engine) (*program, error) {
	if err := checkThreads(e.Threads); err != nil {
		return nil, err
	}
	if e.Target != "" && !slices.Contains(memc.Targets, e.Target) {
		return nil, usage("--target %s: there is no such target; targets are %s", e.Target, strings.Join(memc.Targets, ", "))
	}
	in, err := s.open()
	if err != nil {
		return nil, err
	}
	if in.artifact != nil && !e.Rebuild && s.changes() {
		return nil, usage("%s is compiled: --quantize, --products, --hybrid, --cache, --slab and --tuning change a program when it is compiled, or compiled again with --rebuild", s.Spec)
	}
	if e.Rebuild && in.artifact == nil {
		return nil, usage("--rebuild compiles an artifact again; %s is a spec", s.Spec)
	}
	if e.Target != "" {
		if err := memc.Runnable(e.Target); err != nil {
			return nil, err
		}
	}
	art, seconds := in.artifact, 0.0
	if art == nil || e.Rebuild {
		if e.Target == "" {
			e.Target = memc.HostTargets()[0]
		}
		if art, seconds, err = in.compileTimed(a, []string{e.Target}); err != nil {
			return nil, err
		}
	} else if e.Target == "interp" && art.Find("interp") == nil {
		art.Targets = append(art.Targets, artifact.Target{Name: "interp", Format: "graph"}) // every artifact has a graph
	}
	opened, err := runtime.New(art, e.Target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Spec, err)
	}
	p := &program{opened, in, seconds}
	if err := e.fits(p); err != nil {
		return nil, err
	}
	return p, nil
}

// portable makes what becomes of the input the same on all machines: what was tuned on
// this one is not used, and need not be turned off.
func (in *input) portable() error {
	if in.asked == "off" {
		return usage("--tuning off has no effect: this command uses nothing that was tuned on this machine, and gives the same on all")
	}
	in.tunes = false
	return nil
}

// compile compiles the input, or takes what was compiled before; the same on all
// machines.
func (in *input) compile(a *app, targets []string) (*artifact.Artifact, error) {
	if err := in.portable(); err != nil {
		return nil, err
	}
	art, _, err := in.compileTimed(a, targets)
	return art, err
}

// compileTimed is compile that says how long compiling took.
func (in *input) compileTimed(a *app, targets []string) (*artifact.Artifact, float64, error) {
	for _, t := range targets {
		if err := memc.Buildable(t); err != nil {
			return nil, 0, err
		}
	}
	if slices.Equal(targets, []string{"interp"}) && (in.slab != 0 || in.hybrid != "" || in.asked != "") {
		return nil, 0, usage("--slab, --hybrid and --tuning are about compiled code, and interp runs the graph")
	}
	kept := in.kept(a)
	if in.artifact == nil {
		o := in.options(targets)
		o.Warn = a.warn
		return memc.CompileCached(a.ctx, kept, in.spec, o)
	}
	begin := time.Now()
	m, err := in.module()
	if err != nil {
		return nil, 0, err
	}
	o := in.options(targets)
	o.Warn = a.warn
	art, err := memc.CompileModule(a.ctx, m, o)
	return art, time.Since(begin).Seconds(), err
}

// kept opens the cache and reads the records of tuning in it, where they are used.
// Where that cannot be done a warning says so, and nothing is kept.
func (in *input) kept(a *app) *cache.Cache {
	kept, err := cache.Default()
	if err != nil {
		if in.artifact == nil { // which is not cached anyway
			a.warn(fmt.Sprintf("the result is not cached: %v", err))
		}
		return &cache.Cache{}
	}
	if !in.tunes {
		return kept
	}
	list, faulty, err := memc.ReadTuningDir(memc.TuningDir(kept))
	if err != nil {
		a.warn(fmt.Sprintf("the result is not cached and no record of tuning is used: %v", err))
		return &cache.Cache{}
	}
	for _, name := range slices.Sorted(maps.Keys(faulty)) {
		a.warn(fmt.Sprintf("%v; memc tune --prune removes it", faulty[name]))
	}
	in.tuning, _ = memc.NewTuning(list)
	return kept
}

// fits says which flag has no weights to read or draw.
func (w *weights) fits(p *program) error {
	switch {
	case len(p.Params()) > 0:
	case w.Weights != "":
		return usage("--weights: %s reads no weights", p.Name())
	case w.Seed != nil:
		return usage("--seed: %s reads no weights that could be drawn", p.Name())
	}
	return nil
}

// load gives the weights of p: those that the flags name, else those of the
// model folder.
func (w *weights) load(p *program) (*runtime.Weights, error) {
	switch {
	case w.Weights != "" && w.Seed != nil:
		return nil, usage("--weights and --seed exclude each other: weights are read or drawn")
	case w.Weights != "":
		return p.LoadWeights(w.Weights)
	case w.Seed != nil:
		return p.DrawWeights(*w.Seed)
	case len(p.Params()) == 0:
		return p.DrawWeights(0)
	case p.in.folder != "":
		return p.LoadWeights(p.in.folder)
	}
	return nil, usage("%s reads %d weights: --weights says where they are, --seed draws them", p.Name(), len(p.Params()))
}

// session begins a stream with the weights that the flags name.
func (p *program) session(w *weights, e engine, step stepwise) (*runtime.Session, error) {
	if err := step.fits(p); err != nil {
		return nil, err
	}
	o := runtime.Options{Threads: e.threads(p.Target()), Stepwise: step.Stepwise}
	if err := w.fits(p); err != nil {
		return nil, err
	}
	loaded, err := w.load(p)
	if err != nil {
		return nil, err
	}
	return p.NewSession(loaded, o)
}

// fits refuses a number of threads that has no effect on the program's target.
func (e *engine) fits(p *program) error {
	if e.Threads != nil && memc.GPU(p.Target()) {
		return usage("--threads %d: %s runs on a GPU, whose threads are as many as its kernels have", *e.Threads, p.Target())
	}
	if e.Threads != nil && *e.Threads > 1 && p.Target() == "interp" {
		return usage("--threads %d: the interpreter has one", *e.Threads)
	}
	return nil
}

// fits refuses the flag where there are no launches to wait for.
func (s *stepwise) fits(p *program) error {
	if s.Stepwise && !memc.GPU(p.Target()) {
		return usage("--stepwise: %s runs on a processor; the flag is for GPUs", p.Target())
	}
	return nil
}

// where says what the program runs on, with so many threads.
func (p *program) where(threads int) string {
	if memc.GPU(p.Target()) {
		return fmt.Sprintf("%s (%s)", p.Target(), p.Device())
	}
	if p.Target() == "interp" {
		return p.Target()
	}
	return fmt.Sprintf("%s, %d threads", p.Target(), threads)
}

// entry is an entry point of the program.
func (p *program) entry(name string) (*runtime.Entry, error) {
	entries := p.Entries()
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i], nil
		}
	}
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = entries[i].Name
	}
	return nil, usage("--entry %s: %s has no such entry point; it has %s", name, p.Name(), strings.Join(names, ", "))
}

// samePath reports whether two names are given and are the same file.
func samePath(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, errx := filepath.Abs(a)
	y, erry := filepath.Abs(b)
	return errors.Join(errx, erry) == nil && x == y
}

// writable refuses names under which no file can be made, so that no work is
// done whose result has no place. Names that are not given pass.
func writable(files ...string) error {
	for _, file := range files {
		if file == "" {
			continue
		}
		if st, err := os.Stat(file); err == nil && st.IsDir() {
			return fmt.Errorf("%s is a folder: give the name of a file to write", file)
		}
		if st, err := os.Stat(filepath.Dir(file)); err != nil || !st.IsDir() {
			return fmt.Errorf("%s cannot be written: there is no folder %s", file, filepath.Dir(file))
		}
		if err := atomicfile.Check(file); err != nil {
			if at := (*fs.PathError)(nil); errors.As(err, &at) {
				err = at.Err
			}
			return fmt.Errorf("%s cannot be written: %w", file, err)
		}
	}
	return nil
}
