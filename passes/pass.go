// Package passes turns the graph that the frontend made into one that can be
// scheduled: every pass is a row of a table and a pure function.
package passes

import (
	"fmt"

	"github.com/memc-lang/memc/ir"
)

// Stage says what a graph may hold.
type Stage uint8

// The stages, in order.
const (
	Source   Stage = iota // as elaborated: ops grad, cumsum, scans over whole chunks
	Plain                 // no op grad
	Streamed              // histories explicit, scans split into rows and write
	Fused                 // every node that needs a kernel is in a group
)

func (s Stage) String() string { return [...]string{"source", "plain", "streamed", "fused"}[s] }

// Pass is one pass: it takes a graph of stage From and gives one of stage To.
type Pass struct {
	Name     string
	From, To Stage
	Doc      string
	Run      func(*ir.Graph) (*ir.Graph, error)
}

// Table lists the passes in the order in which they run.
var Table = []Pass{
	{"grad", Source, Plain, "replaces gradients, also those for each row, by what computes them", grad},
	{"simplify", Plain, Plain, "rewrite rules: neutral elements, sums of outer products into products, the dual form", simplify},
	{"hoist", Plain, Plain, "moves row-wise work that looks at no state out of scans", hoist},
	{"stream", Plain, Streamed, "derives what is carried between calls: histories, kept rows, growing sums, the write of a chunk", stream},
	{"tidy", Streamed, Streamed, "the rewrite rules once more, over what streaming made", simplify},
	{"fuse", Streamed, Fused, "says which nodes one kernel computes: map, contract, attend, recur, hybrid", fuse},
}

func init() {
	stage := Source
	for _, p := range Table {
		if p.From != stage {
			panic(fmt.Sprintf("passes: %s takes a %s graph, and gets a %s one", p.Name, p.From, stage))
		}
		stage = p.To
	}
}

// Trace is asked to look at the graph after each pass.
type Trace func(p Pass, g *ir.Graph) error

// Run takes a graph from the frontend through every pass.
func Run(g *ir.Graph, trace Trace) (*ir.Graph, error) {
	for _, p := range Table {
		h, err := p.Apply(g)
		if err != nil {
			return nil, err
		}
		if trace != nil {
			if err := trace(p, h); err != nil {
				return nil, fmt.Errorf("after %s: %w", p.Name, err)
			}
		}
		g = h
	}
	return g, nil
}

// Apply runs one pass. A panic inside it is a bug of the compiler; it comes back
// as an error that names the pass.
func (p Pass) Apply(g *ir.Graph) (h *ir.Graph, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error in the pass %s (a bug in the compiler, not in the spec): %v", p.Name, r)
		}
	}()
	return p.Run(g)
}
