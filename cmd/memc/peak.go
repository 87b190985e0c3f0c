package main

import (
	"errors"
	"slices"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/runtime"
)

// peakMeter measures what the machine can do, f32 multiply-adds alone, between
// the runs of what is timed: machines change their speed with heat and
// neighbours, so that a share of the peak means something only beside it.
type peakMeter struct {
	s       *runtime.Session
	flops   float64 // of all threads in one call
	speeds  []float64
	seconds float64 // spent here so far
}

// newPeakMeter gives a meter for a target, nil where the target has none (the
// interpreter) or where there is no LLVM to make it with.
func newPeakMeter(a *app, target string, threads int) (*peakMeter, error) {
	if target != "avx512" && target != "avx2" {
		return nil, nil
	}
	art, flops, err := memc.Peak(a.ctx, target)
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
	return &peakMeter{s: s, flops: float64(flops) * float64(threads)}, nil
}

// run measures once more, unless this took its share of the time already: at
// most about half of what was spent on the work itself.
func (m *peakMeter) run(a *app, spent float64) error {
	if m == nil || m.seconds > 0.03+spent/2 {
		return nil
	}
	begin := time.Now()
	if err := m.s.Run(a.ctx, 0, nil, make([]runtime.Tensor, 1)); err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	m.seconds += took
	m.speeds = append(m.speeds, m.flops/took/1e9)
	return nil
}

// gflops is the median so far, 0 where nothing was measured.
func (m *peakMeter) gflops() float64 {
	if m == nil || len(m.speeds) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(m.speeds))[len(m.speeds)/2]
}

func (m *peakMeter) close() {
	if m != nil {
		m.s.Close()
	}
}
