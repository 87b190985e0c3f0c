package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/memc-lang/memc/runtime/memory"
	"github.com/memc-lang/memc/runtime/regular"
)

// Checkpoint is a set of tensors in mapped files. The tensors' Data is valid
// while the checkpoint is reachable and not closed.
type Checkpoint struct {
	Tensors map[string]Tensor
	Names   []string          // in the order of the files and of their bytes
	Meta    map[string]string // __metadata__ of a single file
	Files   []string          // the paths of all that was read

	regions []*memory.Region
}

// The names that a folder's checkpoint goes by.
const (
	indexName  = "model.safetensors.index.json"
	singleName = "model.safetensors"
)

// Open maps a checkpoint: a safetensors file, or a folder with a
// model.safetensors or with a model.safetensors.index.json that says which of
// the folder's files holds which tensor. Errors name the file.
func Open(path string) (*Checkpoint, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return openFile(path)
	}
	index := filepath.Join(path, indexName)
	if _, err := os.Stat(index); err == nil {
		return openIndex(index)
	}
	single := filepath.Join(path, singleName)
	if _, err := os.Stat(single); err != nil {
		return nil, fmt.Errorf("%s holds neither %s nor %s", path, singleName, indexName)
	}
	return openFile(single)
}

func openFile(path string) (c *Checkpoint, err error) {
	r, err := memory.File(path)
	if err != nil {
		return nil, err
	}
	c = &Checkpoint{Files: []string{path}, regions: []*memory.Region{r}}
	if err := guard(func() error {
		c.Tensors, c.Names, c.Meta, err = Decode(r.Bytes())
		return err
	}); err != nil {
		r.Free()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// guard turns the fault of reading a mapped file that has shrunk into an error.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e := recover(); e != nil {
			if _, fault := e.(interface{ Addr() uintptr }); !fault {
				panic(e)
			}
			err = errors.New("the file shrank while it was read")
		}
	}()
	return read()
}

// Guard runs read, which reads tensors of c in this goroutine, and gives an
// error instead of a crash if a file shrinks meanwhile.
func (c *Checkpoint) Guard(read func() error) error { return guard(read) }

// Close unmaps the files; no tensor may be used afterwards.
func (c *Checkpoint) Close() {
	for _, r := range c.regions {
		r.Free()
	}
	*c = Checkpoint{}
}

func openIndex(path string) (*Checkpoint, error) {
	files, err := readIndex(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &Checkpoint{Tensors: map[string]Tensor{}, Files: []string{path}}
	shards := make([]string, 0, len(files))
	for f := range files {
		shards = append(shards, f)
	}
	slices.Sort(shards)
	for _, shard := range shards {
		part, err := openFile(filepath.Join(filepath.Dir(path), shard))
		if err != nil {
			c.Close()
			return nil, err
		}
		c.regions = append(c.regions, part.regions...)
		c.Files = append(c.Files, part.Files...)
		for _, name := range files[shard] {
			t, ok := part.Tensors[name]
			if !ok {
				c.Close()
				return nil, fmt.Errorf("%s: says that %s holds the tensor %s, which it does not", path, shard, name)
			}
			c.Tensors[name] = t
			c.Names = append(c.Names, name)
		}
	}
	return c, nil
}

// readIndex reads the weight_map of an index: the tensors' names by file.
func readIndex(path string) (map[string][]string, error) {
	b, err := regular.Read(path, maxHeader)
	if err != nil {
		return nil, err
	}
	return parseIndex(b)
}

func parseIndex(b []byte) (map[string][]string, error) {
	h := header{dec: jsontext.NewDecoder(bytes.NewBuffer(b))}
	if err := h.open('{', "an object"); err != nil {
		return nil, err
	}
	var files map[string][]string
	for h.dec.PeekKind() != '}' {
		key, err := h.str("a key")
		if err != nil {
			return nil, err
		}
		if key != "weight_map" {
			if err := h.dec.SkipValue(); err != nil {
				return nil, err
			}
			continue
		}
		if files, err = h.weightMap(); err != nil {
			return nil, fmt.Errorf("weight_map: %w", err)
		}
	}
	if _, err := h.dec.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := h.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	if files == nil {
		return nil, errors.New("there is no weight_map")
	}
	return files, nil
}

func (h *header) weightMap() (map[string][]string, error) {
	if err := h.open('{', "an object"); err != nil {
		return nil, err
	}
	files := map[string][]string{}
	for h.dec.PeekKind() != '}' {
		name, err := h.str("a tensor's name")
		if err != nil {
			return nil, err
		}
		file, err := h.str("the file of " + name)
		if err != nil {
			return nil, err
		}
		if file != filepath.Base(file) || !filepath.IsLocal(file) || file == "." {
			return nil, fmt.Errorf("%q is not the name of a file beside the index", file)
		}
		files[file] = append(files[file], name)
	}
	_, err := h.dec.ReadToken()
	return files, err
}
