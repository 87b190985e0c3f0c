package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Workers wait for each other between any two launches of which one writes what the other
// uses, whatever the conditions are and however often loops turn; and not behind every one.
func TestLinks(t *testing.T) {
	const buffers = 6
	p := &Plan{Buffers: make([]Buffer, buffers)}
	for i := range p.Buffers {
		p.Buffers[i] = Buffer{Class: State, Bytes: 64}
	}
	// Two that lie in the arena share memory.
	for i, at := range []int64{0, 32} {
		p.Buffers[i] = Buffer{Class: Temp, Offset: at, Bytes: 64}
	}
	for i := range 1 << 4 { // kernel i writes the buffers of i's bits
		p.Kernels = append(p.Kernels, fmt.Sprint("k", i))
		g := Signature{Bufs: make([]Param, 4)}
		for j := range g.Bufs {
			g.Bufs[j].Write = i>>j&1 != 0
		}
		p.Signatures = append(p.Signatures, g)
	}
	rng := rand.New(rand.NewPCG(3, 9))
	var steps func(n, depth int) []Step
	steps = func(n, depth int) (list []Step) {
		for range n {
			switch k := rng.IntN(8); {
			case k == 0 && depth < 3:
				list = append(list, Step{Kind: Repeat, Steps: steps(1+rng.IntN(4), depth+1)})
			case k < 3 && depth < 3:
				list = append(list, Step{Kind: If, Steps: steps(1+rng.IntN(3), depth+1)})
			case k == 3 && depth == 0:
				list = append(list, Step{Kind: Beside, Steps: []Step{{Kind: Launch, Kernel: "k0", Bufs: []int{0, 1, 2, 3}}}})
			default:
				writes := 0
				if rng.IntN(2) == 0 {
					writes = 1 << rng.IntN(4)
				}
				list = append(list, Step{Kind: Launch, Kernel: p.Kernels[writes], Bufs: []int{rng.IntN(buffers), rng.IntN(buffers), rng.IntN(buffers), rng.IntN(buffers)}})
			}
		}
		return list
	}
	opened, all := 0, 0
	for range 3000 {
		list := steps(2+rng.IntN(6), 0)
		links := p.Links(list)
		for range 6 {
			// Run it: since is what was launched since workers have waited.
			var since []*Step
			var run func(list []Step)
			run = func(list []Step) {
				for i := range list {
					s := &list[i]
					switch s.Kind {
					case Launch:
						for _, before := range since {
							if !p.apart(before, s) {
								t.Fatalf("%s %v runs beside %s %v, in %+v", s.Kernel, s.Bufs, before.Kernel, before.Bufs, list)
							}
						}
						if links[s].Place < len(since) {
							t.Fatalf("%d launches run before one with the place %d", len(since), links[s].Place)
						}
						since = append(since, s)
						if all++; links[s].Open {
							opened++
						} else {
							since = nil
						}
					case Repeat:
						for range rng.IntN(3) {
							run(s.Steps)
						}
					case If:
						if rng.IntN(2) == 0 {
							run(s.Steps)
						}
					case Beside:
						if len(since) > 0 {
							t.Fatalf("a beside begins before %d launches have ended", len(since))
						}
						if _, ok := links[&s.Steps[0]]; ok {
							t.Fatal("a launch in a beside has a link")
						}
					}
				}
			}
			run(list)
			if len(since) > 0 {
				t.Fatalf("%d launches have not ended", len(since))
			}
		}
	}
	if opened < all/10 {
		t.Errorf("%d of %d launches are open", opened, all)
	}
}

// A launch of which the plan says nothing is not open, nor is what runs before it.
func TestLinksUnknown(t *testing.T) {
	p := &Plan{Buffers: make([]Buffer, 2), Kernels: []string{"a"}}
	steps := []Step{{Kind: Launch, Kernel: "a", Bufs: []int{0}}, {Kind: Launch, Kernel: "a", Bufs: []int{1}}}
	for _, l := range p.Links(steps) {
		if l != (Link{}) {
			t.Errorf("a launch has the link %+v", l)
		}
	}
}
