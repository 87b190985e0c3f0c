// Package runtime runs compiled programs: it is all that a program needs at run
// time, and what packages written by "memc gen" are built on.
//
//	p, err := runtime.Open("model.memc", "")     // for this machine
//	w, err := p.LoadWeights("weights/")           // mapped, shared by sessions
//	s, err := p.NewSession(w, runtime.Options{})  // a stream with its state
//	out, err := s.Call(ctx, "forward", map[string]runtime.Tensor{"tokens": runtime.FromInt32(ids)})
//
// A Program is code without weights; it and Weights are read only and shared.
// A Session is one stream: each call feeds the rows that come next, and what
// the program remembers of the rows before lives in the session's state, whose
// size does not depend on how many there were unless the program says so
// (StateBytes). However a stream is cut into calls, the results are the same.
//
// Everything is checked before compiled code is entered: the artifact's
// checksums, the processor's features, the plan, sizes, types and values.
package runtime
