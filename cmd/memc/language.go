package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/runtime"
)

// languageModel is a program that gives logits for each token it reads.
type languageModel struct {
	*program
	vocab int
	next  bool // it has an entry that gives the last token's logits only
}

// tokensPort and logitsPort are what the entries of a language model call their
// input and output.
const tokensPort, logitsPort = "tokens", "logits"

// language checks that p is a language model of at least so many tokens.
func language(p *program, vocab int, why string) (*languageModel, error) {
	m := &languageModel{program: p}
	var more []string // inputs that a text does not give
	entries := p.Entries()
	for i := range entries {
		e := &entries[i]
		if e.Name == "forward" && len(e.Inputs) > 1 && slices.ContainsFunc(e.Inputs, func(x runtime.Port) bool { return x.Name == tokensPort }) {
			for _, x := range e.Inputs {
				if x.Name != tokensPort {
					more = append(more, x.Name)
				}
			}
		}
		in := len(e.Inputs) == 1 && e.Inputs[0].Name == tokensPort && e.Inputs[0].Elem == "i32" && len(e.Inputs[0].Dims) == 1
		if !in || len(e.Outputs) != 1 || e.Outputs[0].Name != logitsPort {
			continue
		}
		dims := e.Outputs[0].Dims
		switch {
		case e.Name == "forward" && len(dims) == 2 && !numeric(dims[0]):
			m.vocab, _ = strconv.Atoi(dims[1])
		case e.Name == "next" && len(dims) == 1:
			m.next = true
		}
	}
	if m.vocab == 0 && len(more) > 0 {
		return nil, fmt.Errorf("forward of %s also takes %s, which a text does not give: feed it with memc exec or from Go", p.Name(), strings.Join(more, ", "))
	}
	if m.vocab == 0 {
		return nil, fmt.Errorf("%s is no language model: it has no entry forward(tokens i32[t]) -> logits f32[t, vocabulary]", p.Name())
	}
	if m.vocab < vocab {
		return nil, fmt.Errorf("%s knows %d tokens; %s", p.Name(), m.vocab, why)
	}
	return m, nil
}

// logits feeds tokens and gives the logits of each, row by row.
func (m *languageModel) logits(a *app, s *runtime.Session, tokens []int32) ([]float32, error) {
	out, err := s.Call(a.ctx, "forward", map[string]runtime.Tensor{tokensPort: runtime.FromInt32(tokens)})
	if err != nil {
		return nil, err
	}
	return runtime.Float32(out[logitsPort])
}

// read feeds tokens whose logits are not wanted.
func (m *languageModel) read(a *app, s *runtime.Session, tokens []int32) error {
	entry := "forward"
	if m.next {
		entry = "next"
	}
	_, err := s.Call(a.ctx, entry, map[string]runtime.Tensor{tokensPort: runtime.FromInt32(tokens)})
	return err
}

// piece is how many rows of logits are taken at once.
func (m *languageModel) piece() int { return max(16, min(512, 1<<24/m.vocab)) }
