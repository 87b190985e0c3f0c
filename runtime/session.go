package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"sync"
)

// Options are choices that change speed, never results.
type Options struct {
	Threads  int  `help:"Workers of a call on a CPU; 0: one for each processor that Go uses."`
	Profile  bool `help:"Time every kernel: calls take longer, one launch at a time."`
	Stepwise bool `help:"On a GPU, wait for every launch, so that an error names the kernel that failed."`
}

func (o Options) threads() int {
	if o.Threads > 0 {
		return o.Threads
	}
	return goruntime.GOMAXPROCS(0)
}

// Session is one stream: a program, weights and a state. Its calls follow each
// other; two at the same time are an error.
type Session struct {
	program *Program
	weights *Weights
	machine Machine
	busy    sync.Mutex
	closed  bool
}

var errBusy = errors.New("the session is in another call: a stream's calls follow each other")
var errClosed = errors.New("the session is closed")

// NewSession begins a stream. The weights must be of this program; a program
// that reads none may be given nil.
func (p *Program) NewSession(w *Weights, o Options) (*Session, error) {
	if w == nil {
		if n := len(p.Params()); n > 0 {
			return nil, fmt.Errorf("the program reads %d weights and is given none", n)
		}
		var err error
		if w, err = p.DrawWeights(0); err != nil {
			return nil, err
		}
	}
	if w.program != p {
		return nil, errors.New("the weights were loaded for another program")
	}
	m, err := p.engine.NewMachine(w, o)
	if err != nil {
		return nil, err
	}
	return &Session{program: p, weights: w, machine: m}, nil
}

// enter takes the session for one call.
func (s *Session) enter() error {
	if !s.busy.TryLock() {
		return errBusy
	}
	if s.closed {
		s.busy.Unlock()
		return errClosed
	}
	return nil
}

// Call feeds the rows that come next to an entry point. Inputs and outputs go by
// their names; the outputs are the caller's. An error about the inputs leaves
// the session as it was. Where ctx ends a long call, the rows read until then
// are read: Pos tells how many.
func (s *Session) Call(ctx context.Context, entry string, in map[string]Tensor) (map[string]Tensor, error) {
	e, err := s.program.entry(entry)
	if err != nil {
		return nil, err
	}
	d := &s.program.Entries()[e]
	ins, outs := make([]Tensor, len(d.Inputs)), make([]Tensor, len(d.Outputs))
	for name, t := range in {
		k := port(d.Inputs, name)
		if k < 0 {
			return nil, fmt.Errorf("%s has no input %s; its inputs are %q", entry, name, portNames(d.Inputs))
		}
		ins[k] = t
	}
	for _, p := range d.Inputs {
		if _, ok := in[p.Name]; !ok {
			return nil, fmt.Errorf("%s lacks its input %s; given are %q", entry, p.Name, slices.Sorted(maps.Keys(in)))
		}
	}
	if err := s.Run(ctx, e, ins, outs); err != nil {
		return nil, err
	}
	out := make(map[string]Tensor, len(outs))
	for i, p := range d.Outputs {
		out[p.Name] = outs[i]
	}
	return out, nil
}

func portNames(ports []Port) []string {
	names := make([]string, len(ports))
	for i := range ports {
		names[i] = ports[i].Name
	}
	return names
}

func (p *Program) entry(name string) (int, error) {
	entries := p.Entries()
	if e := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name }); e >= 0 {
		return e, nil
	}
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = entries[i].Name
	}
	return 0, fmt.Errorf("the program has no entry point %s; it has %q", name, names)
}

// Run is Call without maps: entry is an index into Entries, in and out follow
// the order of its ports. Outputs are written into the memory of the tensors in
// out where it suffices, so that a loop which passes the same tensors again
// allocates nothing. Long tensors whose Data has 64 bytes more of capacity are
// not copied, nor are outputs that Run allocates.
func (s *Session) Run(ctx context.Context, entry int, in, out []Tensor) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	entries := s.program.Entries()
	if entry < 0 || entry >= len(entries) {
		return fmt.Errorf("the program has no entry point %d", entry)
	}
	if err := checkCall(&entries[entry], in, out); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.machine.Run(ctx, entry, in, out)
}

// checkCall finds what is wrong with a call's tensors in themselves.
func checkCall(d *Entry, in, out []Tensor) error {
	if len(in) != len(d.Inputs) || len(out) != len(d.Outputs) {
		return fmt.Errorf("%s takes %d inputs and gives %d outputs, not %d and %d", d.Name, len(d.Inputs), len(d.Outputs), len(in), len(out))
	}
	for i := range in {
		if err := in[i].Check(); err != nil {
			return fmt.Errorf("the input %s of %s: %w", d.Inputs[i].Name, d.Name, err)
		}
	}
	return nil
}

// Pos is the number of rows of the base clock that the session has read.
func (s *Session) Pos() int64 { return s.machine.Pos() }

// StateBytes is the memory that the session's state takes, in bytes.
func (s *Session) StateBytes() int64 { return s.machine.StateBytes() }

// Probes are the values of the chunks that the last call completed, in order;
// the slice is valid until the next call.
func (s *Session) Probes() []Probe { return s.machine.Probes() }

// Program is the program that the session runs.
func (s *Session) Program() *Program { return s.program }

// Weights are the weights that the session reads.
func (s *Session) Weights() *Weights { return s.weights }

// Fork is a session that goes on from the same point, with a state of its own.
func (s *Session) Fork() (*Session, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.busy.Unlock()
	m, err := s.machine.Fork()
	if err != nil {
		return nil, err
	}
	return &Session{program: s.program, weights: s.weights, machine: m}, nil
}

// Close ends workers whom no other session needs and frees memory at once; without it the
// collector does so some time. A closed session answers no calls.
func (s *Session) Close() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	s.closed = true
	s.machine.Close()
	return nil
}
