package amd64

import (
	"context"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// The loop that measures a machine's limit: independent chains of fused
// multiply-adds in registers alone, more of them than the latency needs.
const (
	peakTurns = 1 << 20
	PeakName  = "peak" // the name of Peak's kernel
)

func (m Machine) peakChains() int {
	if m.Name == AVX2.Name {
		return 6 // of two registers each
	}
	return 24
}

// PeakFlops is the number of floating-point operations that one worker does in
// one call of Peak's kernel; a fused multiply-add counts as two.
func (m Machine) PeakFlops() int64 { return peakTurns * int64(m.peakChains()) * lanes * 2 }

// Peak is code with one kernel, PeakName, in which every worker does nothing but
// f32 multiply-adds, and walk: what it reaches is the limit to hold other
// kernels against.
func Peak(ctx context.Context, m Machine) (*Blob, error) {
	llc, err := findLLC()
	if err != nil {
		return nil, err
	}
	mod := newModule(m)
	mod.where = PeakName
	scratch := ir.NewParam("scratch", bytePtr)
	f := mod.newFunc(PeakName, types.Void, ir.NewParam("bufs", types.NewPointer(bytePtr)), ir.NewParam("slots", types.NewPointer(i64)), ir.NewParam("record", types.NewPointer(i64)), scratch, ir.NewParam("worker", i64), ir.NewParam("workers", i64))
	chains := m.peakChains()
	for i := range chains { // plain numbers: denormal ones could be slow
		f.store(f.splat(constant.NewFloat(types.Float, 1)), scratch, c64(int64(i)*64))
	}
	x := f.load(vf32, scratch, c64(0))
	acc := make([]value.Value, chains)
	for i := range acc {
		acc[i] = f.load(vf32, scratch, c64(int64(i)*64))
	}
	acc = f.loop(c64(0), c64(peakTurns), 1, acc, func(_ value.Value, in []value.Value) []value.Value {
		next := make([]value.Value, len(in))
		for i := range in {
			next[i] = f.fma(in[i], x, x)
		}
		return next
	})
	for i, a := range acc {
		f.store(a, scratch, c64(int64(i)*64))
	}
	f.ret()
	mod.walk()
	if mod.err != nil {
		return nil, mod.err
	}
	obj, err := runLLC(ctx, llc, mod.m.String(), m, "obj")
	if err != nil {
		return nil, err
	}
	b, err := link([][]byte{obj})
	if err != nil {
		return nil, err
	}
	b.Scratch, b.Features = map[string]int64{PeakName: int64(chains) * 64}, m.Features
	return b, nil
}
