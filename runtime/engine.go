package runtime

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/memc-lang/memc/runtime/artifact"
)

// Engine runs one program. The engine of compiled code is built in; others,
// such as an interpreter of the graph, register for a target's format.
type Engine interface {
	// Entries are the entry points, in the order in which machines number them.
	Entries() []Entry
	// Params are the weights that the program reads.
	Params() []Param
	// NewMachine makes the state of a new stream.
	NewMachine(w *Weights, o Options) (Machine, error)
}

// Entry is an entry point; a Port's Dims are numbers or names of clocks.
type (
	Entry = artifact.Entry
	Port  = artifact.Port
)

// Machine is one stream on an engine: its position and its state. A Session
// calls it from one goroutine at a time.
type Machine interface {
	// Run feeds the inputs of entry number e and fills the outputs, both in the
	// order of its ports; it may reuse the memory of the tensors in out. Where
	// it fails before anything is computed, the state is as it was.
	Run(ctx context.Context, e int, in, out []Tensor) error
	// Pos is the number of rows of the base clock read so far.
	Pos() int64
	// StateBytes is the memory that the state takes.
	StateBytes() int64
	// Probes are the values that the last Run's chunks gave; valid until the next.
	Probes() []Probe
	// Fork is a copy with a state of its own.
	Fork() (Machine, error)
	// State is a copy of everything that Run depends on and changes.
	State() (*State, error)
	// SetState takes over what State gave, or changes nothing and says why not.
	SetState(*State) error
	// Close frees what the collector does not.
	Close()
}

// Probe is a named scalar that a chunk gave when it was completed.
type Probe struct {
	Name  string
	Chunk int64 // the chunk's number, from 0, since the stream began
	Value float32
}

// State is a stream's state in a form that does not depend on layout.
type State struct {
	Pos     int64
	Ints    map[string]int64  // carried lengths and counters
	Tensors map[string]Tensor // row-major
}

// Unsupported is the error of a machine that lacks what a program needs.
type Unsupported struct{ What string }

func (u *Unsupported) Error() string { return u.What }

// Opener makes an engine for one target of an artifact.
type Opener func(a *artifact.Artifact, t *artifact.Target) (Engine, error)

var formats = struct {
	sync.Mutex
	open map[string]Opener
}{open: map[string]Opener{"amd64": openNative, "ptx": openPTX}}

// Register makes the targets of a format run by engines that open makes. It is
// for init functions; a format that is taken already panics.
func Register(format string, open Opener) {
	formats.Lock()
	defer formats.Unlock()
	if formats.open[format] != nil {
		panic("runtime: two engines for the format " + format)
	}
	formats.open[format] = open
}

func engineFor(a *artifact.Artifact, t *artifact.Target) (Engine, error) {
	formats.Lock()
	open := formats.open[t.Format]
	formats.Unlock()
	if open == nil {
		return nil, &Unsupported{fmt.Sprintf("target %s: nothing in this program runs the format %q", t.Name, t.Format)}
	}
	return open(a, t)
}

// port finds a port by name.
func port(ports []Port, name string) int {
	return slices.IndexFunc(ports, func(p Port) bool { return p.Name == name })
}
