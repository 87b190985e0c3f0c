package amd64

import (
	"context"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// The loops that measure a machine's limits: independent chains of fused
// multiply-adds in registers alone, more of them than the latency needs; and
// reading memory, more of it than caches hold, from several places at once.
const (
	peakTurns   = 1 << 20
	PeakName    = "peak"  // the name of the kernel that multiplies and adds
	ReadName    = "read"  // the name of the kernel that reads its one buffer
	ReadBytes   = 1 << 29 // what that buffer must have; one call reads all of it once
	readStreams = 4
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

// Limits is code with two kernels and walk. In PeakName every worker does
// nothing but f32 multiply-adds, in ReadName nothing but read its share of a
// buffer: what they reach are the limits to hold other kernels against.
func Limits(ctx context.Context, m Machine) (*Blob, error) {
	llc, err := findLLC()
	if err != nil {
		return nil, err
	}
	mod := newModule(m)
	mod.peak()
	mod.read()
	mod.walk()
	if mod.err != nil {
		return nil, mod.err
	}
	obj, err := runLLC(ctx, llc, mod.m.String(), m, "obj")
	if err != nil {
		return nil, err
	}
	b, err := link([]object{{file: obj}})
	if err != nil {
		return nil, err
	}
	b.Scratch = map[string]int64{PeakName: int64(m.peakChains()) * 64, ReadName: 2 * readStreams * 64}
	b.Features = m.Features
	return b, nil
}

// limit begins a kernel.
func (m *module) limit(name string) (f *fn, bufs, scratch, worker, workers value.Value) {
	m.where = name
	word := types.NewPointer(i64)
	p := []*ir.Param{ir.NewParam("bufs", types.NewPointer(bytePtr)), ir.NewParam("slots", word), ir.NewParam("record", word), ir.NewParam("scratch", bytePtr), ir.NewParam("worker", i64), ir.NewParam("workers", i64), ir.NewParam("claimed", bytePtr)}
	return m.newFunc(name, types.Void, p...), p[0], p[3], p[4], p[5]
}

func (m *module) peak() {
	f, _, scratch, _, _ := m.limit(PeakName)
	chains := m.machine.peakChains()
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
}

// read adds up the worker's share, which consists of readStreams runs side by
// side: one run after another would leave ways to memory idle.
func (m *module) read() {
	f, bufs, scratch, worker, workers := m.limit(ReadName)
	array := ir.NewBitCast(bufs, bytePtr)
	f.emit(array)
	from := f.load(bytePtr, array, c64(0))
	const line = 64
	run := f.bin(udiv, c64(ReadBytes/line/2), f.mul(workers, c64(readStreams)))
	run = f.mul(run, c64(2*line)) // the bytes of a run, two lines a turn
	acc := make([]value.Value, 2*readStreams)
	heads := make([]value.Value, readStreams)
	for i := range heads {
		heads[i] = f.at(from, f.mul(f.add(f.mul(worker, c64(readStreams)), c64(int64(i))), run))
	}
	for i := range acc {
		acc[i] = f.splat(constant.NewFloat(types.Float, 0))
	}
	acc = f.loop(c64(0), run, 2*line, acc, func(at value.Value, in []value.Value) []value.Value {
		next := make([]value.Value, len(in))
		for i := range in {
			next[i] = f.bin(fadd, in[i], f.load(vf32, f.at(heads[i/2], at), c64(int64(i%2)*line)))
		}
		return next
	})
	for i, a := range acc {
		f.store(a, scratch, c64(int64(i)*64))
	}
	f.ret()
}
