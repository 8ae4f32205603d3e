package providertest

import (
	"errors"
	"strconv"
	"sync"

	"github.com/durango-go/durango/provider"
)

// race lets many nodes, over the given handles of one store, claim the same
// instances, and checks that each has one owner.
func race(h *harness, handles []*harness) {
	const instances = 200
	var batch []provider.NewInstance
	for i := range instances {
		batch = append(batch, draft(itoa(i)))
	}
	h.create(0, batch...)
	var mu sync.Mutex
	owner := map[provider.Key]provider.NodeKey{}
	together(h, 8, func(i int) {
		mine := handles[i%len(handles)]
		node := mine.join()
		for tries := 0; h.going(tries); tries++ {
			reply, err := again(func() (provider.ClaimReply, error) {
				return mine.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: 7})
			})
			if err != nil {
				h.Errorf("claim: %v", err)
				return
			}
			mu.Lock()
			for _, row := range reply.Claimed {
				if owner[row.Key] != 0 {
					h.Errorf("%s was claimed twice", row.ID)
				}
				owner[row.Key] = node
			}
			done := len(owner) == instances
			mu.Unlock()
			if done {
				return
			}
		}
	})
	for key, node := range owner {
		row := h.row(key)
		h.same("owner", row.Owner, node)
		h.same("attempts", row.Attempts, int64(1))
	}
}

// sessionRace lets many nodes, over the given handles of one store, claim the
// tasks of a few sessions, and checks that each session has one node.
func sessionRace(h *harness, handles []*harness) {
	const sessions, each = 16, 12
	var tasks []provider.NewTask
	for i := range sessions * each {
		tasks = append(tasks, inSession(int64(i+1), itoa(i%sessions)))
	}
	h.queued(h.join(), "a", tasks...)
	var mu sync.Mutex
	owner, claimed := map[string]provider.NodeKey{}, map[int64]bool{}
	together(h, 8, func(i int) {
		mine := handles[i%len(handles)]
		node := mine.join()
		for tries := 0; h.going(tries); tries++ {
			reply, err := again(func() (provider.TaskClaimReply, error) {
				return mine.ClaimTasks(h.ctx, provider.TaskClaim{
					Node: node, Filters: []provider.TaskFilter{charge}, Limit: 5, MaxSessions: sessions,
				})
			})
			if err != nil {
				h.Errorf("claim tasks: %v", err)
				return
			}
			mu.Lock()
			for _, t := range reply.Tasks {
				if has := owner[t.Session]; has != 0 && has != node {
					h.Errorf("session %s has two nodes", t.Session)
				}
				owner[t.Session], claimed[t.Command] = node, true
			}
			done := len(claimed) == len(tasks)
			mu.Unlock()
			if done {
				return
			}
		}
	})
	h.same("sessions", len(owner), sessions)
}

// winners runs f in n goroutines and returns those that won; the others must
// find that they came too late, which is ErrStale.
func (h *harness) winners(n int, f func(i int) (item, err error)) []int {
	h.Helper()
	var mu sync.Mutex
	winners := []int{}
	together(h, n, func(i int) {
		item, err := f(i)
		switch {
		case err != nil:
			h.Errorf("%d: %v", i, err)
		case item == nil:
			mu.Lock()
			winners = append(winners, i)
			mu.Unlock()
		case !errors.Is(item, provider.ErrStale):
			h.Errorf("%d: %v", i, item)
		}
	})
	return winners
}

// enough bounds the repetitions of a loop that a broken store would not end.
const enough = 100_000

// going reports whether a loop has not had enough.
func (h *harness) going(tries int) bool {
	if tries == enough {
		h.Errorf("no end after %d tries", tries)
	}
	return !h.Failed()
}

// together runs f in n goroutines that begin at the same time.
func together(h *harness, n int, f func(i int)) {
	h.Helper()
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	group.Wait()
}

// again repeats what failed for the moment, as the engine does.
func again[T any](f func() (T, error)) (v T, err error) {
	for range enough {
		if v, err = f(); !errors.Is(err, provider.ErrTransient) {
			break
		}
	}
	return v, err
}

func itoa(n int) string { return strconv.Itoa(n) }
