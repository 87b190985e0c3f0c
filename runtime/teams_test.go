package runtime

import (
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// idle is how many teams of so many workers nobody uses, and who could.
func idle(workers int) (teams, borrowers int) {
	l := join(workers)
	defer l.leave()
	l.Lock()
	defer l.Unlock()
	return len(l.idle), l.borrowers - 1
}

// goroutines is how many there are, with those that Go begins when a session first
// comes and goes.
func goroutines(t *testing.T) int {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 1)
	feed(t, s, []int32{1})
	s.Close()
	return goruntime.NumGoroutine()
}

// TestSharedTeams: sessions in turn, of one program and of several, have one team;
// sessions at once have one each, no more than there are sessions; none is left when
// the last session is closed.
func TestSharedTeams(t *testing.T) {
	workers := goruntime.GOMAXPROCS(0) + 4 // as no other test
	tokens := randomTokens(rand.New(rand.NewPCG(7, 7)), 50)
	want, _ := oracle(tokens)
	before := goroutines(t)
	var all []*Session
	var starts []*Mark
	for range 2 {
		p := tiny(t)
		w := tinyWeights(t, p)
		for range 3 {
			s, err := p.NewSession(w, Options{Threads: workers})
			if err != nil {
				t.Fatal(err)
			}
			start, err := s.Mark()
			if err != nil {
				t.Fatal(err)
			}
			all, starts = append(all, s), append(starts, start)
		}
	}
	for at := 0; at < len(tokens); at += 10 {
		for i, s := range all {
			if got := feed(t, s, tokens[at:at+10]); !slices.Equal(got, want[2*at:2*at+20]) {
				t.Fatalf("session %d differs from row %d on", i, at)
			}
		}
	}
	if teams, borrowers := idle(workers); teams != 1 || borrowers != len(all) {
		t.Errorf("%d sessions in turn have %d teams, lent to %d", len(all), teams, borrowers)
	}
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			for range 20 {
				if err := s.Rewind(starts[i]); err != nil {
					t.Error(err)
					return
				}
				if got := feed(t, s, tokens); !slices.Equal(got, want) {
					t.Errorf("session %d of several at once differs", i)
					return
				}
			}
		})
	}
	wg.Wait()
	if teams, _ := idle(workers); teams < 1 || teams > len(all) {
		t.Errorf("%d sessions at once have made %d teams", len(all), teams)
	}
	for i, s := range all {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if teams, borrowers := idle(workers); teams > borrowers || borrowers != len(all)-1-i {
			t.Errorf("%d teams are left for %d sessions", teams, borrowers)
		}
	}
	for range 1000 {
		if goruntime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines are left behind the sessions, %d before", goruntime.NumGoroutine(), before)
}

// TestLongCalls: what is left to workers alone, because it took long the last time,
// gives the same; their team ends with its last session.
func TestLongCalls(t *testing.T) {
	p := tiny(t)
	w := tinyWeights(t, p)
	tokens := randomTokens(rand.New(rand.NewPCG(8, 8)), 60)
	want, _ := oracle(tokens)
	before := goroutines(t)
	for _, threads := range []int{1, 2, 7} {
		s, err := p.NewSession(w, Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		var got []float32
		for at := 0; at < len(tokens); at += 3 {
			if m := s.machine.(*machine); at%2 == 0 {
				for i := range m.entries[0].took {
					m.entries[0].took[i] = time.Second
				}
			}
			got = append(got, feed(t, s, tokens[at:at+3])...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads: some calls left to workers alone, the stream differs", threads)
		}
		m := s.machine.(*machine)
		last := m.lender.borrow(m.engine)
		if m.lender.giveBack(last); last.present != (threads > 1) {
			t.Errorf("%d threads: a worker for long calls is there: %v", threads, last.present)
		}
		s.Close()
	}
	s, err := p.NewSession(w, Options{Threads: 2, Profile: true}) // one launch at a time
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Profile() {
		s.Profile()[i].Time, s.Profile()[i].Calls = time.Hour, 1
	}
	if got := feed(t, s, tokens); !slices.Equal(got, want) {
		t.Error("launches left to workers alone, the stream differs")
	}
	s.Close()
	for range 1000 {
		if goruntime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines are left behind long calls, %d before", goruntime.NumGoroutine(), before)
}
