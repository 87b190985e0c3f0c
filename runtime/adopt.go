package runtime

import (
	"errors"
	"fmt"

	"github.com/memc-lang/memc/ir/plan"
)

// AdoptWeights gives weights that were loaded or drawn for another program as
// p's own. They are not copied: both programs are compiled code for processors
// that lays out all that p reads alike, as programs of one spec are that differ
// in tile sizes. The error names what lies otherwise.
func (p *Program) AdoptWeights(w *Weights) (*Weights, error) {
	to, ok := p.engine.(*native)
	from, also := w.program.engine.(*native)
	if !ok || !also {
		return nil, errors.New("only compiled code for processors shares weights among programs")
	}
	laid := map[string]int64{}
	for i := range from.plan.Buffers {
		if key := layoutKey(&from.plan.Buffers[i]); key != "" {
			laid[key] = w.packed.place[i]
		}
	}
	k := &packed{region: w.packed.region, place: make([]int64, len(to.plan.Buffers))}
	for i := range to.plan.Buffers {
		b := &to.plan.Buffers[i]
		k.place[i] = -1
		if key := layoutKey(b); key != "" {
			at, ok := laid[key]
			if !ok {
				return nil, fmt.Errorf("the weights have no %s as this program lays it out", b.Name)
			}
			k.place[i] = at
		}
	}
	return &Weights{program: p, params: w.params, file: w.file, coded: w.coded, seed: w.seed, packed: k, id: w.id}, nil
}

// layoutKey is all that the bytes of a weight or table follow from; empty for
// other buffers.
func layoutKey(b *plan.Buffer) string {
	switch b.Class {
	case plan.Weight:
		return fmt.Sprintf("%q %v %v %s %v %d %t", b.Tensor, b.Shape, b.Init, b.Elem, b.Dims, b.Panel, b.Pairs)
	case plan.Table:
		return fmt.Sprintf("%s %v %d %q", b.Elem, b.Dims, b.Panel, b.Data)
	}
	return ""
}
