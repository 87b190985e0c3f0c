package runtime

import (
	"slices"
	"sync"
)

// lenders are those of this process, by how many workers their teams have.
var lenders struct {
	sync.Mutex
	of map[int]*lender
}

// lender has teams of one size, of which a session borrows one for each call. Were they
// its own, the workers of the session called last would still look for another call when
// those of the next one want their processors.
type lender struct {
	sync.Mutex
	workers   int
	borrowers int     // sessions
	idle      []*team // who was called last is lent first: they do not sleep yet
}

// join is for a session that will borrow teams of so many workers, until it leaves.
func join(workers int) *lender {
	lenders.Lock()
	defer lenders.Unlock()
	l := lenders.of[workers]
	if l == nil {
		if lenders.of == nil {
			lenders.of = map[int]*lender{}
		}
		l = &lender{workers: workers}
		lenders.of[workers] = l
	}
	l.Lock()
	defer l.Unlock()
	l.borrowers++
	return l
}

// leave undoes join. There are no more teams than who could use them at once.
func (l *lender) leave() {
	l.Lock()
	defer l.Unlock()
	l.borrowers--
	if spare := len(l.idle) - l.borrowers; spare > 0 {
		for _, t := range l.idle[:spare] {
			t.stop()
		}
		l.idle = slices.Delete(l.idle, 0, spare)
	}
}

// borrow gives a team, whose workers live in the engine's code where it is a new one.
func (l *lender) borrow(e *native) *team {
	l.Lock()
	defer l.Unlock()
	if n := len(l.idle); n > 0 {
		t := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return t
	}
	return newTeam(e.code, e.work, l.workers)
}

// giveBack ends what borrow began.
func (l *lender) giveBack(t *team) {
	l.Lock()
	defer l.Unlock()
	l.idle = append(l.idle, t)
}
