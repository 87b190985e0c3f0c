package runtime

import "sync"

// lenders are the teams of this process, by how many workers they have: a session
// borrows one for each call. Were they its own, the workers of the session called last
// would still look for another call when those of the next one want their processors.
var lenders struct {
	sync.Mutex
	of map[int]*lender
}

// lender has the teams of one size that nobody uses. Who was called last is lent first:
// he does not sleep yet.
type lender struct {
	borrowers int
	idle      []*team
}

// join is what a session does before it borrows teams of so many workers.
func join(workers int) {
	lenders.Lock()
	defer lenders.Unlock()
	if lenders.of == nil {
		lenders.of = map[int]*lender{}
	}
	if lenders.of[workers] == nil {
		lenders.of[workers] = &lender{}
	}
	lenders.of[workers].borrowers++
}

// leave undoes join. There are no more teams than who could use them at once.
func leave(workers int) {
	lenders.Lock()
	defer lenders.Unlock()
	l := lenders.of[workers]
	l.borrowers--
	for len(l.idle) > l.borrowers {
		l.idle[0].stop()
		l.idle = l.idle[1:]
	}
}

// borrow gives a team, whose workers live in the engine's code where it is a new one.
func (e *native) borrow(workers int) *team {
	lenders.Lock()
	defer lenders.Unlock()
	l := lenders.of[workers]
	if n := len(l.idle); n > 0 {
		t := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return t
	}
	return newTeam(e.code, e.work, workers)
}

// giveBack ends what borrow began.
func giveBack(t *team) {
	lenders.Lock()
	defer lenders.Unlock()
	l := lenders.of[int(t.call.Workers)]
	l.idle = append(l.idle, t)
}
