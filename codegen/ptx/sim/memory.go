package sim

import (
	"encoding/binary"
	"fmt"
)

// Memory is a device's global memory: allocations far from each other. The
// zero value is empty.
type Memory struct {
	segments []*segment
	tables   map[*table]uint64 // where those of programs lie that have run
	epoch    uint32            // the last one of the last launch
}

type segment struct {
	name  string
	data  []byte
	seen  shadow
	wrote []uint64 // a bit for each byte that has been written; nil: all have
	freed bool
}

// A segment's number is in the upper half of an address.
const segmentBits = 40

// Add makes memory of data, under a name for errors, and gives its address, a
// multiple of 256. Runs read and write data itself.
func (m *Memory) Add(name string, data []byte) uint64 {
	m.segments = append(m.segments, &segment{name: name, data: data})
	return uint64(len(m.segments)) << segmentBits
}

// Fresh makes memory of n bytes that a kernel, or WriteAt, must write before a
// kernel may read them.
func (m *Memory) Fresh(name string, n int) uint64 {
	at := m.Add(name, make([]byte, n))
	m.segments[len(m.segments)-1].wrote = make([]uint64, (n+63)/64)
	return at
}

// Free ends an allocation: an access to it is a fault from now on. The address
// is one that Add or Fresh gave.
func (m *Memory) Free(at uint64) error {
	s, off, err := m.find(at, 0)
	if err != nil || off != 0 {
		return fmt.Errorf("sim: %#x is the beginning of no allocation", at)
	}
	*s = segment{name: s.name, freed: true}
	return nil
}

// ReadAt copies device memory from an address to b.
func (m *Memory) ReadAt(b []byte, at uint64) error {
	s, off, err := m.find(at, len(b))
	if err != nil {
		return fmt.Errorf("sim: reading %d bytes: %w", len(b), err)
	}
	copy(b, s.data[off:])
	return nil
}

// WriteAt copies b to an address of device memory.
func (m *Memory) WriteAt(b []byte, at uint64) error {
	s, off, err := m.find(at, len(b))
	if err != nil {
		return fmt.Errorf("sim: writing %d bytes: %w", len(b), err)
	}
	copy(s.data[off:], b)
	s.mark(off, len(b))
	return nil
}

// Bytes gives n bytes of device memory at an address themselves. What is put
// there does not count as written.
func (m *Memory) Bytes(at uint64, n int) ([]byte, error) {
	s, off, err := m.find(at, n)
	if err != nil {
		return nil, fmt.Errorf("sim: %d bytes: %w", n, err)
	}
	return s.data[off : off+n : off+n], nil
}

// Words makes memory of 64-bit integers.
func (m *Memory) Words(name string, words ...uint64) uint64 {
	data := make([]byte, 0, 8*len(words))
	for _, w := range words {
		data = binary.LittleEndian.AppendUint64(data, w)
	}
	return m.Add(name, data)
}

// find gives the allocation in which size bytes lie, and where.
func (m *Memory) find(at uint64, size int) (*segment, int, error) {
	i := int(at>>segmentBits) - 1
	if i < 0 || i >= len(m.segments) {
		return nil, 0, fmt.Errorf("the address %#x is in no allocation", at)
	}
	s, off := m.segments[i], int(at&(1<<segmentBits-1))
	if s.freed {
		return nil, 0, fmt.Errorf("%s has been freed", s.name)
	}
	if off+size > len(s.data) {
		return nil, 0, fmt.Errorf("byte %d of %s, which has %d", max(off, len(s.data)), s.name, len(s.data))
	}
	return s, off, nil
}

// mark notes that bytes have been written.
func (s *segment) mark(off, size int) {
	if s.wrote == nil {
		return
	}
	for i := off; i < off+size; {
		if i%64 == 0 && off+size-i >= 64 {
			s.wrote[i/64] = ^uint64(0)
			i += 64
			continue
		}
		s.wrote[i/64] |= 1 << (i % 64)
		i++
	}
}

// unwritten gives the first of some bytes that has not been written, -1 where
// all have.
func (s *segment) unwritten(off, size int) int {
	if s.wrote != nil {
		for i := off; i < off+size; i++ {
			if s.wrote[i/64]>>(i%64)&1 == 0 {
				return i
			}
		}
	}
	return -1
}

// table gives where a program's table lies, the same place in each launch.
func (m *Memory) table(t *table) uint64 {
	at, ok := m.tables[t]
	if !ok {
		if m.tables == nil {
			m.tables = map[*table]uint64{}
		}
		at = m.Add(t.name, t.data)
		m.tables[t] = at
	}
	return at
}
