package amd64

import (
	"strings"
	"testing"
)

// Maps, sums and stores that go by row together read and write panels in place: what is
// read behind a store, elsewhere than it is stored, or stored under a condition, is what
// was there before.
func TestPanelsInPlace(t *testing.T) {
	const head = `(w: f32[2,64,40]/32 write, g: f32[2,64,40]/32, h: bf16[2,64,40]/32, j: bf16[2,64,40]/32 pairs, y: f32[2,64] write, z: f32[2,40,64] write) ints(n, p) {
  tile t: f32[40,64] rows n
  tile s: f32[40,64] rows n
  tile u: f32[40,64] rows n
  tile v: f32[40,64] rows n
  tile few: f32[39,64] rows min(39, n)
  tile few2: f32[39,64] rows min(39, n)
  tile part: f32[40,24] rows n
  tile part2: f32[40,24] rows n
  tile sq: f32[40,32] rows n
  tile sq2: f32[40,32] rows n
  tile sq3: f32[40,32] rows n
  tile norm: f32[1,64]
  tile most: f32[1,64]
  tile wide: f32[40,1] rows n
  tile row: f32[40,1] rows n
  part grid(i: 2 step 1) {
`
	bodies := map[string]string{
		"update": `
    t = load w[i, c, r]
    s = load g[i, c, r]
    u = map t * t
    norm = sum(u over rows)
    most = largest(u over rows)
    u = map t / (norm + 1) - s * most
    v = map u * u + f32(index(r * 64 + c))
    store w[i, c, r] = u
    store z[i, r, c] = v
    store y[i, c] = norm`,
		"narrow": `
    t = load h[i, c, r]
    u = map t + f32(index(r))
    wide = sum(u over cols)
    row = map wide * 2
    v = map u + row
    store w[i, c, r] = v`,
		"words": `
    t = load j[i, c, r]
    u = map t * t
    norm = sum(u over rows)
    v = map t / norm
    store w[i, c, r] = v`,
		"overwritten": `
    sq = load g[i, c, r]
    sq2 = map sq + 1
    store w[i, r, c] = sq2
    sq2 = map sq * 3
    store z[i, r, c] = sq2`,
		"one behind the other": `
    sq = load g[i, c, r]
    sq2 = map sq + 1
    store w[i, r, c] = sq2
    sq3 = map sq * 3
    store w[i, c + 32, r] = sq3`,
		"elsewhere": `
    few = load w[i, c, r]
    few2 = map few + 1
    store w[i, c, r + 1] = few2`,
		"behind": `
    t = load w[i, c, r]
    u = map t + 1
    store w[i, c, r] = u
    v = map t * 2
    store z[i, r, c] = v`,
		"maybe": `
    t = load w[i, c, r]
    when p == 1 {
      u = map t + 1
      store w[i, c, r] = u
    }
    v = map t * 2
    store z[i, r, c] = v`,
		"again": `
    for k = 0 to p + 1 step 1 {
      t = load w[i, c, r]
      u = map t * 0.5 + f32(index(k))
      store w[i, c, r] = u
    }`,
		"strips": `
    part = load w[i, c + 32, r]
    part2 = map part + 1
    store w[i, c + 32, r] = part2`,
		"unaligned": `
    part = load w[i, c + 9, r]
    part2 = map part + 1
    store w[i, c + 8, r] = part2`,
	}
	var text strings.Builder
	for name, body := range bodies {
		text.WriteString("kernel " + strings.ReplaceAll(name, " ", "_") + head + body + "\n  }\n}\n")
	}
	ks := parse(t, text.String())
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, args := range [][]int64{{40, 0}, {40, 1}, {7, 1}, {0, 0}} {
			agree(t, m, p, ks, 0, args, 1e-6)
		}
	}
}

// A sum that begins as 0, or as what a buffer holds, is the same whether its first
// product writes the tile or there is none.
func TestSumsBegin(t *testing.T) {
	ks := parse(t, `kernel sums(a: f32[0,48], b: f32[0,64], o: f32[48,64] write, e: f32[48,64] write, d: f32[48,64] write) ints(n, p) {
  tile x: f32[16,48] rows min(16, n - s)
  tile y: f32[16,64] rows min(16, n - s)
  tile t: f32[48,64]
  tile q: f32[48,64] rows 48 - p
  tile read: f32[48,64]
  tile last: f32[48,64]
  part grid() {
    t = map 0
    when 0 < p {
      t = load o[r, c]
    }
    q = map 0
    read = map 0
    last = map 1
    for s = 0 to n step 16 {
      x = load a[s + r, c]
      y = load b[s + r, c]
      t += dot(x', y)
      t += dot(x', y)
      last = map read
      q += dot(x', y)
      read += dot(x', y)
    }
    for s = 0 to n step 16 {
      x = load a[s + r, c]
      y = load b[s + r, c]
      t += dot(x', y)
    }
    read = map read + last
    store o[r, c] = t
    store e[r, c] = q
    store d[r, c] = read
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, n := range []int64{0, 1, 16, 17, 40} {
			for _, from := range []int64{0, 1} {
				agree(t, m, p, ks, int(n), []int64{n, from}, 1e-6)
			}
		}
	}
}

// A product that is stored where its operand lies reads the operand first.
func TestProductInPlace(t *testing.T) {
	ks := parse(t, `kernel place(b: f32[0,48] write, w: f32[48,48]) ints(n) {
  tile x: f32[16,48] rows min(16, n - g)
  tile y: f32[48,48]
  tile o: f32[16,48] rows min(16, n - g)
  part grid(g: n step 16) {
    x = load b[g + r, c]
    y = load w[r, c]
    o = dot(x, y)
    store b[g + r, c] = o
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, n := range []int64{1, 16, 40} {
			agree(t, m, p, ks, int(n), []int64{n}, 1e-6)
		}
	}
}

// Rows that are stored elsewhere in the buffer they come from are all read first.
func TestRowsMoveInPlace(t *testing.T) {
	ks := parse(t, `kernel move(b: f32[41,48] write) ints(n) {
  tile x: f32[40,48] rows n
  part grid() {
    x = load b[r, c]
    store b[r + 1, c] = x
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, n := range []int64{1, 7, 40} {
			agree(t, m, p, ks, 0, []int64{n}, 0)
		}
	}
}
