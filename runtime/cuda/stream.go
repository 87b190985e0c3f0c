package cuda

import (
	goruntime "runtime"
)

// Stream is a line of work: what is given to it runs in that order, beside
// other streams. Its calls return before the work is done.
type Stream struct {
	gpu     *GPU
	id      StreamID
	cleanup goruntime.Cleanup
}

// NewStream makes a stream.
func (g *GPU) NewStream() (*Stream, error) {
	id, r := g.api.NewStream()
	if r != Success {
		return nil, g.fail("make a stream", r)
	}
	s := &Stream{gpu: g, id: id}
	s.cleanup = goruntime.AddCleanup(s, func(id StreamID) { g.release(func() { g.api.FreeStream(id) }) }, id)
	return s, nil
}

// Free ends the stream at once; its work must be done. nil is none.
func (s *Stream) Free() {
	if s == nil || s.id == 0 {
		return
	}
	s.cleanup.Stop()
	s.gpu.api.FreeStream(s.id)
	s.id = 0
}

// CopyIn copies n bytes of p, from byte off on, to the device.
func (s *Stream) CopyIn(to Addr, p *Pinned, off, n int64) error {
	if n == 0 {
		return nil
	}
	_ = p.bytes[off : off+n]
	return s.gpu.fail("copy to its memory", s.gpu.api.CopyIn(to, p.addr+uintptr(off), n, s.id))
}

// CopyOut copies n bytes of the device to p, from byte off on.
func (s *Stream) CopyOut(p *Pinned, off int64, from Addr, n int64) error {
	if n == 0 {
		return nil
	}
	_ = p.bytes[off : off+n]
	return s.gpu.fail("copy from its memory", s.gpu.api.CopyOut(p.addr+uintptr(off), from, n, s.id))
}

// Copy copies n bytes within the device.
func (s *Stream) Copy(to, from Addr, n int64) error {
	if n == 0 {
		return nil
	}
	return s.gpu.fail("copy within its memory", s.gpu.api.Copy(to, from, n, s.id))
}

// Launch runs a kernel on a grid of so many CTAs in x and y. args are the
// kernel's parameters, all of 64 bits.
func (s *Stream) Launch(f *Function, x, y int, args *[4]uint64) error {
	if r := s.gpu.api.Launch(f.id, [3]int{x, y, 1}, f.Threads, f.Shared, s.id, args); r != Success {
		return s.gpu.fail("launch the kernel "+f.Name, r)
	}
	return nil
}

// Wait returns when all work given so far is done. An error is of any of it;
// doing says what that was.
func (s *Stream) Wait(doing string) error {
	if r := s.gpu.api.WaitStream(s.id); r != Success {
		return s.gpu.fail(doing, r)
	}
	return nil
}

// Graph is recorded work that runs with one call.
type Graph struct {
	gpu     *GPU
	exec    ExecID
	cleanup goruntime.Cleanup
}

// Capture records what work gives to the stream, which does not run.
func (s *Stream) Capture(work func() error) (*Graph, error) {
	g := s.gpu
	if r := g.api.BeginCapture(s.id); r != Success {
		return nil, g.fail("begin to record a graph", r)
	}
	err := work()
	id, r := g.api.EndCapture(s.id)
	if err == nil {
		err = g.fail("record a graph", r)
	}
	if err != nil {
		if r == Success && id != 0 {
			g.api.FreeGraph(id)
		}
		return nil, err
	}
	exec, r := g.api.Instantiate(id)
	g.api.FreeGraph(id)
	if r != Success {
		return nil, g.fail("make a graph ready", r)
	}
	x := &Graph{gpu: g, exec: exec}
	x.cleanup = goruntime.AddCleanup(x, func(e ExecID) { g.release(func() { g.api.FreeExec(e) }) }, exec)
	return x, nil
}

// LaunchGraph runs a graph.
func (s *Stream) LaunchGraph(x *Graph) error {
	if r := s.gpu.api.LaunchGraph(x.exec, s.id); r != Success {
		return s.gpu.fail("launch a graph", r)
	}
	return nil
}

// Free gives the graph's memory back at once; nil is none.
func (x *Graph) Free() {
	if x == nil || x.exec == 0 {
		return
	}
	x.cleanup.Stop()
	x.gpu.api.FreeExec(x.exec)
	x.exec = 0
}

// Event marks a place in a stream and the time when its work came there.
type Event struct {
	gpu     *GPU
	id      EventID
	cleanup goruntime.Cleanup
}

// NewEvent makes an event.
func (g *GPU) NewEvent() (*Event, error) {
	id, r := g.api.NewEvent()
	if r != Success {
		return nil, g.fail("make an event", r)
	}
	e := &Event{gpu: g, id: id}
	e.cleanup = goruntime.AddCleanup(e, func(id EventID) { g.release(func() { g.api.FreeEvent(id) }) }, id)
	return e, nil
}

// Record puts the event behind the stream's work so far.
func (s *Stream) Record(e *Event) error {
	return s.gpu.fail("record an event", s.gpu.api.Record(e.id, s.id))
}

// Since is the time in seconds between two events, both of which have come.
func (e *Event) Since(from *Event) (float64, error) {
	ms, r := e.gpu.api.Elapsed(from.id, e.id)
	return float64(ms) / 1e3, e.gpu.fail("time an event", r)
}

// Free ends the event at once; nil is none.
func (e *Event) Free() {
	if e == nil || e.id == 0 {
		return
	}
	e.cleanup.Stop()
	e.gpu.api.FreeEvent(e.id)
	e.id = 0
}
