// Package amd64 prints kernels as LLVM IR, has LLVM's llc assemble them, and
// links the object into one flat block of position-independent code.
//
// Every kernel becomes a function of the native ABI (see ir/plan), and each
// block of code has two functions more: walk, which runs a step list, and work, in which
// workers wait for calls.
//
// # How a kernel lowers
//
// Blocks of a part are numbered one after another; a worker takes a contiguous
// share of each part, and of long blocks what others have not begun (pieces.go), or,
// beside other launches, several smaller ones. What does not depend on a grid's last
// axis is computed once for the neighbours along it. A tile lives in the worker's scratch memory in
// rows padded to 16 elements (a tile of one column is a dense vector), or is a
// view of a buffer where it is only read before the buffer is written, or stored right
// after it is computed, and the addresses allow it; tiles that are never in use together share memory. Maps run in strips of 16 lanes with
// the whole expression in registers; those that follow each other on tiles of
// one shape run together. Products run in register tiles, whose rows of the left
// operand lie in strips where many columns share them, one chain
// of fused multiply-adds over k for each element, so that a result does not
// depend on tile sizes, valid counts, views or workers; in matrix tiles the chain
// is one of groups of 32, where the statement allows it; codes of quantised weights are
// summed group by group (quant.go, fixed.go). Nothing outside a
// tile's valid region is ever stored to a buffer; up to 64 bytes behind a
// buffer may be read.
//
// The floating-point environment is left alone: denormal numbers count, and
// rounding is to nearest. Matrix tiles take denormal parts as 0.
package amd64

import (
	"slices"

	"github.com/memc-lang/memc/ir/kernel"
)

// Machine is a target: the instruction set and the register tiles that suit it.
type Machine struct {
	Name     string
	Features []string // as llc's -mattr names them; a processor must have all
	Micro    []Shape  // register tiles of a product, most rows first, ending with 1 row
	Coded    []Shape  // register tiles of a product with a quantised operand for few rows, as Micro; none where Bytes is there
	Scale    bool     // has vscalefps
	Bytes    string   // the feature that is vpdpbusd for 16 lanes, which products with codes then use; "": they do without
	Pairs    string   // the feature that is vdpbf16ps, which products of bf16 operands then use; "": they do without
	Squares  bool     // has matrix tiles, for products that may use them
}

// Shape is a register tile: Rows rows by Vecs vectors of 16 columns.
type Shape struct{ Rows, Vecs int }

// AVX512 is x86-64 with 32 registers of 16 floats.
var AVX512 = Machine{
	Name:     "avx512",
	Features: []string{"avx", "avx2", "fma", "f16c", "bmi", "bmi2", "avx512f", "avx512vl", "avx512bw", "avx512dq"},
	Micro:    []Shape{{14, 2}, {8, 2}, {7, 4}, {4, 4}, {2, 8}, {1, 8}},
	Scale:    true,
	Bytes:    "avx512vnni",
	Pairs:    "avx512bf16",
}

// AMX is AVX512 with matrix tiles for bf16 (AMX-TILE and AMX-BF16), as 2023's
// servers have them.
var AMX = func() Machine {
	m := AVX512
	m.Name, m.Squares, m.Pairs = "amx", true, "" // squares take what pairs would
	m.Features = append(slices.Clone(m.Features), "amx-tile", "amx-bf16")
	return m
}()

// AVX2 is x86-64 with 16 registers of 8 floats.
var AVX2 = Machine{
	Name:     "avx2",
	Features: []string{"avx", "avx2", "fma", "f16c", "bmi", "bmi2"},
	Micro:    []Shape{{6, 1}, {3, 2}, {1, 4}},
	Coded:    []Shape{{3, 1}, {1, 4}},
}

// with is the machine with the features that only some kernels need.
func (m Machine) with(ks []*kernel.Kernel) Machine {
	need := func(feature string) {
		if !slices.Contains(m.Features, feature) {
			m.Features = append(slices.Clip(m.Features), feature)
		}
	}
	for _, k := range ks {
		for _, b := range k.Bufs {
			if m.fixes(b.Elem) && b.Panel > 0 {
				need(m.Bytes)
				if m.codeTiles(b.Elem) {
					need(byteTiles)
				}
			}
		}
		if anyProduct(k, m.paired) {
			need(m.Pairs)
		}
	}
	return m
}
