package runtime

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// A saved state is a safetensors file: a tensor for each tensor of the state,
// row-major, and in its metadata the keys below, with one key more for each
// carried integer.
const (
	stateFormat  = "memc.state" // the version of this format
	stateVersion = "2"
	stateProgram = "memc.program" // what it computes: the graph and the compiler
	stateLaidOut = "memc.layout"  // the form of the states
	stateTarget  = "memc.target"  // where it was saved; others may go on with it
	stateWeights = "memc.weights" // Weights.Identity
	statePos     = "memc.pos"     // the number of rows that the stream has read
	stateInt     = "memc.int."    // and the integer's name
)

// SaveState writes the session's state to a file that appears whole or not at
// all. It takes the state at its position; the stream can go on from it, in
// this process or another, with the same results to the bit on the same target.
func (s *Session) SaveState(path string) error {
	if err := atomicfile.Write(path, s.WriteState); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// WriteState writes the session's state as SaveState does.
func (s *Session) WriteState(w io.Writer) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	weights, err := s.weights.Identity()
	if err != nil {
		return err
	}
	st, err := s.machine.State()
	if err != nil {
		return err
	}
	meta := map[string]string{
		stateFormat:  stateVersion,
		stateProgram: s.program.computes,
		stateLaidOut: s.program.layout,
		stateTarget:  s.program.target,
		stateWeights: weights,
		statePos:     strconv.FormatInt(st.Pos, 10),
	}
	for name, v := range st.Ints {
		meta[stateInt+name] = strconv.FormatInt(v, 10)
	}
	return safetensors.Write(w, st.Tensors, meta)
}

// LoadState replaces the session's state by a saved one, which must come from
// the same program and weights. It may have been saved on another target, as a
// CPU's on a GPU, where both keep the program's states in the same form; what
// they compute from it differs in the last bits. On an error the session is as it
// was.
func (s *Session) LoadState(path string) error {
	c, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Guard(func() error { return s.setState(c.Tensors, c.Meta) }); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ReadState is LoadState from memory.
func (s *Session) ReadState(file []byte) error {
	tensors, _, meta, err := safetensors.Decode(file)
	if err != nil {
		return err
	}
	return s.setState(tensors, meta)
}

func (s *Session) setState(tensors map[string]Tensor, meta map[string]string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.busy.Unlock()
	if meta[stateFormat] == "" {
		return fmt.Errorf("this is not a saved state: its metadata has no %s", stateFormat)
	}
	weights, err := s.weights.Identity()
	if err != nil {
		return err
	}
	for _, c := range []struct{ key, want, what string }{
		{stateFormat, stateVersion, "in another format"},
		{stateProgram, s.program.computes, "of another program"},
		{stateWeights, weights, "of other weights"},
	} {
		if got := meta[c.key]; got != c.want {
			return fmt.Errorf("the state is %s: its %s is %q, the session's is %q", c.what, c.key, got, c.want)
		}
	}
	st := &State{Ints: map[string]int64{}, Tensors: tensors}
	if st.Pos, err = strconv.ParseInt(meta[statePos], 10, 64); err != nil || st.Pos < 0 {
		return fmt.Errorf("the state's %s is %q, no position", statePos, meta[statePos])
	}
	for key, v := range meta {
		if name, ok := strings.CutPrefix(key, stateInt); ok {
			if st.Ints[name], err = strconv.ParseInt(v, 10, 64); err != nil {
				return fmt.Errorf("the state's %s is %q, no integer", key, v)
			}
		}
	}
	if got := meta[stateLaidOut]; got != s.program.layout {
		why := "its integers are counted otherwise"
		if c, ok := s.machine.(interface{ fitting(*State) error }); ok {
			if err := c.fitting(st); err != nil {
				why = err.Error()
			}
		}
		return fmt.Errorf("the state was saved on %s, where this program keeps its states in another form than on %s: %s. It goes on where it came from", meta[stateTarget], s.program.target, why)
	}
	return s.machine.SetState(st)
}
