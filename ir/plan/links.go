package plan

import "slices"

// Workers wait for each other behind a launch, so that each finds what the others have
// written. They need not where no launch, up to the next behind which they wait, reads
// what this one writes or writes what it uses: the launch is open.

// Link is how a launch is linked to those around it.
type Link struct {
	Open  bool // workers do not wait behind it
	Place int  // how many launches there are before it, at most, since workers have surely waited
}

// Links gives the links of the launches among an entry's steps, without those in a Beside.
// Between two launches of which one writes memory that the other uses, workers wait.
func (p *Plan) Links(steps []Step) map[*Step]Link {
	o := opening{plan: p, open: map[*Step]bool{}}
	o.list(steps, true)
	o.close()
	links := map[*Step]Link{}
	place := 0
	var number func(steps []Step, sure bool)
	number = func(steps []Step, sure bool) {
		for i := range steps {
			s := &steps[i]
			switch s.Kind {
			case Launch:
				links[s] = Link{o.open[s], place}
				if place++; sure && !o.open[s] {
					place = 0
				}
			case If:
				number(s.Steps, false)
			default:
				place = 0
				if s.Kind == Repeat {
					number(s.Steps, true)
					place = 0
				}
			}
		}
	}
	number(steps, true)
	return links
}

// opening goes through steps in their order.
type opening struct {
	plan *Plan
	open map[*Step]bool
	past []launched // since workers have surely waited
}

// launched is a launch behind which they do not wait so far.
type launched struct {
	step *Step
	sure bool // it is not under a condition
}

// list goes through steps of which launches are sure to run, or not.
func (o *opening) list(steps []Step, sure bool) {
	for i := range steps {
		s := &steps[i]
		switch s.Kind {
		case Launch:
			o.launch(s, sure)
		case If:
			o.list(s.Steps, false)
		default:
			o.close()
			if s.Kind == Repeat {
				o.list(s.Steps, true)
				o.close()
			}
		}
	}
}

// launch has workers wait behind what a launch depends on: behind the last such launch,
// which serves those before it if it is sure to run.
func (o *opening) launch(s *Step, sure bool) {
	for i := len(o.past) - 1; i >= 0; i-- {
		before := o.past[i]
		if o.plan.apart(before.step, s) {
			continue
		}
		delete(o.open, before.step)
		if before.sure {
			o.past = slices.Delete(o.past, 0, i+1)
			break
		}
		o.past = slices.Delete(o.past, i, i+1)
	}
	o.open[s] = true
	o.past = append(o.past, launched{s, sure})
}

// close has workers wait behind all launches so far.
func (o *opening) close() {
	for _, l := range slices.Backward(o.past) {
		delete(o.open, l.step)
		if l.sure {
			break
		}
	}
	o.past = nil
}

// apart says that neither of two launches writes memory that the other uses.
func (p *Plan) apart(a, b *Step) bool {
	x, y := p.Signature(a.Kernel), p.Signature(b.Kernel)
	if len(x.Bufs) != len(a.Bufs) || len(y.Bufs) != len(b.Bufs) {
		return false
	}
	for i := range a.Bufs {
		for j := range b.Bufs {
			if (x.Bufs[i].Write || y.Bufs[j].Write) && p.overlap(a.Bufs[i], b.Bufs[j]) {
				return false
			}
		}
	}
	return true
}

// overlap says whether two buffers share memory.
func (p *Plan) overlap(a, b int) bool {
	x, y := &p.Buffers[a], &p.Buffers[b]
	inArena := func(b *Buffer) bool { return b.Class >= Temp }
	return a == b || inArena(x) && inArena(y) && x.Offset < y.Offset+y.Bytes && y.Offset < x.Offset+x.Bytes
}
