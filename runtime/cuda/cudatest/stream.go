package cudatest

import (
	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/runtime/cuda"
	"github.com/memc-lang/memc/runtime/memory"
)

// give puts work at the end of a stream, or into the graph that is captured.
func (d *Device) give(call string, s cuda.StreamID, w work) cuda.Result {
	leave, r := d.enter(call, true)
	defer leave()
	if r != cuda.Success {
		return r
	}
	x := d.streams[s]
	switch {
	case x == nil:
		return cuda.InvalidValue
	case x.capturing:
		x.captured = append(x.captured, w)
	default:
		x.queue = append(x.queue, w)
	}
	return r
}

// drain does what a stream has been given. What fails once fails from then on.
func (d *Device) drain(s *stream) {
	for _, w := range s.queue {
		if d.sticky == cuda.Success {
			d.sticky = w()
		}
	}
	s.queue = nil
}

// CopyIn is cuMemcpyHtoDAsync.
func (d *Device) CopyIn(to cuda.Addr, from uintptr, n int64, s cuda.StreamID) cuda.Result {
	return d.give("CopyIn", s, func() cuda.Result {
		if !d.isPinned(from, n) || d.memory.WriteAt(memory.At(from, n), uint64(to)) != nil {
			return cuda.InvalidValue
		}
		return cuda.Success
	})
}

// CopyOut is cuMemcpyDtoHAsync.
func (d *Device) CopyOut(to uintptr, from cuda.Addr, n int64, s cuda.StreamID) cuda.Result {
	return d.give("CopyOut", s, func() cuda.Result {
		if !d.isPinned(to, n) || d.memory.ReadAt(memory.At(to, n), uint64(from)) != nil {
			return cuda.InvalidValue
		}
		return cuda.Success
	})
}

// isPinned reports whether n bytes lie in page-locked memory.
func (d *Device) isPinned(p uintptr, n int64) bool {
	for at, m := range d.pinned {
		if p >= at && int64(p-at)+n <= m.Len() {
			return true
		}
	}
	return false
}

// Copy is cuMemcpyDtoDAsync.
func (d *Device) Copy(to, from cuda.Addr, n int64, s cuda.StreamID) cuda.Result {
	return d.give("Copy", s, func() cuda.Result {
		b := make([]byte, n)
		if d.memory.ReadAt(b, uint64(from)) != nil || d.memory.WriteAt(b, uint64(to)) != nil {
			return cuda.InvalidValue
		}
		return cuda.Success
	})
}

// Launch is cuLaunchKernel.
func (d *Device) Launch(f cuda.FunctionID, grid [3]int, threads, shared int, s cuda.StreamID, args *[4]uint64) cuda.Result {
	d.mutex.Lock()
	k := d.kernels[f-1]
	d.mutex.Unlock()
	if grid[0] < 1 || grid[1] < 1 || grid[1] > 65535 || grid[2] != 1 || threads < 1 || threads > 1024 || shared > k.shared {
		return cuda.InvalidValue
	}
	l := sim.Launch{CTAs: grid[0], Rows: grid[1], Threads: threads, Shared: shared, Args: append([]uint64{}, args[:]...), Memory: &d.memory}
	return d.give("Launch", s, func() cuda.Result {
		if err := k.module.Run(k.name, l); err != nil {
			d.Fault = err
			return cuda.IllegalAddress
		}
		return cuda.Success
	})
}

// NewStream is cuStreamCreate.
func (d *Device) NewStream() (cuda.StreamID, cuda.Result) {
	leave, r := d.enter("NewStream", true)
	defer leave()
	d.next++
	d.streams[cuda.StreamID(d.next)] = &stream{}
	return cuda.StreamID(d.next), r
}

// FreeStream is cuStreamDestroy.
func (d *Device) FreeStream(s cuda.StreamID) cuda.Result {
	leave, r := d.enter("FreeStream", true)
	defer leave()
	if d.streams[s] == nil {
		return cuda.InvalidValue
	}
	d.drain(d.streams[s])
	delete(d.streams, s)
	return r
}

// WaitStream is cuStreamSynchronize.
func (d *Device) WaitStream(s cuda.StreamID) cuda.Result {
	leave, r := d.enter("WaitStream", true)
	defer leave()
	x := d.streams[s]
	if r != cuda.Success {
		return r
	}
	if x == nil || x.capturing {
		return cuda.InvalidValue
	}
	d.drain(x)
	return d.sticky
}

// NewEvent is cuEventCreate.
func (d *Device) NewEvent() (cuda.EventID, cuda.Result) {
	leave, r := d.enter("NewEvent", true)
	defer leave()
	d.next++
	d.events[cuda.EventID(d.next)] = -1
	return cuda.EventID(d.next), r
}

// FreeEvent is cuEventDestroy.
func (d *Device) FreeEvent(e cuda.EventID) cuda.Result {
	leave, r := d.enter("FreeEvent", true)
	defer leave()
	delete(d.events, e)
	return r
}

// Record is cuEventRecord; the clock counts events, a millisecond each.
func (d *Device) Record(e cuda.EventID, s cuda.StreamID) cuda.Result {
	return d.give("Record", s, func() cuda.Result {
		d.clock++
		d.events[e] = d.clock
		return cuda.Success
	})
}

// Elapsed is cuEventElapsedTime.
func (d *Device) Elapsed(from, to cuda.EventID) (float32, cuda.Result) {
	leave, r := d.enter("Elapsed", true)
	defer leave()
	if d.events[from] < 1 || d.events[to] < 1 {
		return 0, cuda.InvalidValue
	}
	return float32(d.events[to] - d.events[from]), r
}

// BeginCapture is cuStreamBeginCapture.
func (d *Device) BeginCapture(s cuda.StreamID) cuda.Result {
	leave, r := d.enter("BeginCapture", true)
	defer leave()
	x := d.streams[s]
	if x == nil || x.capturing {
		return cuda.InvalidValue
	}
	x.capturing, x.captured = true, nil
	return r
}

// EndCapture is cuStreamEndCapture.
func (d *Device) EndCapture(s cuda.StreamID) (cuda.GraphID, cuda.Result) {
	leave, r := d.enter("EndCapture", true)
	defer leave()
	x := d.streams[s]
	if x == nil || !x.capturing {
		return 0, cuda.InvalidValue
	}
	d.next++
	d.graphs[d.next] = x.captured
	x.capturing = false
	return cuda.GraphID(d.next), r
}

// Instantiate is cuGraphInstantiateWithFlags.
func (d *Device) Instantiate(g cuda.GraphID) (cuda.ExecID, cuda.Result) {
	leave, r := d.enter("Instantiate", true)
	defer leave()
	d.next++
	d.graphs[d.next] = d.graphs[uintptr(g)]
	return cuda.ExecID(d.next), r
}

// FreeGraph is cuGraphDestroy.
func (d *Device) FreeGraph(g cuda.GraphID) cuda.Result {
	leave, r := d.enter("FreeGraph", true)
	defer leave()
	delete(d.graphs, uintptr(g))
	return r
}

// LaunchGraph is cuGraphLaunch.
func (d *Device) LaunchGraph(x cuda.ExecID, s cuda.StreamID) cuda.Result {
	return d.give("LaunchGraph", s, func() cuda.Result {
		for _, w := range d.graphs[uintptr(x)] {
			if r := w(); r != cuda.Success {
				return r
			}
		}
		return cuda.Success
	})
}

// FreeExec is cuGraphExecDestroy.
func (d *Device) FreeExec(x cuda.ExecID) cuda.Result {
	leave, r := d.enter("FreeExec", true)
	defer leave()
	delete(d.graphs, uintptr(x))
	return r
}

var _ cuda.API = (*Device)(nil)
