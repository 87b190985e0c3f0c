package ir

import "github.com/memc-lang/memc/ir/elem"

// Tensor is a value of the interpreter: Data in row-major order of Dims, the
// sizes at hand (a clock's or a bounded dimension's rows as they are). Every
// element type is held in float64, which is exact for 53-bit integers.
type Tensor struct {
	Elem elem.Type
	Dims []int
	Data []float64
	Rows []int64 // of a kept history: the number of each row, rising; else nil
}

// Env is what an op's Eval may ask about where it runs.
type Env struct {
	// Index gives the number of the first row at hand of a clock, and how many
	// there are.
	Index func(c *Clock) (first int64, count int)
	// Chunk gives the number of the running chunk of a scan's clock.
	Chunk func(c *Clock) int64
	// Len gives the value of a named length.
	Len func(name string) (int64, bool)
}
