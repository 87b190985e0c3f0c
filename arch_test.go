package memc

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/memc-lang/memc"

// goFile is a Go file of the repository.
type goFile struct {
	path string // from the root, with slashes
	pkg  string // its folder, "." for the root
	test bool
	text []byte
	tree *ast.File
	set  *token.FileSet
}

// at is a place in the file.
func (f *goFile) at(n ast.Node) string { return f.set.Position(n.Pos()).String() }

// imports lists what the file imports.
func (f *goFile) imports() []string {
	var out []string
	for _, i := range f.tree.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// walk visits the repository's files, but for those that tools keep.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" && !d.IsDir(): // what stands for the folder in a worktree
		case d.IsDir() && (name == "bin" || strings.HasPrefix(d.Name(), ".") && name != "." && name != ".ci"):
			return fs.SkipDir
		case d.Type().IsRegular():
			visit(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	set := token.NewFileSet()
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			return
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, &goFile{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), text, tree, set})
	})
	if len(files) < 100 {
		t.Fatalf("only %d Go files are found: the test runs in the wrong folder", len(files))
	}
	return files
}

// arrows says which packages of the repository a package may import; the first
// row whose pattern its folder has decides. "x/..." is x and what is below it.
// A package may always import what is below it.
var arrows = []struct{ from, to, why string }{
	{"ir", "ir/ints ir/elem", "the graph knows nothing of kernels, plans and machines"},
	{"ir/...", "ir/...", "every level below is described without knowing who makes or uses it"},
	{"specs", "", "specs are text"},
	{"frontend/...", "ir/... specs", "the language gives a graph and knows nothing of what becomes of it"},
	{"passes/...", "ir/...", "passes are target-neutral"},
	{"codegen/amd64/...", "ir/...", "a back end prints kernels and knows no other"},
	{"codegen/ptx/...", "ir/...", "a back end prints kernels and knows no other"},
	{"runtime/cuda/cudatest", "runtime/... codegen/ptx/sim", "a GPU for tests is the simulator behind the driver's interface"},
	{"runtime", "runtime/... ir/plan", "a program that runs needs the plan and no compiler"},
	{"runtime/...", "runtime/...", "the parts of the runtime know nothing of the compiler"},
	{"gen", "ir/plan runtime/artifact runtime/atomicfile runtime/regular", "generated packages are text around an artifact"},
	{".", "ir/... frontend/... passes/... codegen/... runtime/... specs", "the root ties the rooms together"},
	{"bench", "", "it runs memc as anyone does"},
	{"bench/ptx", "codegen/ptx bench/section", "it assembles what memc prints"},
	{"bench/section", "", "it rewrites a text between marks"},
	{"cmd/memc", ". ir/... frontend/... passes/... codegen/... runtime/... specs gen", "the command uses all of it"},
}

func matches(pattern, pkg string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return pkg == base || below && strings.HasPrefix(pkg, base+"/")
}

// TestArrows keeps imports to the directions of the design. Tests may import
// more, but for those of ir and what is below it.
func TestArrows(t *testing.T) {
	for _, f := range goFiles(t) {
		row := slices.IndexFunc(arrows, func(a struct{ from, to, why string }) bool { return matches(a.from, f.pkg) })
		if row < 0 {
			t.Errorf("%s: the package %s has no row in the table of arrows", f.path, f.pkg)
			continue
		}
		if f.test && !matches("ir/...", f.pkg) {
			continue
		}
		allowed := strings.Fields(arrows[row].to)
		if f.test {
			allowed = []string{"ir/..."}
		}
		for _, imp := range f.imports() {
			to, ours := strings.CutPrefix(imp, modulePath)
			if to = strings.TrimPrefix(to, "/"); !ours || f.pkg != "." && matches(f.pkg+"/...", to) {
				continue
			}
			if to == "" {
				to = "."
			}
			if !slices.ContainsFunc(allowed, func(p string) bool { return matches(p, to) }) {
				t.Errorf("%s imports %s: %s", f.path, imp, arrows[row].why)
			}
		}
	}
}

// TestTestPackages keeps packages for tests, whose names end so, out of what is
// built.
func TestTestPackages(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.imports() {
			if to, ours := strings.CutPrefix(imp, modulePath+"/"); ours && strings.HasSuffix(to, "test") && !f.test && !strings.HasSuffix(f.pkg, "test") {
				t.Errorf("%s imports %s, which is for tests", f.path, imp)
			}
		}
	}
}

// TestOneImporter keeps each of these libraries behind one package.
func TestOneImporter(t *testing.T) {
	users := map[string]map[string]bool{
		"github.com/llir/llvm": {}, "github.com/ebitengine/purego": {}, "github.com/alecthomas/participle": {}, "github.com/alecthomas/kong": {},
	}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, imp := range f.imports() {
			for lib, by := range users {
				if matches(lib+"/...", imp) {
					by[f.pkg] = true
				}
			}
		}
	}
	for lib, by := range users {
		if len(by) != 1 {
			t.Errorf("%s is imported by %d packages, not one: %v", lib, len(by), by)
		}
	}
}

// modelNames are words that only specs know: a new model is a new spec and no
// new Go code.
var modelNames = regexp.MustCompile(`(?i)\b\w*(allmem|comet|qwen|swiglu|titans)|\blact\b`)

// checkpointTables are files that hold tables of names in checkpoints.
var checkpointTables = []string{}

func TestNoModelInCode(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || slices.Contains(checkpointTables, f.path) {
			continue
		}
		for i, line := range bytes.Split(f.text, []byte("\n")) {
			if m := modelNames.Find(line); m != nil {
				t.Errorf("%s:%d: %q: the compiler knows no model", f.path, i+1, m)
			}
		}
	}
}

// TestOneEnvironment keeps what the environment can change in one place.
func TestOneEnvironment(t *testing.T) {
	readers := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && (x.Name == "os" || x.Name == "syscall") && slices.Contains([]string{"Getenv", "LookupEnv", "ExpandEnv", "Environ"}, s.Sel.Name) {
				readers[f.path] = true
			}
			return true
		})
	}
	if len(readers) != 1 {
		t.Errorf("the environment is read in %d files, not one: %v", len(readers), readers)
	}
}

// TestDocs wants a comment for every package and exported name.
func TestDocs(t *testing.T) {
	packages := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		packages[f.pkg] = packages[f.pkg] || f.tree.Doc != nil
		for _, d := range f.tree.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv) && !known[d.Name.Name]) {
					t.Errorf("%s: %s has no comment", f.at(d), d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
							t.Errorf("%s: %s has no comment", f.at(s), s.Name)
						}
					case *ast.ValueSpec:
						if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
							t.Errorf("%s: %s has no comment", f.at(s), s.Names[0])
						}
					}
				}
			}
		}
	}
	for pkg, doc := range packages {
		if !doc {
			t.Errorf("the package %s has no comment", pkg)
		}
	}
}

// known are methods of interfaces that everyone knows; they need no words.
var known = map[string]bool{"String": true, "Error": true, "Unwrap": true}

// exportedReceiver reports whether a method belongs to an exported type.
func exportedReceiver(r *ast.FieldList) bool {
	x := r.List[0].Type
	for {
		switch y := x.(type) {
		case *ast.StarExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.Ident:
			return y.IsExported()
		default:
			return false
		}
	}
}

// TestTypedFields forbids fields that could hold anything in the levels'
// descriptions: attributes are typed.
func TestTypedFields(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || !matches("ir/...", f.pkg) {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				id, isIdent := field.Type.(*ast.Ident)
				i, isInterface := field.Type.(*ast.InterfaceType)
				if isIdent && id.Name == "any" || isInterface && i.Methods.NumFields() == 0 {
					t.Errorf("%s: the field may hold anything", f.at(field))
				}
			}
			return true
		})
	}
}

// TestNoLocalPaths wants nothing in the repository that only one machine has.
func TestNoLocalPaths(t *testing.T) {
	local := regexp.MustCompile(`(^|[^\w./~$}-])/(home|root|work|Users)/\w`)
	walk(t, func(name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return // not text
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if m := local.Find(line); m != nil {
				t.Errorf("%s:%d: %q is a path of one machine", name, i+1, m)
			}
		}
	})
}

// TestAnchors wants no reminders in the code: what is missing is said in the
// documentation or is done.
func TestAnchors(t *testing.T) {
	reminder := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, f := range goFiles(t) {
		for i, line := range bytes.Split(f.text, []byte("\n")) {
			if m := reminder.Find(line); m != nil {
				t.Errorf("%s:%d: %s", f.path, i+1, m)
			}
		}
	}
}
