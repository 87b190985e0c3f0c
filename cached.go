package memc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/cache"
)

// CompileCached is Compile that takes the artifact from the cache where the
// same compiler has compiled the same files with the same options before.
// seconds is how long compiling took, now or then. A folder that keeps nothing
// is no error: o.Warn is told.
//
// The cache has two entries for a spec: the list of the files that reading it
// touched, by the spec's path, with a hash of each; and the artifact, by these
// hashes and everything else that it depends on. So a spec that is compiled
// again is neither parsed nor elaborated.
func CompileCached(ctx context.Context, c *cache.Cache, spec string, o Options) (a *artifact.Artifact, seconds float64, err error) {
	begin := time.Now()
	if c.Dir() == "" {
		a, err := Compile(ctx, spec, o)
		return a, time.Since(begin).Seconds(), err
	}
	full, err := filepath.Abs(spec)
	if err != nil {
		return nil, 0, err
	}
	var m *ir.Module // where the spec had to be read
	var files []fileHash
	var unkept *cache.Unkept
	get := func(key string, check func([]byte) error, build func(context.Context) ([]byte, error)) error {
		if _, err := c.Get(ctx, key, check, build); !errors.As(err, &unkept) {
			return err
		}
		return nil
	}
	err = get(cache.Key("files", Version, binaryID(), full, spec), func(b []byte) error {
		files = nil
		if err := json.Unmarshal(b, &files); err != nil {
			return err
		}
		return unchanged(files, o.Read)
	}, func(context.Context) (_ []byte, err error) {
		r := &recorder{read: o.Read, seen: map[string]string{}}
		p := o
		p.Read = r.file
		if m, err = Load(spec, p); err != nil {
			return nil, err
		}
		files = r.files()
		return json.Marshal(files)
	})
	if err != nil {
		return nil, 0, err
	}
	parts := append([]string{"artifact", Version, binaryID(), spec}, o.key()...)
	for _, f := range files {
		parts = append(parts, f.Name, f.Hash)
	}
	var said []string // what was not done as asked is said each time
	err = get(cache.Key(parts...), func(b []byte) (err error) {
		file, more, err := cutMore(b)
		if err != nil {
			return err
		}
		if a, err = artifact.Decode(file); err == nil {
			seconds, said = more.Seconds, more.Said
		}
		return err
	}, func(ctx context.Context) (_ []byte, err error) {
		if m == nil {
			if m, err = Load(spec, o); err != nil {
				return nil, err
			}
		}
		p := o
		p.Warn = func(sentence string) { said = append(said, sentence) }
		if a, err = CompileModule(ctx, m, p); err != nil {
			return nil, err
		}
		b, err := artifact.Encode(a)
		if err != nil {
			return nil, err
		}
		seconds = time.Since(begin).Seconds()
		return appendMore(b, compiled{seconds, said})
	})
	if err == nil && o.Warn != nil {
		if unkept != nil {
			o.Warn(fmt.Sprintf("the result is not cached: %v", unkept))
		}
		for _, sentence := range said {
			o.Warn(sentence)
		}
	}
	return a, seconds, err
}

// compiled is what the cache keeps of a compilation behind its artifact, as JSON
// with its length in 8 bytes.
type compiled struct {
	Seconds float64  `json:"seconds"`
	Said    []string `json:"said,omitempty"`
}

func appendMore(file []byte, c compiled) ([]byte, error) {
	b, err := json.Marshal(c)
	return binary.LittleEndian.AppendUint64(append(file, b...), uint64(len(b))), err
}

func cutMore(b []byte) (file []byte, c compiled, err error) {
	const size = 8
	if len(b) < size {
		return nil, c, errors.New("it is too short")
	}
	end := len(b) - size
	n := binary.LittleEndian.Uint64(b[end:])
	if n > uint64(end) {
		return nil, c, errors.New("it is too short")
	}
	file = b[:end-int(n)]
	return file, c, json.Unmarshal(b[len(file):end], &c)
}

// key is what the options add to an artifact's key.
func (o *Options) key() []string {
	parts := []string{fmt.Sprintf("%q %d %v %q %q %q %q %q", o.Targets, o.Slab, o.NoFuse, o.Hybrid, o.Quantize, o.Cache, cmp.Or(o.Products, "f32"), o.Tuning.id(o.Targets))}
	for _, values := range []map[string]json.RawMessage{o.Set, o.Config} {
		parts = append(parts, fmt.Sprint(len(values)))
		for _, k := range slices.Sorted(maps.Keys(values)) {
			parts = append(parts, k, string(values[k]))
		}
	}
	for _, t := range o.Targets {
		if Processor(t) {
			return append(parts, assemblerID())
		}
	}
	return parts
}

// fileHash is a file that reading a spec asked for; Hash is empty where there
// was none.
type fileHash struct{ Name, Hash string }

// recorder notes which files a spec is read from.
type recorder struct {
	read func(string) ([]byte, error)
	seen map[string]string
}

func (r *recorder) file(name string) ([]byte, error) {
	b, hash, err := hashed(name, r.read)
	if hash != "" || errors.Is(err, fs.ErrNotExist) {
		r.seen[name] = hash
	}
	return b, err
}

func (r *recorder) files() []fileHash {
	var out []fileHash
	for name, hash := range r.seen {
		out = append(out, fileHash{name, hash})
	}
	slices.SortFunc(out, func(a, b fileHash) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func hashed(name string, read func(string) ([]byte, error)) (b []byte, hash string, err error) {
	if read == nil {
		read = ReadSpec
	}
	if b, err = read(name); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(b)
	return b, hex.EncodeToString(sum[:]), nil
}

// unchanged says which file is not as it was.
func unchanged(files []fileHash, read func(string) ([]byte, error)) error {
	for _, f := range files {
		_, hash, err := hashed(f.Name, read)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if hash != f.Hash {
			return fmt.Errorf("%s has changed", f.Name)
		}
	}
	return nil
}

// assemblerID names LLVM's assembler: its file stands for its version.
func assemblerID() string {
	path, err := amd64.FindLLC()
	if err != nil {
		return ""
	}
	return path + " " + fileID(path)
}

// binaryID names this program: what it was built from, where the linker noted it.
var binaryID = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	if id := buildID(path); id != "" {
		return id
	}
	return path + " " + fileID(path)
})

// fileID tells versions of a file apart without reading it. Links are followed.
func fileID(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(st.Size(), " ", st.ModTime().UnixNano())
}

// buildID reads the note that Go's linker leaves in an ELF file.
func buildID(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	s := f.Section(".note.go.buildid")
	if s == nil || s.Size > 4096 {
		return ""
	}
	b, err := s.Data()
	if err != nil || len(b) <= 16 {
		return ""
	}
	return string(b[16:]) // behind the note's sizes, type and name
}
