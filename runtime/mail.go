package runtime

import "github.com/memc-lang/memc/runtime/cuda"

// mail carries bytes between Go's memory and a GPU's through page-locked memory,
// in as many pieces as that needs. What is sent or fetched lies there until the
// stream has been waited for.
type mail struct {
	stream *cuda.Stream
	pinned *cuda.Pinned
	first  int64 // the bytes before are not the mail's
	at     int64
	due    []delivery
}

// delivery is a piece that has to be taken out of the page-locked memory.
type delivery struct {
	to  []byte
	off int64
}

// mostMail is the most page-locked memory that a stream's mail takes: pieces
// large enough for full speed.
const mostMail = 16 << 20

// newMail makes room for pieces of so many bytes, behind first bytes that are
// for other use.
func newMail(g *cuda.GPU, s *cuda.Stream, first, bytes int64) (*mail, error) {
	first = upGPU(first)
	p, err := g.Pin(first + upGPU(max(bytes, 1)))
	if err != nil {
		return nil, err
	}
	return &mail{stream: s, pinned: p, first: first, at: first}, nil
}

// piece gives room for at most n bytes.
func (m *mail) piece(n int64) (off, room int64, err error) {
	if m.at >= int64(len(m.pinned.Bytes())) {
		if err := m.settle("copy"); err != nil {
			return 0, 0, err
		}
	}
	off = m.at
	room = min(n, int64(len(m.pinned.Bytes()))-off)
	m.at += (room + 15) &^ 15
	return off, room, nil
}

// send copies bytes to the GPU, behind the stream's work so far.
func (m *mail) send(to cuda.Addr, from []byte) error {
	for len(from) > 0 {
		off, n, err := m.piece(int64(len(from)))
		if err != nil {
			return err
		}
		copy(m.pinned.Bytes()[off:], from[:n])
		if err := m.stream.CopyIn(to, m.pinned, off, n); err != nil {
			return err
		}
		to, from = to+cuda.Addr(n), from[n:]
	}
	return nil
}

// fetch copies bytes from the GPU; they are there once settle has returned.
func (m *mail) fetch(to []byte, from cuda.Addr) error {
	for len(to) > 0 {
		off, n, err := m.piece(int64(len(to)))
		if err != nil {
			return err
		}
		if err := m.stream.CopyOut(m.pinned, off, from, n); err != nil {
			return err
		}
		m.due = append(m.due, delivery{to[:n], off})
		to, from = to[n:], from+cuda.Addr(n)
	}
	return nil
}

// settle waits for the stream and delivers what was fetched; doing is what the
// stream does, for an error.
func (m *mail) settle(doing string) error {
	err := m.stream.Wait(doing)
	if err == nil {
		for _, d := range m.due {
			copy(d.to, m.pinned.Bytes()[d.off:])
		}
	}
	clear(m.due)
	m.due, m.at = m.due[:0], m.first
	return err
}

// drop forgets what is under way, when something else has failed.
func (m *mail) drop() {
	clear(m.due)
	m.due = m.due[:0]
	_ = m.settle("end its work") // an error would be of what has failed already
}

func (m *mail) free() {
	if m != nil {
		m.pinned.Free()
	}
}
