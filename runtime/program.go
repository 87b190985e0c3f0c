package runtime

import (
	"errors"
	"fmt"

	"github.com/memc-lang/memc/runtime/artifact"
)

// Program is a program for one target, without weights. It is read only and
// safe for concurrent use.
type Program struct {
	engine   Engine
	name     string
	target   string
	identity string
	computes string             // what saved states belong to
	layout   string             // of saved states
	artifact *artifact.Artifact // nil: from an engine
}

// Open reads an artifact's file and prepares one of its targets; an empty
// target is the first that this machine can run. An *Unsupported error says
// what this machine lacks.
func Open(path, target string) (*Program, error) {
	a, err := artifact.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := New(a, target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Read does the same with an artifact that lies in memory.
func Read(file []byte, target string) (*Program, error) {
	a, err := artifact.Decode(file)
	if err != nil {
		return nil, err
	}
	return New(a, target)
}

// New prepares a target of an artifact.
func New(a *artifact.Artifact, target string) (*Program, error) {
	if target != "" {
		t := a.Find(target)
		if t == nil {
			names := make([]string, len(a.Targets))
			for i := range a.Targets {
				names[i] = a.Targets[i].Name
			}
			return nil, fmt.Errorf("the artifact has no target %s; it has %q", target, names)
		}
		return newProgram(a, t)
	}
	var errs []error
	for i := range a.Targets {
		p, err := newProgram(a, &a.Targets[i])
		var lacks *Unsupported
		if err == nil || !errors.As(err, &lacks) {
			return p, err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, errors.New("the artifact has no targets")
	}
	return nil, errors.Join(errs...)
}

func newProgram(a *artifact.Artifact, t *artifact.Target) (*Program, error) {
	e, err := engineFor(a, t)
	if err != nil {
		return nil, err
	}
	return programOf(e, a, t), nil
}

func programOf(e Engine, a *artifact.Artifact, t *artifact.Target) *Program {
	return &Program{
		engine: e, name: a.Manifest.Name, target: t.Name, identity: a.Identity(t), artifact: a,
		computes: computes(a), layout: layoutNameOf(e, t.Name),
	}
}

// FromEngine makes a program of an engine; identity names what it computes in
// saved states.
func FromEngine(name, target, identity string, e Engine) *Program {
	return &Program{engine: e, name: name, target: target, identity: identity, computes: identity, layout: layoutNameOf(e, target)}
}

// Name is the name of the program's spec.
func (p *Program) Name() string { return p.name }

// Target is the name of the target that runs.
func (p *Program) Target() string { return p.target }

// Device names the GPU that the program runs on; empty for a processor.
func (p *Program) Device() string {
	if e, ok := p.engine.(*gpu); ok {
		return e.device.Name
	}
	return ""
}

// Identity names the program's code and all that it was made of.
func (p *Program) Identity() string { return p.identity }

// Artifact is where the program came from, nil for FromEngine.
func (p *Program) Artifact() *artifact.Artifact { return p.artifact }

// Entries are the entry points.
func (p *Program) Entries() []Entry { return p.engine.Entries() }

// Params are the weights that the program reads.
func (p *Program) Params() []Param { return p.engine.Params() }
