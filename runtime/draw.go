package runtime

import (
	"math"
	"math/bits"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/memc-lang/memc/ir/plan"
)

// Drawn weights: element i of a tensor (row-major, in the checkpoint's shape)
// is a function of the seed, the tensor's name and i alone. So a draw depends
// neither on the order of tensors, nor on a target's layout, nor on threads.

// stream is the random numbers of one tensor.
type stream struct{ a, b uint64 }

func newStream(seed uint64, name string) stream {
	h := xxh3.HashString128Seed(name, seed)
	return stream{h.Hi, h.Lo}
}

// at is random number i: two rounds of SplitMix64's finalizer (Steele, Lea and
// Flood, "Fast splittable pseudorandom number generators", 2014), keyed.
func (s stream) at(i uint64) uint64 {
	return mix(mix(i*0x9e3779b97f4a7c15+s.a) ^ bits.RotateLeft64(s.b, 32) + i)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// quantiles has the normal distribution's 65536 quantiles of equal weight,
// scaled to a standard deviation of exactly 1.
var quantiles = sync.OnceValue(func() *[1 << 16]float32 {
	var q [1 << 16]float32
	var exact [1 << 16]float64
	sum := 0.0
	for i := range exact {
		exact[i] = math.Sqrt2 * math.Erfinv((2*float64(i)+1)/(1<<16)-1)
		sum += exact[i] * exact[i]
	}
	scale := 1 / math.Sqrt(sum/(1<<16))
	for i := range exact {
		q[i] = float32(exact[i] * scale)
	}
	return &q
})

// drawReader gives a function that fills dst with the drawn elements from the
// given one on.
func drawReader(seed uint64, name string, init plan.Init) func(dst []float32, from int) {
	s := newStream(seed, name)
	scale := float32(init.Scale)
	switch init.Kind {
	case "const":
		return func(dst []float32, _ int) {
			for i := range dst {
				dst[i] = scale
			}
		}
	case "normal":
		q := quantiles()
		return func(dst []float32, from int) {
			var r uint64
			for i := range dst {
				k := uint64(from + i)
				if i == 0 || k%4 == 0 { // a random number makes four elements
					r = s.at(k / 4)
				}
				dst[i] = q[uint16(r>>(k%4*16))] * scale
			}
		}
	case "uniform":
		return func(dst []float32, from int) {
			for i := range dst {
				u := float64(s.at(uint64(from+i))>>11) * 0x1p-52 // [0, 2)
				dst[i] = float32((u - 1) * init.Scale)
			}
		}
	}
	return func(dst []float32, _ int) { clear(dst) }
}
