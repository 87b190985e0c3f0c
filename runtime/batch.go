package runtime

import (
	"context"
	"errors"
	"fmt"
)

// Batch runs streams of one program together. Each is at a place of its own and
// keeps its state; a call feeds each its own rows. On a GPU one launch serves all
// streams of a call, so that weights are read about once for all; elsewhere they
// run one after another. Results are those of the sessions alone, to the bit.
type Batch struct {
	sessions []*Session
	together together // nil: one after another
}

// together runs machines at once.
type together interface {
	run(ctx context.Context, entry int, in, out [][]Tensor) error
	close()
}

// gatherer is an engine that can run machines of its own at once.
type gatherer interface {
	gather(machines []Machine) (together, error)
}

// NewBatch joins sessions, which must share one program and its weights. They
// may be called alone too, between the batch's calls, and be joined anew.
func NewBatch(sessions []*Session) (*Batch, error) {
	if len(sessions) == 0 {
		return nil, errors.New("a batch of no sessions")
	}
	b := &Batch{sessions: sessions}
	machines := make([]Machine, len(sessions))
	for i, s := range sessions {
		if s.program != sessions[0].program || s.weights != sessions[0].weights {
			return nil, fmt.Errorf("session %d of the batch has another program or other weights than the first", i)
		}
		machines[i] = s.machine
	}
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.leave()
	if g, ok := sessions[0].program.engine.(gatherer); ok {
		var err error
		if b.together, err = g.gather(machines); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// enter takes all sessions for one call; a session that is in the batch twice is
// in another call.
func (b *Batch) enter() error {
	for i, s := range b.sessions {
		if err := s.enter(); err != nil {
			for _, s := range b.sessions[:i] {
				s.busy.Unlock()
			}
			return fmt.Errorf("session %d of the batch: %w", i, err)
		}
	}
	return nil
}

func (b *Batch) leave() {
	for _, s := range b.sessions {
		s.busy.Unlock()
	}
}

// Run is Session.Run of every session: in[i] and out[i] are those of session i,
// in the order of the entry's ports. An error about the inputs leaves all
// sessions as they were. Where ctx ends a long call, each session's Pos tells how
// far it has come.
func (b *Batch) Run(ctx context.Context, entry int, in, out [][]Tensor) error {
	p := b.sessions[0].program
	if entry < 0 || entry >= len(p.Entries()) {
		return fmt.Errorf("the program has no entry point %d", entry)
	}
	if len(in) != len(b.sessions) || len(out) != len(b.sessions) {
		return fmt.Errorf("a batch of %d sessions is given inputs for %d and outputs for %d", len(b.sessions), len(in), len(out))
	}
	if err := b.enter(); err != nil {
		return err
	}
	defer b.leave()
	d := &p.Entries()[entry]
	for i := range in {
		if err := checkCall(d, in[i], out[i]); err != nil {
			return fmt.Errorf("session %d of the batch: %w", i, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.together != nil {
		return b.together.run(ctx, entry, in, out)
	}
	for i, s := range b.sessions {
		if err := s.machine.Run(ctx, entry, in[i], out[i]); err != nil {
			return fmt.Errorf("session %d of the batch: %w", i, err)
		}
	}
	return nil
}

// Close frees what the batch has beside its sessions, which stay open.
func (b *Batch) Close() {
	if b.together != nil {
		b.together.close()
		b.together = nil
	}
}
