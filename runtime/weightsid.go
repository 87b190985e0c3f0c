package runtime

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/memc-lang/memc/ir/plan"
)

// Identity names the weights, in hexadecimal: the same values of the same
// tensors in the same types have the same one. A weight that the program stores as
// codes goes by its codes, whether the file has them or they are made of what it
// has. It reads all of them the first time.
func (w *Weights) Identity() (string, error) { return w.id() }

func (w *Weights) identify() (string, error) {
	h := sha256.New()
	params := slices.SortedFunc(slices.Values(w.params), func(a, b Param) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range params {
		if w.file == nil {
			fmt.Fprintf(h, "%q %v %d %q %v\n", p.Name, p.Shape, w.seed, p.Init.Kind, p.Init.Scale)
			continue
		}
		e, ok := p.codes()
		if c := w.coded[p.Name]; c != nil {
			e, ok = c.elem, true
		}
		if ok {
			if err := w.identifyCodes(h, p, e); err != nil {
				return "", fmt.Errorf("the tensor %s: %w", p.Name, err)
			}
			continue
		}
		t := w.file.Tensors[p.Name]
		if err := w.guard(func() error {
			sum := xxh3.Hash128(t.Data).Bytes()
			fmt.Fprintf(h, "%q %v %s ", p.Name, p.Shape, t.Elem)
			_, err := h.Write(sum[:])
			return err
		}); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// identifyCodes adds a weight's codes and scales, piece by piece.
func (w *Weights) identifyCodes(h hash.Hash, p Param, e plan.Elem) error {
	c, err := w.coder(p, e, p.Shape[len(p.Shape)-1])
	if err != nil {
		return err
	}
	l := pieces(p.Shape)
	sums := make([][2][16]byte, l.groups())
	if err := w.each(len(sums), func(s *scratch, g int) error {
		from, rows, _ := l.piece(g)
		codes, scales, err := c.rows(s, from/l.cols, rows)
		if err != nil {
			return err
		}
		sums[g] = [2][16]byte{xxh3.Hash128(codes).Bytes(), xxh3.Hash128(scales).Bytes()}
		return nil
	}); err != nil {
		return err
	}
	fmt.Fprintf(h, "%q %v %s ", p.Name, p.Shape, e)
	for i := range sums {
		h.Write(sums[i][0][:])
		h.Write(sums[i][1][:])
	}
	return nil
}
