package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func check(b []byte) error {
	if !bytes.HasPrefix(b, []byte("made ")) {
		return errors.New("damaged")
	}
	return nil
}

func TestGet(t *testing.T) {
	c, err := Open(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	made := 0
	get := func(key string) string {
		t.Helper()
		b, err := c.Get(ctx, key, check, func(context.Context) ([]byte, error) {
			made++
			return fmt.Appendf(nil, "made %d", made), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	one, two := Key("a", "bc"), Key("ab", "c")
	for range 3 {
		if got := get(one); got != "made 1" {
			t.Fatalf("got %q", got)
		}
	}
	if got := get(two); got != "made 2" {
		t.Errorf("another key gives %q", got)
	}
	for i, damage := range []string{"nonsense", ""} {
		if err := os.WriteFile(filepath.Join(c.Dir(), one), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := get(one), fmt.Sprint("made ", i+3); got != want {
			t.Errorf("after damage: %q, want %q", got, want)
		}
	}
	broken := errors.New("broken")
	if _, err := c.Get(ctx, Key("x"), check, func(context.Context) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("a failing build: %v", err)
	}
	for _, key := range []string{"", "../x", strings.Repeat("g", 64)} {
		if _, err := c.Get(ctx, key, check, nil); err == nil {
			t.Errorf("the key %q is taken", key)
		}
	}
}

// TestUnkept: a folder that cannot be used costs nobody what can be made.
func TestUnkept(t *testing.T) {
	key := Key("x")
	for name, spoil := range map[string]func(dir string) error{
		"the folder is a file": func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		},
		"no folder":            os.Remove,
		"no lock":              func(dir string) error { return os.Mkdir(filepath.Join(dir, key+".lock"), 0o700) },
		"an entry is no file":  func(dir string) error { return os.Mkdir(filepath.Join(dir, key), 0o700) },
		"the folder lets read": func(dir string) error { return os.Chmod(dir, 0o500) },
		"a stale entry must stay": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, key), []byte("damaged"), 0o600), os.Chmod(dir, 0o500))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			c, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Chmod(dir, 0o700) })
			if st, err := os.Stat(dir); err == nil && st.Mode().Perm() == 0o500 && os.Getuid() == 0 {
				t.Skip("root may write in any folder")
			}
			var unkept *Unkept
			b, err := c.Get(context.Background(), key, check, func(context.Context) ([]byte, error) { return []byte("made anew"), nil })
			if string(b) != "made anew" || !errors.As(err, &unkept) || !strings.Contains(err.Error(), Variable) {
				t.Errorf("%q, %v", b, err)
			}
			broken := errors.New("broken")
			if b, err := c.Get(context.Background(), key, check, func(context.Context) ([]byte, error) { return nil, broken }); b != nil || !errors.Is(err, broken) || errors.As(err, &unkept) {
				t.Errorf("a failing build: %q, %v", b, err)
			}
		})
	}
}

func TestWaiting(t *testing.T) {
	c, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	building, finish := make(chan bool), make(chan bool)
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := c.Get(context.Background(), Key(), check, func(context.Context) ([]byte, error) {
			building <- true
			<-finish
			return []byte("made once"), nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-building
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Get(ctx, Key(), check, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that has ended: %v", err)
	}
	var second sync.WaitGroup
	second.Go(func() {
		b, err := c.Get(context.Background(), Key(), check, func(context.Context) ([]byte, error) {
			return nil, errors.New("built twice")
		})
		if err != nil || string(b) != "made once" {
			t.Errorf("the one who waited has %q, %v", b, err)
		}
	})
	finish <- true
	first.Wait()
	second.Wait()
}

// TestProcesses lets several processes want the same keys at once.
func TestProcesses(t *testing.T) {
	if dir := os.Getenv("CACHE_TEST_DIR"); dir != "" {
		c, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			b, err := c.Get(context.Background(), Key(fmt.Sprint(i)), check, func(context.Context) ([]byte, error) {
				f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
				if err != nil {
					return nil, err
				}
				defer f.Close()
				_, err = f.WriteString(".")
				return fmt.Appendf(nil, "made %d", i), err
			})
			if err != nil || string(b) != fmt.Sprint("made ", i) {
				t.Fatalf("%q, %v", b, err)
			}
		}
		return
	}
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestProcesses$")
			cmd.Env = append(os.Environ(), "CACHE_TEST_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	group.Wait()
	if log, err := os.ReadFile(filepath.Join(dir, "log")); len(log) != 20 {
		t.Errorf("20 keys were built %d times (%v)", len(log), err)
	}
}

func TestPrune(t *testing.T) {
	c, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	get := func(name string) {
		t.Helper()
		if _, err := c.Get(context.Background(), Key(name), check, func(context.Context) ([]byte, error) {
			made++
			return []byte("made 123"), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"a", "b", "c"} {
		get(name)
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(filepath.Join(c.Dir(), Key(name)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	get("a") // now used last
	if left, err := c.Prune(16); err != nil || left != 16 {
		t.Errorf("%d bytes are left, %v", left, err)
	}
	get("a")
	get("c")
	if made != 3 {
		t.Error("what was used last is gone")
	}
	get("b")
	if made != 4 {
		t.Error("what was not used for longest is kept")
	}
}

func TestDefault(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	t.Setenv(Variable, dir)
	if c, err := Default(); err != nil || c.Dir() != dir {
		t.Errorf("%v", err)
	}
	t.Setenv(Variable, "")
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir)
	if c, err := Default(); err != nil || filepath.Base(c.Dir()) != "memc" {
		t.Errorf("%v", err)
	}
	t.Setenv(Variable, "off")
	c, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		b, err := c.Get(context.Background(), "any", nil, func(context.Context) ([]byte, error) { return []byte{byte(i)}, nil })
		if err != nil || b[0] != byte(i) {
			t.Errorf("a cache that is off keeps %v (%v)", b, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "sub")); err == nil {
		t.Error("a folder inside a file is opened")
	}
}
