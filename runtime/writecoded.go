package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// Quantised says what WriteQuantised has written.
type Quantised struct {
	Types    map[string]plan.Elem // of the weights that were quantised, by name
	Elements int64                // that they have
	Coded    int64                // bytes of their codes and scales
	Copied   int                  // other tensors
}

// WriteQuantised writes a checkpoint with every weight that the program stores as
// codes, and in no other way, stored so, as loading quantises it; all other tensors
// of the file, those that the program does not read too, are copied byte for byte.
// A program loads it with the same results to the bit, and with the same Identity.
//
// The file appears whole or not at all, and is written piece by piece: pieces of
// about 64 Ki elements are in memory. It is an error if path is one of the files
// that the weights are read from, if weights were drawn, or if none is left to
// quantise. A value that codes cannot stand for is named with its tensor.
func (w *Weights) WriteQuantised(ctx context.Context, path string) (*Quantised, error) {
	if w.file == nil {
		return nil, errors.New("weights that were drawn are in no file that could be written anew")
	}
	if st, err := os.Stat(path); err == nil {
		for _, file := range w.file.Files {
			if from, err := os.Stat(file); err == nil && os.SameFile(st, from) {
				return nil, fmt.Errorf("%s would replace %s, which the weights are read from: give another file", path, file)
			}
		}
	}
	parts, meta, q, err := w.quantisedParts(ctx)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(path, func(to io.Writer) error { return safetensors.WriteParts(to, parts, meta) }); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return q, nil
}

func (w *Weights) quantisedParts(ctx context.Context) ([]safetensors.Part, map[string]string, *Quantised, error) {
	q := &Quantised{Types: map[string]plan.Elem{}}
	meta := map[string]string{codedFormat: codedVersion}
	maps.Copy(meta, w.file.Meta)
	var parts []safetensors.Part
	for _, p := range w.params {
		e, ok := p.codes()
		if !ok || w.coded[p.Name] != nil {
			continue
		}
		if _, taken := w.file.Tensors[p.Name+scalesSuffix]; taken {
			return nil, nil, nil, fmt.Errorf("the tensor %s%s is there, and the scales of %s would be called so: rename it", p.Name, scalesSuffix, p.Name)
		}
		c, err := w.coder(p, e, p.Shape[len(p.Shape)-1])
		if err != nil {
			return nil, nil, nil, fmt.Errorf("the tensor %s: %w", p.Name, err)
		}
		codes, scales := codedShapes(e, p.Shape)
		parts = append(parts,
			safetensors.Part{Name: p.Name, Elem: codes.Elem, Shape: codes.Shape, Write: w.codesWriter(ctx, c, p.Shape, false)},
			safetensors.Part{Name: p.Name + scalesSuffix, Elem: scales.Elem, Shape: scales.Shape, Write: w.codesWriter(ctx, c, p.Shape, true)})
		meta[codedWeight+p.Name] = codedMeta(e, p.Shape)
		q.Types[p.Name] = e
		q.Elements += int64(count(p.Shape))
		q.Coded += int64(rowsOf(p.Shape)) * int64(rowCodes(e, c.ks)+rowScales(e, c.ks))
	}
	if len(q.Types) == 0 {
		if len(w.coded) > 0 {
			return nil, nil, nil, errors.New("nothing would change: the file has all weights that the program stores as q8 or q4 as codes")
		}
		return nil, nil, nil, errors.New("the program stores no weight as q8 or q4 alone: nothing would change")
	}
	for _, name := range w.file.Names {
		if _, quantised := q.Types[name]; quantised {
			continue
		}
		t := w.file.Tensors[name]
		parts = append(parts, safetensors.Part{Name: name, Elem: t.Elem, Shape: t.Shape, Write: w.copier(ctx, t.Data)})
		q.Copied++
	}
	return parts, meta, q, nil
}

// codesWriter writes a weight's codes, or else its scales. Both are made anew each
// time: keeping scales until codes are due, or the other way round, would take memory.
func (w *Weights) codesWriter(ctx context.Context, c *coder, shape []int, scales bool) func(io.Writer) error {
	return func(to io.Writer) error {
		l := pieces(shape)
		var s scratch
		for g := range l.groups() {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("at the tensor %s: %w", c.tensor, err)
			}
			var part []byte
			if err := w.guard(func() error {
				from, rows, _ := l.piece(g)
				codes, scaling, err := c.rows(&s, from/l.cols, rows)
				if part = codes; scales {
					part = scaling
				}
				return err
			}); err != nil {
				return err
			}
			if _, err := to.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
}

// copier writes bytes of a mapped file, from a buffer: what has shrunk is found out
// where that is an error.
func (w *Weights) copier(ctx context.Context, data []byte) func(io.Writer) error {
	return func(to io.Writer) error {
		buffer := make([]byte, min(1<<20, len(data)))
		for piece := range slices.Chunk(data, max(1, len(buffer))) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.guard(func() error { copy(buffer, piece); return nil }); err != nil {
				return err
			}
			if _, err := to.Write(buffer[:len(piece)]); err != nil {
				return err
			}
		}
		return nil
	}
}
