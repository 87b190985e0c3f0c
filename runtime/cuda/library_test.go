package cuda

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stub compiles testdata/driver.c as a driver.
func stub(t *testing.T, edit func(string) string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("the calls are not held against C: there is no cc")
	}
	text, err := os.ReadFile("testdata/driver.c")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	src, lib := filepath.Join(dir, "driver.c"), filepath.Join(dir, driverLibrary)
	if err := os.WriteFile(src, []byte(edit(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", lib, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return lib
}

// TestLibrary makes every call against a library with the driver's prototypes.
func TestLibrary(t *testing.T) {
	l, err := load(stub(t, func(s string) string { return s }))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Start(l)
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Devices()
	if err != nil {
		t.Fatal(err)
	}
	if d.Version().String() != "12.4" || len(all) != 2 || all[0].String() != "Stub A (compute capability 7.5, 132 multiprocessors, 20.0 GiB)" {
		t.Errorf("%s %v", d.Version(), all)
	}
	if _, err := d.Find("sm_120"); err == nil || !strings.Contains(err.Error(), "Stub A (compute capability 7.5") {
		t.Errorf("a target that no device runs: %v", err)
	}
	i, err := d.Find("sm_90a")
	if err != nil || i.Ordinal != 1 {
		t.Fatalf("%+v, %v", i, err)
	}
	g, err := d.Use(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Enter(); err != nil {
		t.Fatal(err)
	}
	defer g.Leave()
	if err := g.Room(13<<30, "it"); err == nil || err.Error() != "it needs 13.00 GiB of GPU memory; of the 16.00 GiB that Stub B has, 12.00 GiB is free" {
		t.Error(err)
	}
	if _, err := g.Alloc(6<<30, "it"); err == nil || !strings.Contains(err.Error(), "has no piece as large free") {
		t.Error(err)
	}
	if _, err := g.Load([]byte(".version 8.0\n// broken\n")); err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_PTX (218): a PTX JIT compilation failed\nptxas fatal: it is broken") {
		t.Error(err)
	}
	m, err := g.Load([]byte(".version 8.0\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Function("nothing", 96, 65536); err == nil || !strings.Contains(err.Error(), "find the kernel nothing in the program: CUDA_ERROR_NOT_FOUND (500)") {
		t.Error(err)
	}
	f, err := m.Function("note", 96, 65536)
	if err != nil || f.Fits != 3*132 || f.Registers != 40 || f.Local != 8 {
		t.Fatalf("%+v, %v", f, err)
	}
	s, err := g.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	a, err := g.Alloc(256, "a test")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Free()
	p, err := g.Pin(512)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Free()
	args := [4]uint64{uint64(a.Addr), 1 << 63, 3, 0xfedcba9876543210}
	launch := func() {
		if err := s.Launch(f, 77, 3, &args); err != nil {
			t.Fatal(err)
		}
	}
	launch()
	if err := s.CopyOut(p, 0, a.Addr, 88); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait("test"); err != nil {
		t.Fatal(err)
	}
	got := p.Values(0, 11)
	for i, want := range []uint64{args[0], args[1], args[2], args[3], 77, 3, 1, 96, 1, 1, 65536} {
		if uint64(got[i]) != want {
			t.Errorf("the kernel sees %#x in place %d, want %#x", uint64(got[i]), i, want)
		}
	}
	if n := testing.AllocsPerRun(100, launch); n != 0 {
		t.Errorf("a launch allocates %v times", n)
	}
	copy(p.Bytes()[256:], "through")
	b, err := g.Alloc(256, "a test")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	for _, err := range []error{s.CopyIn(a.Addr, p, 256, 7), s.Copy(b.Addr, a.Addr, 7), s.CopyOut(p, 300, b.Addr, 7)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := string(p.Bytes()[300:307]); got != "through" {
		t.Errorf("%q came back", got)
	}
	from, err := g.NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	to, err := g.NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Free()
	defer to.Free()
	for _, e := range []*Event{from, to} {
		if err := s.Record(e); err != nil {
			t.Fatal(err)
		}
	}
	if seconds, err := to.Since(from); err != nil || seconds != 0.0025 {
		t.Errorf("%v s, %v", seconds, err)
	}
	x, err := s.Capture(func() error { return s.Launch(f, 1, 1, &args) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LaunchGraph(x); err != nil {
		t.Fatal(err)
	}
	if r := l.FreeExec(x.exec); r != Success {
		t.Error(r)
	}
	x.exec = 0
}

// TestOldLibrary: a driver without a function that memc calls.
func TestOldLibrary(t *testing.T) {
	lib := stub(t, func(s string) string {
		return strings.ReplaceAll(s, "cuGraphInstantiateWithFlags", "cuGraphInstantiate_v2")
	})
	_, err := load(lib)
	if err == nil || !strings.Contains(err.Error(), "has no function cuGraphInstantiateWithFlags, which drivers have from CUDA 11.4") {
		t.Errorf("got %v", err)
	}
	if _, err := load(filepath.Join(t.TempDir(), driverLibrary)); err == nil || !strings.Contains(err.Error(), "there is no NVIDIA driver") {
		t.Errorf("got %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		target     string
		capability int
		runs       bool
	}{
		{"sm_80", 80, true}, {"sm_80", 86, true}, {"sm_80", 90, true}, {"sm_80", 120, true}, {"sm_80", 75, false},
		{"sm_90a", 90, true}, {"sm_90a", 100, false}, {"sm_90a", 89, false}, {"sm_90", 100, true}, {"sm_120", 100, false},
		{"avx2", 90, false}, {"sm_", 90, false}, {"", 90, false},
	} {
		if Runs(c.target, c.capability) != c.runs {
			t.Errorf("%s on %d: %t", c.target, c.capability, !c.runs)
		}
	}
	for _, c := range []struct {
		text, version string
		cuda          Version
		ok            bool
	}{
		{"// comment\n.version 7.0\n.target sm_80\n", "7.0", 11000, true},
		{".version 7.8\n", "7.8", 11080, true},
		{".version 8.5\n", "8.5", 12050, true},
		{".version 8.6\n", "8.6", 12070, true},
		{".version 9.0\n", "9.0", 13000, true},
		{".version 99.0\n", "99.0", 0, false},
		{".version x\n", "x", 0, false},
		{"", "", 0, false},
	} {
		if v, cuda, ok := needs(c.text); v != c.version || cuda != c.cuda || ok != c.ok {
			t.Errorf("%q needs %q, %v, %t", c.text, v, cuda, ok)
		}
	}
	d := &Driver{version: 11040}
	if err := d.Reads(".version 8.0\n"); err == nil || err.Error() != "the program is PTX 8.0, which needs a driver of CUDA 12.0 or newer; this machine's is of CUDA 11.4" {
		t.Error(err)
	}
	if err := d.Reads(".version 7.4\n"); err != nil {
		t.Error(err)
	}
}
