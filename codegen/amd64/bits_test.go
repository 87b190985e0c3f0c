package amd64

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// A product's bits depend on neither the number of rows, the tiles, nor on
// whether an operand is read in place.
func TestProductBits(t *testing.T) {
	for _, m := range machines(t) {
		for _, elem := range []string{"f32", "bf16", "f16"} {
			productBits(t, m, elem, "by 32", 1)
			if m.Squares { // groups make a difference
				productBits(t, m, elem, "by 8", 3)
			}
			if m.Squares || m.Pairs != "" {
				productBits(t, m, elem, "as bf16 by 32", 3)
			}
		}
	}
}

// productBits tries every so many-th of the ways to cut a product.
func productBits(t *testing.T, m Machine, elem, how string, every int) {
	const k, n, rows = 640, 100, 70
	var first kernel.Memory
	for i, c := range []struct {
		bi, bj, bk int
		edit       func(string) string
	}{
		{64, 64, 640, nil}, {64, 64, 64, nil}, {7, 96, 640, nil}, {1, 32, 160, nil}, {16, 112, 32, nil}, {64, 17, 640, nil}, {128, 128, 320, nil},
		// Buffers that the kernel might write are copied, not viewed.
		{64, 32, 320, func(s string) string {
			return strings.Replace(strings.Replace(s, "640],", "640] write,", 1), "]/32,", "]/32 write,", 1)
		}},
		// The right operand in rows of n needs transposing.
		{64, 64, 640, func(s string) string { return strings.Replace(s, "]/32", "]", 1) }},
		{64, 64, 160, func(s string) string { return strings.Replace(s, "]/32", "]/16", 1) }},
		{64, 64, 640, func(s string) string { return strings.Replace(s, "]/32", "]/64", 1) }},
		{32, 64, 160, func(s string) string { return strings.Replace(s, "]/32", "]/24", 1) }},
		{64, 64, 160, func(s string) string {
			if elem == "f32" {
				return s
			}
			return strings.Replace(s, "]/32", "]/32 pairs", 1)
		}},
		// Few rows fetch what the next turn reads: of panels, of whole rows, of parts of rows.
		{64, 64, 160, inTurns}, {16, 128, 64, inTurns}, {64, 100, 160, func(s string) string { return inTurns(inRows(s)) }}, {64, 48, 320, func(s string) string { return inTurns(inRows(s)) }},
	} {
		if i%every != 0 {
			continue
		}
		text := strings.Replace(contractText(k, n, c.bi, c.bj, c.bk, elem), "by 32", how, 1)
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
				idx := []int64{j, i}
				if kern.Bufs[1].Dims[0] == k {
					idx = []int64{i, j}
				}
				at, err := kern.Bufs[1].Place(idx...)
				if err != nil {
					t.Fatal(err)
				}
				w.SetFloat(kern.Bufs[1].Elem, at, rng.NormFloat64())
			}
		}
		got := p.run(t, kern, []kernel.Memory{x, w, y}, []int64{rows}, 2)[2]
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) {
			t.Errorf("%s: %s %s: tiles %d,%d,%d give other bits", m.Name, elem, how, c.bi, c.bj, c.bk)
		}
		for _, part := range [][2]int{{0, 1}, {33, 34}, {3, 5}, {7, 14}, {5, 21}, {40, 57}} { // rows without the others
			r, some := part[0], part[1]-part[0]
			got := p.run(t, kern, []kernel.Memory{x[r*k*4 : part[1]*k*4], w, y[:some*n*4]}, []int64{int64(some)}, 1)[2]
			if !bytes.Equal(got, first[r*n*4:part[1]*n*4]) {
				t.Errorf("%s: %s %s: tiles %d,%d,%d give other bits for %d rows from %d alone", m.Name, elem, how, c.bi, c.bj, c.bk, some, r)
			}
		}
	}
}

// inTurns has a product's loads run ahead of its loop.
func inTurns(text string) string {
	return regexp.MustCompile(`(for k = 0 to \d+ step \d+) `).ReplaceAllString(text, "$1 stages 2 ")
}

// inRows stores a product's right operand in rows of k.
func inRows(text string) string {
	text = regexp.MustCompile(`\[(\d+),(\d+)\]/32`).ReplaceAllString(text, "[$2,$1]")
	text = strings.Replace(text, "w[j + r, k + c]", "w[k + r, j + c]", 1)
	text = regexp.MustCompile(`wb: f32\[(\d+),(\d+)\] rows`).ReplaceAllString(text, "wb: f32[$2,$1] cols")
	return strings.Replace(text, "wb' ", "wb ", 1)
}

// A sum of outer products over rows has the same bits whether the rows are added
// at once or block by block, in tiles of any number of blocks.
func TestSumBits(t *testing.T) {
	const blocks, m, n, rows = 8, 40, 70, 77
	text := `kernel sum(u: f32[0,40], v: f32[0,70], s: f32[40,70] write) ints(lo, hi) {
  tile a: f32[T,40] rows min(T, hi - k)
  tile b: f32[T,70] rows min(T, hi - k)
  tile acc: f32[40,70]
  part grid() {
    acc = load s[r, c]
    for k = lo to hi step T {
      a = load u[k + r, c]
      b = load v[k + r, c]
      acc += dot(a', b by 8)
    }
    store s[r, c] = acc
  }
}`
	var ks []*kernel.Kernel
	for _, tile := range []string{"8", "16", "64", "128"} {
		ks = append(ks, parse(t, strings.ReplaceAll(text, "T", tile))[0])
	}
	for _, machine := range machines(t) {
		rng := rand.New(rand.NewPCG(4, 4))
		mems := fill(rng, ks[0], rows)
		var first kernel.Memory
		for _, k := range ks {
			p := compile(t, machine, k)
			for _, most := range []int{1, 3, rows} {
				now := slices.Clone(mems)
				for at := 0; at < rows; {
					to := min(rows, at+blocks*(1+rng.IntN(most)))
					now = p.run(t, k, now, []int64{int64(at), int64(to)}, 1)
					at = to
				}
				if first == nil {
					first = now[2]
				}
				if !bytes.Equal(now[2], first) {
					t.Errorf("%s: %s in up to %d blocks at a time gives other bits", machine.Name, k.Tiles[0].Name, most)
				}
			}
			agree(t, machine, p, []*kernel.Kernel{k}, rows, []int64{0, rows}, 1e-5)
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

// A transposed operand is used again only while it is what it was.
func TestTurnedOperand(t *testing.T) {
	ks := parse(t, `kernel turned(a: f32[0,32], w: f32[48,32], o: f32[0,48] write) ints(n) {
  tile x: f32[16,32] rows min(16, n - g)
  tile v: f32[48,32]
  tile y: f32[16,48] rows min(16, n - g)
  part grid(g: n step 16) {
    x = load a[g + r, c]
    v = load w[r, c]
    y = dot(x, v')
    v = map v * 2 - 0.5
    y += dot(x, v')
    for i = 0 to 3 step 1 {
      y += dot(x, v')
      when i == 1 {
        v = map v + 1
      }
    }
    for i = 0 to 2 step 1 {
      y += dot(x, v')
    }
    when n > 20 {
      v = map v * v
      y += dot(x, v')
    }
    y += dot(x, v')
    store o[g + r, c] = y
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, n := range []int64{5, 40} {
			agree(t, m, p, ks, int(n), []int64{n}, 1e-5)
		}
	}
}

// What blocks of a row share is computed for each worker's piece of the row.
func TestSharedByRow(t *testing.T) {
	ks := parse(t, `kernel row(a: f32[0,40], w: f32[40,40], o: f32[0,160] write) ints(n) {
  tile x: f32[5,40] rows min(5, n - g)
  tile sq: f32[5,40] rows min(5, n - g)
  tile norm: f32[5,1] rows min(5, n - g)
  tile v: f32[40,40]
  tile y: f32[5,40] rows min(5, n - g)
  part grid(g: n step 5, h: 160 step 40) {
    x = load a[g + r, c]
    sq = map x * x + f32(index(g))
    norm = sum(sq over cols)
    v = load w[c, r]
    y = dot(x, v)
    y = map y / norm + f32(index(h))
    store o[g + r, h + c] = y
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, n := range []int64{1, 5, 23} {
			agree(t, m, p, ks, int(n), []int64{n}, 1e-5)
		}
	}
}
