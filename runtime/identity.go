package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
)

// A saved state belongs to what a program computes, not to the code that
// computes it: it goes on wherever the same graph, lowered by the same compiler,
// keeps its states in the same form. Targets differ in how a state lies in
// memory (panels, alignment), which a file does not show, and in the last bits
// of what they compute from it.

// computes names what an artifact's programs compute, whatever they run on.
func computes(a *artifact.Artifact) string {
	return hashed(func(h io.Writer) { fmt.Fprintf(h, "%q %q", a.Manifest.Compiler, a.Manifest.Graph) })
}

// laidOut is an engine whose states have a form that other engines share.
type laidOut interface{ stateLayout() string }

func (e *native) stateLayout() string { return stateLayout(e.plan) }
func (e *gpu) stateLayout() string    { return stateLayout(e.plan) }

// layoutNameOf names the form of an engine's states: the target's name where no
// other engine has it.
func layoutNameOf(e Engine, target string) string {
	if l, ok := e.(laidOut); ok {
		return l.stateLayout()
	}
	return target
}

// stateLayout names the form in which a plan's states are saved and what their
// integers mean: tensors with their names, types and shapes (a ring's rows are
// found by its length), and how each loop counts chunks and carries lengths.
func stateLayout(p *plan.Plan) string {
	return hashed(func(h io.Writer) {
		for i := range p.Buffers {
			b := &p.Buffers[i]
			if b.Class != plan.State {
				continue
			}
			e, shape, _ := saved(b, b.Dims)
			panel := 0
			if b.Elem.Quantised() { // these are saved as they lie
				panel = b.Panel
			}
			fmt.Fprintf(h, "state %q %s %s %v %d %v\n", b.Name, b.Elem, e, shape, panel, b.Grow)
		}
		for i := range p.Loops {
			l := &p.Loops[i]
			fmt.Fprintf(h, "loop %q %s %s\n", l.Name, l.Turns, l.Done)
			for _, c := range l.Carry {
				fmt.Fprintf(h, "carry %q %d %s\n", c.Name, c.Start, c.Next)
			}
		}
	})
}

func hashed(write func(io.Writer)) string {
	h := sha256.New()
	write(h)
	return hex.EncodeToString(h.Sum(nil))
}
