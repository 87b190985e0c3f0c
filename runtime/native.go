package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/memory"
)

// native is the engine of compiled code: a plan, and code that walks it.
type native struct {
	plan    *plan.Plan
	code    *memory.Region
	walk    uintptr
	work    uintptr
	kernels map[string]uintptr
	scratch int64 // bytes that a worker needs, for any kernel
	entries []Entry
	params  []Param
}

// The code's functions that run a step list, and that are a worker's life.
const (
	walkSymbol = "walk"
	workSymbol = "work"
)

// openNative checks everything that can be checked before a jump, and maps the
// code.
func openNative(_ *artifact.Artifact, t *artifact.Target) (Engine, error) {
	if err := nativeHere(); err != nil {
		return nil, err
	}
	if err := supported(t.Name, t.Features); err != nil {
		return nil, err
	}
	p, err := plan.Parse(t.Plan)
	if err != nil {
		return nil, fmt.Errorf("target %s: the plan: %w", t.Name, err)
	}
	return newNative(p, t)
}

func newNative(p *plan.Plan, t *artifact.Target) (*native, error) {
	if errs := p.Verify(); errs != nil {
		return nil, fmt.Errorf("target %s: the plan: %w", t.Name, errors.Join(errs...))
	}
	e := &native{plan: p, kernels: map[string]uintptr{}}
	symbol := func(name string) (int64, error) {
		at, ok := t.Symbols[name]
		if !ok {
			return 0, fmt.Errorf("target %s: the code lacks the function %s; compile the program again", t.Name, name)
		}
		if at < 0 || at >= int64(len(t.Code)) {
			return 0, fmt.Errorf("target %s: the function %s is at byte %d of %d bytes of code", t.Name, name, at, len(t.Code))
		}
		return at, nil
	}
	for _, name := range append([]string{walkSymbol, workSymbol}, p.Kernels...) {
		if _, err := symbol(name); err != nil {
			return nil, err
		}
	}
	for _, k := range p.Kernels {
		n := t.Scratch[k]
		if n < 0 || n > 1<<31 {
			return nil, fmt.Errorf("target %s: the kernel %s needs %d bytes of scratch, which is impossible", t.Name, k, n)
		}
		e.scratch = max(e.scratch, n)
	}
	var err error
	if e.params, err = paramsOf(p); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	if e.code, err = memory.Code(t.Code); err != nil {
		return nil, &Unsupported{err.Error()}
	}
	for _, k := range p.Kernels {
		e.kernels[k] = e.code.Addr(t.Symbols[k])
	}
	e.walk, e.work = e.code.Addr(t.Symbols[walkSymbol]), e.code.Addr(t.Symbols[workSymbol])
	e.entries = entriesOf(p)
	return e, nil
}

// paramsOf lists the tensors behind the plan's weights, each once.
func paramsOf(p *plan.Plan) ([]Param, error) {
	var params []Param
	for i := range p.Buffers {
		b := &p.Buffers[i]
		if b.Class != plan.Weight {
			continue
		}
		if !b.Elem.Float() {
			return nil, fmt.Errorf("the weight %s holds %s: weights are floating", b.Tensor, b.Elem)
		}
		params = append(params, Param{Name: b.Tensor, Shape: b.Shape, Init: b.Init, Stored: []plan.Elem{b.Elem}})
	}
	slices.SortStableFunc(params, func(a, b Param) int { return cmp.Compare(a.Name, b.Name) })
	out := params[:0]
	for _, p := range params {
		last := len(out) - 1
		if last < 0 || out[last].Name != p.Name {
			out = append(out, p)
			continue
		}
		a := &out[last]
		if !slices.Equal(a.Shape, p.Shape) || a.Init != p.Init {
			return nil, fmt.Errorf("two weights differ in how they see the tensor %s", a.Name)
		}
		a.Store(p.Stored[0])
	}
	return out, nil
}

// entriesOf describes the plan's entry points to callers.
func entriesOf(p *plan.Plan) []Entry {
	var out []Entry
	for i := range p.Entries {
		in := &p.Entries[i]
		out = append(out, Entry{Name: in.Name, Doc: in.Doc, Inputs: portsOf(in.Inputs), Outputs: portsOf(in.Outputs)})
	}
	return out
}

func portsOf(ports []plan.Port) []Port {
	out := make([]Port, len(ports))
	for i, o := range ports {
		out[i] = Port{Name: o.Name, Elem: o.Elem.String(), Dims: make([]string, len(o.Dims))}
		for d, n := range o.Dims {
			out[i].Dims[d] = strconv.Itoa(n)
			if d == 0 && o.Rows != nil && len(o.Names) > 0 {
				out[i].Dims[d] = o.Names[0]
			}
		}
	}
	return out
}

// Entries are the plan's.
func (e *native) Entries() []Entry { return e.entries }

// Params are the tensors behind the plan's weights.
func (e *native) Params() []Param { return e.params }

func (e *native) pack(w *Weights) (*packed, error) { return packPlan(e.plan, w) }
