package main

// series is the mean of a value over equal stretches of a stream, in constant
// memory: where there are too many stretches, each two become one.
type series struct {
	first  float64
	count  int64     // values seen
	stride int64     // values in a complete stretch
	sums   []float64 // of the complete stretches
	open   float64   // sum of the stretch under way
	filled int64     // values in it
}

// maxStretches is the most stretches that are kept; it is even.
const maxStretches = 1 << 12

func (s *series) add(v float64) {
	if s.count == 0 {
		s.first, s.stride = v, 1
	}
	s.count++
	s.open += v
	if s.filled++; s.filled < s.stride {
		return
	}
	s.sums = append(s.sums, s.open)
	s.open, s.filled = 0, 0
	if len(s.sums) == maxStretches {
		for i := range maxStretches / 2 {
			s.sums[i] = s.sums[2*i] + s.sums[2*i+1]
		}
		s.sums, s.stride = s.sums[:maxStretches/2], 2*s.stride
	}
}

// last is the mean over the last quarter of the values, to a stretch.
func (s *series) last() float64 {
	want := max(1, s.count/4)
	sum, n := s.open, s.filled
	for i := len(s.sums) - 1; i >= 0 && n < want; i-- {
		sum += s.sums[i]
		n += s.stride
	}
	return sum / float64(n)
}

// means are the stretches' means; the last one may be of fewer values.
func (s *series) means() []float64 {
	out := make([]float64, 0, len(s.sums)+1)
	for _, v := range s.sums {
		out = append(out, v/float64(s.stride))
	}
	if s.filled > 0 {
		out = append(out, s.open/float64(s.filled))
	}
	return out
}
