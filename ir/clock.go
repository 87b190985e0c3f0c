package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/ints"
)

// RowsAt is how many rows a stream's clock has after so many tokens.
func (c *Clock) RowsAt(tokens int64) int64 {
	if c.Kind != Woven {
		return tokens
	}
	n, every := c.Of.RowsAt(tokens), int64(c.Pattern.Every)
	return n/every*int64(c.Size) + c.Pattern.Rows[n%every]
}

// Added is how many of a chunk's rows lie in complete blocks once x of its size
// rows have arrived. Blocks of that many rows follow each other from the chunk's
// first row on; the last one may have fewer.
func Added(x *ints.Expr, size, block int) *ints.Expr {
	step := ints.C(int64(block))
	whole := ints.Times(ints.Quo(x, step), step)
	if size%block == 0 {
		return whole
	}
	return ints.If(ints.Bin(ints.Eq, x, ints.C(int64(size))), x, whole)
}

// Pieces calls f for each piece into which the borders of a scan's chunks cut so
// many rows from row from on: the piece's place in its chunk, and the rows of
// blocks that it completes, which are added to sums or, where the piece is the
// chunk's last, written.
func (r *Region) Pieces(from, rows int64, f func(at, count, added int64, last bool)) {
	size := int64(r.Clock.Size)
	for rows > 0 {
		at := from % size
		count := min(size-at, rows)
		n := int64(0)
		if r.Block > 0 {
			n = added(at+count, r.Clock.Size, r.Block) - added(at, r.Clock.Size, r.Block)
		}
		f(at, count, n, at+count == size)
		from, rows = from+count, rows-count
	}
}

// added is Added of a number.
func added(x int64, size, block int) int64 {
	n, _ := Added(ints.C(x), size, block).IsConst()
	return n
}

// wrong says what of a clock contradicts itself, or nothing.
func (c *Clock) wrong() string {
	w := c.Pattern
	switch {
	case c.Kind != Base && c.Of == nil:
		return fmt.Sprintf("the clock %s has no parent", c.Name)
	case c.Kind == Chunk && c.Size < 1:
		return fmt.Sprintf("a chunk of %s has %d rows", c.Name, c.Size)
	case c.Kind == Prefixed && (c.Of.Kind != Chunk || c.Prefix == nil || c.Most < 0):
		return fmt.Sprintf("the clock %s puts no rows before a chunk", c.Name)
	case c.Kind != Woven:
		return ""
	case w == nil || w.Every < 1 || c.Size < 1:
		return fmt.Sprintf("the clock %s has no pattern", c.Name)
	case len(w.From) != c.Size || len(w.Kind) != c.Size || len(w.Rows) != w.Every+1 || len(w.Row) != w.Every:
		return fmt.Sprintf("a pattern of %d rows every %d has %d origins, %d kinds, %d counts and %d places", c.Size, w.Every, len(w.From), len(w.Kind), len(w.Rows), len(w.Row))
	case w.Rows[0] != 0 || w.Rows[w.Every] != int64(c.Size):
		return "a pattern's counts must begin with 0 and end with its size"
	}
	for i, r := range w.Row {
		if w.Rows[i] > w.Rows[i+1] || r < w.Rows[i] || r >= w.Rows[i+1] {
			return fmt.Sprintf("row %d of the pattern does not arrive with its counts", i)
		}
	}
	for i, f := range w.From {
		if f >= int64(w.Every) || w.Kind[i] < 0 || w.Kind[i] > int64(len(w.Kinds)) || (f >= 0) != (w.Kind[i] == 0) {
			return fmt.Sprintf("row %d of the pattern is neither the parent's nor a literal", i)
		}
	}
	return ""
}
