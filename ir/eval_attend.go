package ir

import (
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// evalAttend goes through blocks of query rows; for each, blocks of keys that
// the mask surely excludes are left out.
func evalAttend(n *Node, in []*Tensor, e *Env) (*Tensor, error) {
	q, k, v := in[0], in[1], in[2]
	mask, err := NewMask(n.Attr.Where)
	if err != nil {
		return nil, err
	}
	first, rows := e.Index(n.Args[0].Type.Clock())
	if rows != q.Dims[0] || k.Dims[0] != v.Dims[0] {
		return nil, fmt.Errorf("attend over %d rows of q %s, k %s and v %s", rows, q, k, v)
	}
	number := k.Rows
	if number == nil {
		if k.Dims[0] != rows {
			return nil, fmt.Errorf("attend over %d rows of k and %d of q", k.Dims[0], rows)
		}
		number = make([]int64, rows)
		for i := range number {
			number[i] = first + int64(i)
		}
	}
	key, err := KeyRows(n.Attr.Where, len(in)-3)
	if err != nil {
		return nil, err
	}
	for x, t := range in[3:] {
		if want := map[bool]int{false: rows, true: len(number)}[key[x]]; len(t.Data) != want {
			return nil, fmt.Errorf("attend over %d rows of q, %d of k, and a mask that knows %d of them", rows, len(number), len(t.Data))
		}
	}
	has := make([]int64, len(key)) // what the two rows in question have
	const block = 64
	heads, size, groups, width := q.Dims[1], q.Dims[2], k.Dims[1], v.Dims[2]
	out := NewTensor(elem.F32, rows, heads, width)
	sees := make([]int, 0, len(number))
	p := make([]float64, len(number))
	for i0 := 0; i0 < rows; i0 += block {
		i1 := min(i0+block, rows)
		ri := ints.Range{Lo: first + int64(i0), Hi: first + int64(i1) - 1}
		var all, none []bool
		for j0 := 0; j0 < len(number); j0 += block {
			a, b := mask.Block(ri, ints.Range{Lo: number[j0], Hi: number[min(j0+block, len(number))-1]})
			all, none = append(all, a), append(none, b)
		}
		for i := i0; i < i1; i++ {
			sees = sees[:0]
			for x, t := range in[3:] {
				if !key[x] {
					has[x] = int64(t.Data[i])
				}
			}
			for b := range all {
				if none[b] {
					continue
				}
				for j := b * block; j < min((b+1)*block, len(number)); j++ {
					for x, t := range in[3:] {
						if key[x] {
							has[x] = int64(t.Data[j])
						}
					}
					if all[b] || mask.Holds(first+int64(i), number[j], has...) {
						sees = append(sees, j)
					}
				}
			}
			for h := range heads {
				g := h / (heads / groups)
				qi := q.Data[(i*heads+h)*size:][:size]
				top := math.Inf(-1)
				for s, j := range sees {
					p[s] = n.Attr.score(inner(qi, k.Data[(j*groups+g)*size:]), h, number[j]-first-int64(i))
					top = max(top, p[s])
				}
				sum := 1.0
				if !n.Attr.Linear {
					sum = 0
					for s := range sees {
						p[s] = math.Exp(p[s] - top)
						sum += p[s]
					}
				}
				o := out.Data[(i*heads+h)*width:][:width]
				for s, j := range sees {
					w := p[s] / sum
					for d, x := range v.Data[(j*groups+g)*width:][:width] {
						o[d] += w * x
					}
				}
			}
		}
	}
	return out, nil
}

// score is what attend makes of a product of head h, away rows behind the query's.
func (a *Attr) score(s float64, h int, away int64) float64 {
	s *= a.Value
	if a.Cap > 0 {
		s = a.Cap * math.Tanh(s/a.Cap)
	}
	if len(a.Floats) > 0 {
		s += a.Floats[h] * float64(away)
	}
	return s
}
