// Package cache keeps what took long to make, such as compiled artifacts, in a
// folder: one file for each key. Several processes may use one folder at once;
// a file appears whole or not at all, is checked when it is read, and is made
// again where it is damaged.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/regular"
)

// Cache is a folder of files by key; the zero Cache keeps nothing. It is safe for
// concurrent use.
type Cache struct {
	dir string // empty: nothing is kept
}

// Open makes the folder where it does not exist. An empty dir is a cache that
// keeps nothing.
func Open(dir string) (*Cache, error) {
	if dir == "" {
		return &Cache{}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the cache's folder cannot be made (set %s to another one, or to off): %w", Variable, err)
	}
	return &Cache{dir: dir}, nil
}

// Dir is the cache's folder, empty where nothing is kept.
func (c *Cache) Dir() string { return c.dir }

// Key makes a key of all that a result depends on: other parts, or parts
// divided otherwise, give another key.
func Key(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// poll is how often a process looks whether another one has finished a key.
const poll = 20 * time.Millisecond

// Unkept is an error of Get beside bytes that are sound: they could not be kept,
// or the folder could not be looked at for them.
type Unkept struct{ err error }

func (u *Unkept) Error() string {
	return fmt.Sprintf("the cache's folder cannot be used (set %s to another one, or to off): %v", Variable, u.err)
}

func (u *Unkept) Unwrap() error { return u.err }

// Get gives the bytes that belong to key (made by Key). Where the cache has none,
// or such that check rejects, build makes them and they are kept; meanwhile
// other processes that want the same key wait. The error is build's or ctx's, or
// *Unkept, with which there are bytes all the same: a folder that cannot be
// written is no reason to go without what can be made.
func (c *Cache) Get(ctx context.Context, key string, check func([]byte) error, build func(context.Context) ([]byte, error)) ([]byte, error) {
	if c.dir == "" {
		return build(ctx)
	}
	if _, err := hex.DecodeString(key); err != nil || len(key) != 2*sha256.Size {
		return nil, fmt.Errorf("%q is no key of this cache", key)
	}
	path := filepath.Join(c.dir, key)
	b, err := read(path, check)
	if b == nil && err == nil {
		lock := flock.New(path + ".lock")
		if _, err = lock.TryLockContext(ctx, poll); err != nil && ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for another process: %w", err)
		} else if err == nil {
			defer lock.Unlock() // the file stays: removing it would race with who waits for it
			b, err = read(path, check)
		}
	}
	if b != nil {
		return b, nil
	}
	b, fault := build(ctx)
	if fault != nil {
		return nil, fault
	}
	if err == nil {
		err = atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
	if err != nil {
		return b, &Unkept{err}
	}
	return b, nil
}

// read gives a file that passes its check; nil where there is none, or where it
// was damaged and is removed now.
func read(path string, check func([]byte) error) ([]byte, error) {
	b, err := regular.Read(path, math.MaxInt64)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if check(b) != nil || len(b) == 0 {
		// Another process may have put a sound one here since; it is then made
		// once more, which costs time only.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("a file that is damaged or too old cannot be removed: %w", err)
		}
		return nil, nil
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // for Prune; a folder that only lets read is fine
	return b, nil
}

// Prune removes the files that were not used for longest until the rest have at
// most limit bytes together. It gives the number of bytes that are left.
func (c *Cache) Prune(limit int64) (int64, error) {
	if c.dir == "" {
		return 0, nil
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return 0, fmt.Errorf("the cache: %w", err)
	}
	var files []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		if _, err := hex.DecodeString(e.Name()); err != nil || len(e.Name()) != 2*sha256.Size {
			continue // a lock, or a file that another process is writing
		}
		if f, err := e.Info(); err == nil {
			files = append(files, f)
			total += f.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= limit {
			break
		}
		if err := os.Remove(filepath.Join(c.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return total, fmt.Errorf("the cache: %w", err)
		}
		total -= f.Size()
	}
	return total, nil
}
