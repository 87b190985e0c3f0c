package gen

import (
	"go/token"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fixed holds the names that a generated method's own code uses, so that no
// argument may hide them, and what a package cannot be called.
var fixed = set("context", "fmt", "runtime", "sync", "ctx", "err", "nil", "len", "make", "error", "string", "int", "int32", "float32", "any", "bool", "byte", "modelRows", "main", "init")

// methods are the methods that every Session has besides its entry points.
var methods = set("Pos", "StateBytes", "Probes", "SaveState", "LoadState", "Fork", "Close", "Runtime")

// exports are the names that every generated package exports.
var exports = set("Model", "Session", "New", "NewDrawn")

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// names gives each thing of one Go scope a name that nothing else there has.
type names struct {
	taken  map[string]bool
	suffix string // of a name that is taken
}

func newNames(suffix string, taken ...map[string]bool) *names {
	n := &names{taken: map[string]bool{}, suffix: suffix}
	for _, t := range taken {
		for name := range t {
			n.taken[name] = true
		}
	}
	return n
}

// pick takes the name, or where it is taken or a keyword one that begins with it.
func (n *names) pick(name string) string {
	free := func(s string) bool { return !n.taken[s] && !token.IsKeyword(s) && token.IsIdentifier(s) }
	got := name
	if !free(got) {
		got = name + n.suffix
	}
	for i := 2; !free(got); i++ {
		got = name + n.suffix + strconv.Itoa(i)
	}
	n.taken[got] = true
	return got
}

// exported is a spec's name as an exported name of Go: mem_layers is MemLayers.
func exported(s string) string {
	var b strings.Builder
	for _, word := range words(s) {
		r, size := utf8.DecodeRuneInString(word)
		b.WriteRune(unicode.ToUpper(r))
		b.WriteString(word[size:])
	}
	if r, _ := utf8.DecodeRuneInString(b.String()); !unicode.IsUpper(r) {
		return "X" + b.String() // a letter without case, or a digit
	}
	return b.String()
}

// local is a spec's name as that of an argument: mem_q is memQ.
func local(s string) string {
	name := exported(s)
	r, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(r)) + name[size:]
}

// words cuts a name at whatever is neither letter nor digit.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
