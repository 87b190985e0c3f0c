package amd64

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
)

// Objects keeps what llc made of modules, for a process that compiles the same kernels
// over and over, as tests do. The zero value is empty; nothing is dropped from it
// but all of it together. Several goroutines may use one.
type Objects struct {
	mu   sync.Mutex
	made map[[sha256.Size]byte][]byte
}

// key is what an object depends on.
func key(text string, m Machine) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(append(slices.Clone(m.Features), text), "\x00")))
}

// get is nil where there is none, as in an Objects that is nil.
func (o *Objects) get(text string, m Machine) []byte {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.made[key(text, m)]
}

func (o *Objects) put(text string, m Machine, object []byte) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.made == nil {
		o.made = map[[sha256.Size]byte][]byte{}
	}
	o.made[key(text, m)] = object
}
