// Package memc compiles descriptions of long-context models into native code
// and runs them: a spec becomes a graph (frontend), the graph is made ready for
// streams (passes), lowered to kernels and a plan, and the kernels are printed
// for each target (codegen). What comes out is an artifact that package runtime
// alone can run.
//
//	a, err := memc.Compile(ctx, "model.spec", memc.Options{Config: config})
//	p, err := runtime.New(a, "")
package memc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime/artifact"
)

// Version is the compiler's version; it is part of every cache key.
const Version = "0.1.0"

// Options say what to compile for.
type Options struct {
	// Targets are the targets' names; see Targets. None: those of this machine.
	Targets []string
	// Set and Config give the spec's parameters as JSON values, Set first;
	// entries of Config that are no parameter are ignored.
	Set, Config map[string]json.RawMessage
	// Quantize stores weights as Q8 or Q4 (see passes.Quantise), Cache the keys
	// and values of attention as F32, BF16, F16 or Q8. "": as the spec says.
	Quantize, Cache string
	// Products is what operands of products are rounded to: BF16 on compiled targets,
	// which is an error where no product takes it or the interpreter is the only target;
	// or, as a part of the graph (see passes.RoundOperands), Q8 for the rows that weights
	// of Q8 or Q4 are multiplied with. Sums stay f32, and sums of rows are not rounded.
	// F32 takes such parts of a graph away; "": as the spec says.
	Products string
	// Slab is the most rows of the base clock that one pass through the code
	// takes; longer calls are cut. 0: DefaultSlab.
	Slab int
	// NoFuse makes every node a kernel of its own, to find faults.
	NoFuse bool
	// Hybrid is how attention and a scan that do not need each other run: one of
	// Hybrids. "": as passes.Chosen says, and best for the target.
	Hybrid string
	// Tuning has tile sizes of single kernels, found on a machine: they change
	// speed, never results. A file (OpenTuning) without any for the program is an
	// error. nil: the targets' own for all.
	Tuning *Tuning
	// Warn is told what was not done as asked and yet is no error; nil: nobody is.
	Warn func(sentence string)
	// Objects has what was assembled before in this process; nil: nothing, and
	// nothing is kept.
	Objects *amd64.Objects
	// Verify checks the graph after every pass.
	Verify bool
	// Read gives the text of a spec file; nil: ReadSpec.
	Read frontend.Reader
}

// DefaultSlab is the most rows of one pass through the code unless Options say
// otherwise: enough for products to run at full speed.
const DefaultSlab = 512

// Targets are the targets that there is code generation for, and the
// interpreter.
var Targets = slices.Concat([]string{"interp"}, processors, ptx.Targets())

// Load reads a spec and elaborates it with its parameters; what it keeps is
// stored as the options say. Its places name files
// as seen from the spec's folder, so that a program does not depend on where it
// was compiled; those in errors name them as seen from here.
func Load(spec string, o Options) (*ir.Module, error) {
	files := &specFiles{dir: filepath.Dir(spec), read: o.Read, found: map[string]bool{}}
	m, diags := frontend.Load(filepath.Base(spec), files.file, o.Set, o.Config)
	if diags != nil {
		for i := range diags.List {
			if at := &diags.List[i].Pos; files.found[at.File] {
				at.File = filepath.Join(files.dir, at.File)
			}
		}
		return nil, diags
	}
	return Store(m, o)
}

// Optimise takes every entry point through the passes. trace, where given, sees
// each entry's graph after each pass.
func Optimise(m *ir.Module, verify bool, trace func(g *ir.Graph, p passes.Pass) error) (*ir.Module, error) {
	out := *m
	out.Entries = nil
	for _, g := range m.Entries {
		h, err := passes.Run(g, func(p passes.Pass, g *ir.Graph) error {
			if verify {
				if errs := g.Verify(); len(errs) > 0 {
					return errs[0]
				}
			}
			if trace != nil {
				return trace(g, p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out.Entries = append(out.Entries, h)
	}
	return &out, nil
}

// The element types that Options.Quantize and Options.Cache name.
var (
	Quantizations = []string{"q8", "q4"}
	Caches        = []string{"f32", "bf16", "f16", "q8"}
)

// Products are the element types that Options.Products names.
var Products = []string{"f32", "bf16", "q8"}

// Hybrids are what Options.Hybrid names: apart; together in launches of both
// kinds of block; one beside the other, whose blocks are for processors' workers
// that would wait.
var Hybrids = []string{"apart", "launch", "beside"}

// hybrid is what Options.Hybrid asks of a target's lowering.
func (o *Options) hybrid(target string) (which passes.Hybrid, beside bool, err error) {
	switch o.Hybrid {
	case "":
		return passes.Chosen, !GPU(target), nil
	case "apart":
		return passes.Apart, false, nil
	case "launch":
		return passes.Together, false, nil
	case "beside":
		if GPU(target) {
			return 0, false, fmt.Errorf("%s runs one launch at a time: nothing runs beside another one there", target)
		}
		return passes.Together, true, nil
	}
	return 0, false, fmt.Errorf("attention and a memory do not run %q: they run %s", o.Hybrid, strings.Join(Hybrids, ", "))
}

// operands is the element type to which code rounds operands for Options.Products.
// The error says why there are no such products.
func (o *Options) operands() (elem.Type, error) {
	to, ok := elem.Parse(cmp.Or(o.Products, "f32"))
	switch {
	case !ok || !slices.Contains(Products, to.String()):
		return 0, fmt.Errorf("products have no operands of %s: there are %s", o.Products, strings.Join(Products, ", "))
	case to == elem.BF16 && o.Quantize != "":
		return 0, fmt.Errorf("quantised weights are multiplied as they are: products of %s and weights of %s exclude each other", o.Products, o.Quantize)
	case to == elem.Q8: // the graph says so: see Store
		return elem.F32, nil
	}
	return to, nil
}

// Store gives a module that stores weights, histories and the operands of products with
// codes as the options say. The error says which of them has no effect on it.
func Store(m *ir.Module, o Options) (*ir.Module, error) {
	out := *m
	if o.Cache != "" {
		to, _ := elem.Parse(o.Cache)
		if !slices.Contains(Caches, o.Cache) {
			return nil, fmt.Errorf("keys and values cannot be kept as %s: there are %s", o.Cache, strings.Join(Caches, ", "))
		}
		var err error
		if out.Entries, err = passes.StoreAs(out.Entries, to); err != nil {
			return nil, err
		}
	}
	if o.Quantize != "" {
		to, _ := elem.Parse(o.Quantize)
		if !slices.Contains(Quantizations, o.Quantize) {
			return nil, fmt.Errorf("weights cannot be quantised as %s: there are %s", o.Quantize, strings.Join(Quantizations, ", "))
		}
		done, err := Optimise(&out, o.Verify, nil)
		if err != nil {
			return nil, err
		}
		if out.Entries, err = passes.Quantise(out.Entries, done.Entries, to); err != nil {
			return nil, err
		}
	}
	if to, ok := elem.Parse(o.Products); ok && (to == elem.F32 || to == elem.Q8) {
		var err error
		if out.Entries, err = passes.RoundOperands(out.Entries, to); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// Lower gives the plan and kernels of one target from optimised entry points.
func Lower(m *ir.Module, target string, o Options) (*passes.Program, error) {
	slab := o.Slab
	if slab == 0 {
		slab = DefaultSlab
	}
	operands, err := o.operands()
	if err != nil {
		return nil, err
	}
	hybrid, beside, err := o.hybrid(target)
	if err != nil {
		return nil, err
	}
	if hybrid != passes.Chosen && !slices.ContainsFunc(m.Entries, passes.HasChoice) {
		return nil, errors.New("no attention of this program can run together with a memory: there is nothing to choose for them")
	}
	return passes.Lower(m.Entries, passes.Options{
		Target: target, Products: operands, Slab: slab, Tiling: TilingOf(target),
		Fuse: !o.NoFuse, Hybrid: hybrid, Beside: beside, Tie: !GPU(target), Choose: o.Tuning.chooser(target),
	})
}

// TilingOf is the machine table of schedules, a target's own tile sizes: sizes
// differ by target, operations do not.
func TilingOf(target string) passes.Tiling {
	t := passes.DefaultTiling
	if strings.HasPrefix(target, "sm_") {
		// Tiles of a block's products are spread over the registers of 8 warps; plain
		// rows of weights are what tensor cores read, and of codes their fragments. What a block needs of fast weights
		// lies in its shared memory, and what it sums of their gradients in registers; of
		// larger ones the sums are shared out over blocks.
		t.MaxNear, t.MaxSums, t.Resident = 1<<15, 1<<14, 3<<12
		t.Rows, t.Cols, t.RecurRows, t.MapElems, t.Panel, t.Codes = 128, 128, 64, 8192, 0, elem.FragmentRows
	}
	switch target {
	case "avx512":
		t.Rows, t.Cols, t.Pairs, t.CodedRows = 112, 128, true, true
	case "amx": // what lays out operands is shared by many rows
		t.Rows, t.Cols, t.RecurRows, t.AttendQ, t.CodedRows = 128, 128, 128, 128, true
	}
	return t
}

// Compile turns a spec into an artifact with one section a target. The error of
// a faulty spec lists every fault with its place.
func Compile(ctx context.Context, spec string, o Options) (*artifact.Artifact, error) {
	m, err := Load(spec, o)
	if err != nil {
		return nil, err
	}
	return CompileModule(ctx, m, o)
}

// CompileModule compiles an elaborated spec.
func CompileModule(ctx context.Context, m *ir.Module, o Options) (*artifact.Artifact, error) {
	opt, err := Optimise(m, o.Verify, nil)
	if err != nil {
		return nil, err
	}
	return CompileOptimised(ctx, m, opt, o)
}

// CompileOptimised is CompileModule for a spec whose entry points went through the
// passes already: opt is what Optimise gave for m.
func CompileOptimised(ctx context.Context, m, opt *ir.Module, o Options) (*artifact.Artifact, error) {
	a := &artifact.Artifact{Manifest: manifest(m)}
	operands, err := o.operands()
	if err != nil {
		return nil, err
	}
	interpreted := !slices.ContainsFunc(o.Targets, func(t string) bool { return t != "interp" })
	if o.Hybrid != "" && interpreted {
		return nil, errors.New("the interpreter takes one node after another: compiled targets alone run attention and a memory together")
	}
	if operands != elem.F32 {
		if interpreted {
			return nil, errors.New("the interpreter multiplies what the spec says: operands are rounded by compiled targets alone")
		}
		a.Manifest.Products = operands.String()
	}
	if err := CheckTuning(opt, o); err != nil {
		return nil, err
	}
	for _, name := range o.Targets {
		t, err := compileTarget(ctx, opt, name, o)
		if err != nil {
			return nil, err
		}
		a.Targets = append(a.Targets, *t)
	}
	return a, nil
}

func compileTarget(ctx context.Context, m *ir.Module, name string, o Options) (*artifact.Target, error) {
	if name == "interp" {
		return &artifact.Target{Name: name, Format: "graph"}, nil
	}
	for {
		t, text, err := codeOf(ctx, m, name, o)
		next, what := o.Tuning.without(name, text)
		if err == nil || what == "" || ctx.Err() != nil {
			return t, err
		}
		if o.Tuning = next; o.Warn != nil {
			o.Warn(fmt.Sprintf("%s: the tuned tile sizes of %s do not compile and the next best are used; memc tune finds others (%v)", name, what, err))
		}
	}
}

// codeOf lowers a program for a target that is compiled and prints its code. text
// is that of the kernel which is the cause of an error (see passes.Program.Texts),
// where one is known.
func codeOf(ctx context.Context, m *ir.Module, name string, o Options) (t *artifact.Target, text string, err error) {
	p, err := Lower(m, name, o)
	var sizes *passes.SizesError
	if errors.As(err, &sizes) {
		return nil, sizes.Text, err
	}
	if err != nil {
		return nil, "", err
	}
	t = &artifact.Target{Name: name, Plan: p.Plan.String()}
	switch {
	case machines[name].Name != "":
		blob, err := amd64.Compile(ctx, p.Kernels, machines[name], o.Objects)
		var fault *amd64.KernelError
		if errors.As(err, &fault) {
			text = p.Texts[slices.IndexFunc(p.Kernels, func(k *kernel.Kernel) bool { return k.Name == fault.Kernel })]
		}
		if err != nil {
			return nil, text, err
		}
		t.Format, t.Code, t.Symbols, t.Scratch, t.Features = "amd64", blob.Code, blob.Symbols, blob.Scratch, blob.Features
	case GPU(name):
		t, err = ptxTarget(p, name)
	default:
		return nil, "", fmt.Errorf("there is no target %s; targets are %s", name, strings.Join(Targets, ", "))
	}
	return t, "", err
}

// ptxTarget prints the code of a program that was lowered for a GPU.
func ptxTarget(p *passes.Program, name string) (*artifact.Target, error) {
	mod, err := ptx.Print(p.Kernels, name)
	if err != nil {
		return nil, err
	}
	t := &artifact.Target{
		Name: name, Format: "ptx", Plan: p.Plan.String(), Code: []byte(mod.Text),
		Symbols: map[string]int64{}, Scratch: map[string]int64{}, Shared: map[string]int64{}, Threads: map[string]int64{},
	}
	for i, k := range mod.Kernels {
		if k.Name != p.Kernels[i].Name {
			return nil, fmt.Errorf("the kernel %s would be called %s in PTX", p.Kernels[i].Name, k.Name)
		}
		t.Symbols[k.Name] = 0
		t.Scratch[k.Name], t.Shared[k.Name], t.Threads[k.Name] = int64(k.Scratch), int64(k.Shared), int64(k.Threads)
	}
	return t, nil
}

// manifest describes a program, whatever it runs on.
func manifest(m *ir.Module) artifact.Manifest {
	out := artifact.Manifest{
		Name: strings.TrimSuffix(filepath.Base(m.Spec), filepath.Ext(m.Spec)), Doc: m.Doc,
		Compiler: Version, Params: map[string]string{}, Graph: m.String(),
	}
	for _, p := range m.Params {
		out.Params[p.Name] = p.Value
	}
	for _, g := range m.Entries {
		e := artifact.Entry{Name: g.Name, Doc: g.Doc}
		for _, in := range g.Inputs {
			e.Inputs = append(e.Inputs, port(in.Attr.Name, in.Type))
		}
		for _, o := range g.Outputs {
			e.Outputs = append(e.Outputs, port(o.Name, o.Node.Type))
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}

func port(name string, t ir.Type) artifact.Port {
	p := artifact.Port{Name: name, Elem: t.Elem.String()}
	for _, d := range t.Dims {
		if d.Clock != nil {
			p.Dims = append(p.Dims, d.Clock.Name)
		} else {
			p.Dims = append(p.Dims, fmt.Sprint(d.Size))
		}
	}
	return p
}
