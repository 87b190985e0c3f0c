package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
)

// meter measures one thing that the machine can do, between the runs of what is
// timed: machines change their speed with heat and neighbours, so that a share
// of the peak means something only beside it. A nil meter measures nothing.
type meter struct {
	s       *runtime.Session
	work    float64 // of all threads in one call
	speeds  []float64
	seconds float64 // spent here so far
}

// newMeters gives the meters of a target: one of f32 multiply-adds alone, and
// one of reading memory where that was asked for. They are nil where the target
// has none (the interpreter) or where there is no LLVM to make them with.
func newMeters(a *app, target string, threads int, memory bool) (flops, read *meter, err error) {
	if !memc.Processor(target) {
		return nil, nil, nil
	}
	if flops, err = newMeter(a, target, threads, memc.Peak); err != nil || flops == nil {
		return nil, nil, err
	}
	flops.work *= float64(threads)
	if memory {
		if read, err = newMeter(a, target, threads, memc.ReadPeak); err != nil {
			flops.close()
		}
	}
	return flops, read, err
}

func newMeter(a *app, target string, threads int, peak func(context.Context, string) (*artifact.Artifact, int64, error)) (*meter, error) {
	art, work, err := peak(a.ctx, target)
	if errors.As(err, new(amd64.Missing)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := runtime.New(art, target)
	if err != nil {
		return nil, err
	}
	w, err := p.DrawWeights(0)
	if err != nil {
		return nil, err
	}
	s, err := p.NewSession(w, runtime.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	return &meter{s: s, work: float64(work)}, nil
}

// run measures once more, unless this took its share of the time already: at
// most about half of what was spent on the work itself.
func (m *meter) run(a *app, spent float64) error {
	if m == nil || m.seconds > 0.05+spent/2 {
		return nil
	}
	begin := time.Now()
	if err := m.s.Run(a.ctx, 0, nil, make([]runtime.Tensor, 1)); err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	m.seconds += took
	m.speeds = append(m.speeds, m.work/took/1e9)
	return nil
}

// speed is the median since the last call, in units of 1e9 a second; 0 where
// nothing was measured.
func (m *meter) speed() float64 {
	if m == nil || len(m.speeds) == 0 {
		return 0
	}
	median := slices.Sorted(slices.Values(m.speeds))[len(m.speeds)/2]
	m.speeds, m.seconds = nil, 0
	return median
}

func (m *meter) close() {
	if m != nil {
		m.s.Close()
	}
}
