package amd64

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// A product's bits depend on neither the number of rows, the tiles, nor on
// whether an operand is read in place.
func TestProductBits(t *testing.T) {
	const k, n, rows = 600, 100, 70
	for _, m := range machines(t) {
		var first kernel.Memory
		for _, c := range []struct {
			bi, bj, bk int
			edit       func(string) string
		}{
			{64, 64, 600, nil}, {64, 64, 60, nil}, {7, 96, 600, nil}, {1, 32, 200, nil}, {16, 112, 50, nil}, {64, 17, 600, nil}, {128, 128, 100, nil},
			// Buffers that the kernel might write are copied, not viewed.
			{64, 32, 100, func(s string) string {
				return strings.Replace(strings.Replace(s, "600],", "600] write,", 1), "]/32,", "]/32 write,", 1)
			}},
			// The right operand in rows of n needs transposing.
			{64, 64, 600, func(s string) string { return strings.Replace(s, "]/32", "]", 1) }},
			{64, 64, 100, func(s string) string { return strings.Replace(s, "]/32", "]/16", 1) }},
			{64, 64, 600, func(s string) string { return strings.Replace(s, "]/32", "]/64", 1) }},
			{32, 64, 100, func(s string) string { return strings.Replace(s, "]/32", "]/24", 1) }},
		} {
			text := contractText(k, n, c.bi, c.bj, c.bk, "f32")
			text = strings.Replace(text, fmt.Sprintf("wb: f32[%d,%d]", c.bj, c.bk), fmt.Sprintf("wb: f32[%d,%d] rows min(%d, %d - j)", c.bj, c.bk, c.bj, n), 1)
			text = strings.Replace(text, fmt.Sprintf("acc: f32[%d,%d] rows min(%d, n - i)", c.bi, c.bj, c.bi),
				fmt.Sprintf("acc: f32[%d,%d] rows min(%d, n - i) cols min(%d, %d - j)", c.bi, c.bj, c.bi, c.bj, n), 1)
			if c.edit != nil {
				text = c.edit(text)
			}
			kern := parse(t, text)[0]
			p := compile(t, m, kern)
			rng := rand.New(rand.NewPCG(5, 5))
			x, w, y := kernel.NewMemory(kern.Bufs[0], rows), kernel.NewMemory(kern.Bufs[1], 0), kernel.NewMemory(kern.Bufs[2], rows)
			for i := range int64(rows * k) {
				x.SetFloat(kernel.F32, i, rng.NormFloat64())
			}
			for j := range int64(n) { // the same matrix whatever the layout
				for i := range int64(k) {
					at, err := kern.Bufs[1].Place(j, i)
					if err != nil {
						t.Fatal(err)
					}
					w.SetFloat(kernel.F32, at, rng.NormFloat64())
				}
			}
			got := p.run(t, kern, []kernel.Memory{x, w, y}, []int64{rows}, 2)[2]
			if first == nil {
				first = got
			}
			if !bytes.Equal(got, first) {
				t.Errorf("%s: tiles %d,%d,%d give other bits", m.Name, c.bi, c.bj, c.bk)
			}
			for _, r := range []int{0, 1, 33} { // one row alone
				one := p.run(t, kern, []kernel.Memory{x[r*k*4:], w, y[:n*4]}, []int64{1}, 1)[2]
				if !bytes.Equal(one, first[r*n*4:(r+1)*n*4]) {
					t.Errorf("%s: tiles %d,%d,%d give other bits for row %d alone", m.Name, c.bi, c.bj, c.bk, r)
				}
			}
		}
	}
}

// The hand-written attention gives the same bits however a stream is cut.
func TestAttendCuts(t *testing.T) {
	kern := readKernels(t, "attend")[0]
	const n, start = 190, 5000
	rng := rand.New(rand.NewPCG(9, 9))
	for _, m := range machines(t) {
		p := compile(t, m, kern)
		ms := fill(rand.New(rand.NewPCG(2, 3)), kern, n)
		want := p.run(t, kern, ms, []int64{n, start}, 1)[3]
		for range 5 {
			var got []byte
			for at := 0; at < n; {
				step := min(n-at, 1+rng.IntN(80))
				row := 128 * 4
				piece := []kernel.Memory{ms[0][at*row : (at+step)*row], ms[1], ms[2], slices.Clone(ms[3][:step*row])}
				got = append(got, p.run(t, kern, piece, []int64{int64(step), int64(start + at)}, 2)[3]...)
				at += step
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: a cut stream gives other bits", m.Name)
			}
		}
	}
}
