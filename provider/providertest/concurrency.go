package providertest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/durango-go/durango/provider"
)

var concurrencyCases = []testCase{
	{"NoInstanceIsClaimedTwice", func(h *harness) { race(h, []*harness{h}) }},
	{"NoTaskIsClaimedTwice", func(h *harness) {
		node := h.join()
		c := h.turn(h.owned(node, "a"))
		for i := range 200 {
			c.Tasks = append(c.Tasks, job(int64(i+1)))
		}
		h.apply(node, c)
		var mu sync.Mutex
		claimed := map[int64]int{}
		together(h, 8, func(int) {
			worker := h.join()
			for tries := 0; h.going(tries); tries++ {
				reply, err := again(func() (provider.TaskClaimReply, error) {
					return h.ClaimTasks(h.ctx, provider.TaskClaim{Node: worker, Filters: []provider.TaskFilter{charge}, Limit: 3})
				})
				if err != nil {
					h.Errorf("claim tasks: %v", err)
					return
				}
				mu.Lock()
				for _, t := range reply.Tasks {
					claimed[t.Command]++
				}
				done := len(claimed) == 200
				mu.Unlock()
				if done {
					return
				}
			}
		})
		for command, n := range claimed {
			if n != 1 {
				h.Errorf("task %d was claimed %d times", command, n)
			}
		}
	}},
	{"CommitsGoAhead", func(h *harness) {
		pipeliner, ok := h.store.(provider.Pipeliner)
		if !ok {
			h.Skip("the store is not a provider.Pipeliner")
		}
		const groups, size, turns = 4, 10, 6
		node := h.join()
		var keys []provider.Key
		for i := range groups * size {
			keys = append(keys, h.owned(node, itoa(i)))
		}
		var wg sync.WaitGroup
		var advance func(group, turn int)
		advance = func(group, turn int) {
			defer wg.Done()
			batch := make([]provider.Commit, size)
			for i := range batch {
				batch[i] = h.turn(keys[group*size+i])
			}
			nexts := 0
			var mu sync.Mutex
			results, err := pipeliner.CommitAhead(h.ctx, node, batch, func() {
				mu.Lock()
				defer mu.Unlock()
				if nexts++; turn == 0 && group+1 < groups {
					wg.Add(1)
					go advance(group+1, 0)
				}
			})
			if err != nil || nexts > 1 {
				h.Errorf("commit ahead: %v, next was called %d times", err, nexts)
				return
			}
			for i := range results {
				if results[i].Err != nil {
					h.Errorf("turn %d of %s: %v", turn, itoa(group*size+i), results[i].Err)
				}
			}
			if nexts == 0 && turn == 0 && group+1 < groups {
				wg.Add(1)
				go advance(group+1, 0)
			}
			if turn+1 < turns {
				wg.Add(1)
				go advance(group, turn+1)
			}
		}
		wg.Add(1)
		go advance(0, 0)
		wg.Wait()
		for _, key := range keys {
			h.same("turns", len(h.turns(key)), turns)
		}
		other := h.join()
		results, err := pipeliner.CommitAhead(h.ctx, other, []provider.Commit{h.turn(keys[0])}, func() {})
		h.ok(err, "commit ahead by another node")
		h.is(results[0].Err, provider.ErrConflict, "commit ahead by another node")
	}},
	{"ManySendersMakeADenseMailbox", func(h *harness) {
		// DESIGN 5: "Signals form a durable mailbox [...] FIFO per name and
		// sender".
		const senders, each = 8, 40
		key := h.fresh("a")
		together(h, senders, func(i int) {
			for n := range each {
				results, err := again(func() ([]provider.SendResult, error) {
					return h.Send(h.ctx, []provider.Message{{To: provider.Target{Key: key}, Command: int64(i + 1), Payload: []byte(itoa(n))}})
				})
				if err != nil || results[0].Err != nil {
					h.Errorf("send: %v %v", err, results)
					return
				}
			}
		})
		mail := h.mail(key)[1:]
		h.same("messages", len(mail), senders*each)
		next := map[int64]int{}
		for i, m := range mail {
			h.same("number", m.Seq, int64(i+2))
			h.same("order of sender "+itoa(int(m.Command)), string(m.Payload), itoa(next[m.Command]))
			next[m.Command]++
		}
	}},
	{"EveryMessageIsReadOnceWhileOthersAreSent", func(h *harness) {
		const senders, each = 4, 50
		node := h.join()
		key := h.owned(node, "a")
		var senderGroup sync.WaitGroup
		for i := range senders {
			senderGroup.Go(func() {
				for n := range each {
					text := itoa(i*each + n)
					if _, err := again(func() ([]provider.SendResult, error) {
						return h.Send(h.ctx, []provider.Message{to(key, text)})
					}); err != nil {
						h.Errorf("send: %v", err)
					}
				}
			})
		}
		seen := map[string]int{}
		h.eventually("all mail", func() bool {
			l := h.load(key)
			if len(l.Mail) == 0 {
				return len(seen) == senders*each+1
			}
			row := l.Instance
			c := beside(&row)
			c.ReadSeq = l.Mail[len(l.Mail)-1].Seq
			c.Status = provider.Running
			c.Turn = &provider.Turn{Number: row.NextTurn, Execution: 1, CommitID: c.CommitID, Events: []byte{1}}
			for _, m := range l.Mail {
				seen[string(m.Payload)]++
			}
			r, err := again(func() ([]provider.CommitResult, error) { return h.Commit(h.ctx, node, []provider.Commit{c}) })
			h.ok(err, "commit")
			h.ok(r[0].Err, "commit")
			return false
		})
		senderGroup.Wait()
		for text, n := range seen {
			if n != 1 {
				h.Errorf("message %s was read %d times", text, n)
			}
		}
	}},
	{"ATurnHasOneWinner", func(h *harness) {
		// DESIGN 6: "A zombie can waste work; it cannot write."
		node := h.join()
		key := h.owned(node, "a")
		const n = 12
		commits := make([]provider.Commit, n)
		for i := range commits {
			commits[i] = h.turn(key)
		}
		var mu sync.Mutex
		winners := []int64{}
		together(h, n, func(i int) {
			r, err := again(func() ([]provider.CommitResult, error) { return h.Commit(h.ctx, node, commits[i:i+1]) })
			switch {
			case err != nil:
				h.Errorf("commit: %v", err)
			case r[0].Err == nil:
				mu.Lock()
				winners = append(winners, commits[i].CommitID)
				mu.Unlock()
			case !errors.Is(r[0].Err, provider.ErrConflict):
				h.Errorf("commit of a loser: %v", r[0].Err)
			}
		})
		h.same("winners", len(winners), 1)
		turns := h.turns(key)
		h.same("turns", len(turns), 1)
		h.same("commit", turns[0].CommitID, winners[0])
	}},
	{"ACommitSentManyTimesIsAppliedOnce", func(h *harness) {
		node := h.join()
		key, friend := h.owned(node, "a"), h.fresh("b")
		c := h.turn(key)
		c.Messages = []provider.Message{to(friend, "once")}
		together(h, 8, func(int) {
			r, err := again(func() ([]provider.CommitResult, error) { return h.Commit(h.ctx, node, []provider.Commit{c}) })
			if err != nil || r[0].Err != nil {
				h.Errorf("commit: %v %v", err, r)
			}
		})
		h.same("turns", len(h.turns(key)), 1)
		h.same("mail", h.letters(friend), []string{"start b", "once"})
	}},
	{"NothingIsWrittenAfterTheBurial", func(h *harness) {
		node, gravedigger := h.join(), h.join()
		key := h.owned(node, "a")
		written, buried := 0, make(chan int64)
		go func() {
			defer close(buried)
			h.eventually("some turns", func() bool { return h.row(key).NextTurn > 5 })
			h.kill(node)
			buried <- h.row(key).NextTurn
		}()
		for number := int64(1); ; number++ {
			if !h.going(int(number)) {
				break
			}
			c := provider.Commit{
				Key: key, CommitID: commitID(), Expect: number, ReadSeq: 1, Status: provider.Running, Execution: 1,
				Name: "flow", Version: "1.0.0", HistoryFrom: 1,
				Turn: &provider.Turn{Number: number, Execution: 1, Events: []byte{1}},
			}
			r, err := again(func() ([]provider.CommitResult, error) { return h.Commit(h.ctx, node, []provider.Commit{c}) })
			if errors.Is(err, provider.ErrNodeGone) {
				break
			}
			h.ok(err, "commit")
			if errors.Is(r[0].Err, provider.ErrConflict) {
				break // returned to the pool in a step before the node was gone
			}
			h.ok(r[0].Err, "commit")
			written++
		}
		h.same("next turn when buried", <-buried, int64(written+1))
		h.same("turns", len(h.turns(key)), written)
		h.same("claimed", keysOf(h.claim(gravedigger, 1).Claimed), []provider.Key{key})
	}},
	{"Rule01NobodyOwnsAnythingAfterItsBurial", func(h *harness) {
		// DESIGN 6, rule 1: "Otherwise a claim that commits after its node's
		// death owns the row for ever."
		for round := range 10 {
			var batch []provider.NewInstance
			for i := range 20 {
				batch = append(batch, draft(itoa(round)+"-"+itoa(i)))
			}
			h.create(0, batch...)
			node := h.join()
			together(h, 3, func(i int) {
				if i == 0 {
					h.kill(node)
					return
				}
				for tries := 0; h.going(tries); tries++ {
					_, err := again(func() (provider.ClaimReply, error) {
						return h.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: 2})
					})
					if err != nil {
						if !errors.Is(err, provider.ErrNodeGone) {
							h.Errorf("claim: %v", err)
						}
						return
					}
				}
			})
			holdings, err := h.Owned(h.ctx, node)
			h.ok(err, "owned")
			h.same("owned by the dead", len(holdings.Instances), 0)
			for _, n := range batch {
				h.same("owner", h.row(n.Key).Owner, provider.NodeKey(0))
			}
		}
	}},
	{"SendsThatMeetTheEndAreRefusedOrAccepted", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		end := h.turn(key)
		end.Status = provider.Completed
		together(h, 5, func(i int) {
			if i == 0 {
				h.eventually("some mail", func() bool { return h.row(key).MailboxSeq > 10 })
				_, err := again(func() ([]provider.CommitResult, error) { return h.Commit(h.ctx, node, []provider.Commit{end}) })
				if err != nil {
					h.Errorf("commit: %v", err)
				}
				return
			}
			for tries := 0; h.going(tries); tries++ {
				r, err := again(func() ([]provider.SendResult, error) { return h.Send(h.ctx, []provider.Message{to(key, "m")}) })
				if err != nil {
					h.Errorf("send: %v", err)
					return
				}
				if r[0].Err != nil {
					if !errors.Is(r[0].Err, provider.ErrNotOpen) {
						h.Errorf("send: %v", r[0].Err)
					}
					return
				}
			}
		})
		h.same("mail of the ended", h.letters(key), []string{})
		h.same("unread mail", h.stats().UnreadMail, int64(0))
	}},
	{"OneIDOneInstance", func(h *harness) {
		const n = 12
		drafts := make([]provider.NewInstance, n)
		results := make([]provider.CreateResult, n)
		for i := range drafts {
			drafts[i] = draft("the one")
		}
		together(h, n, func(i int) {
			r, err := again(func() ([]provider.CreateResult, error) { return h.Create(h.ctx, 0, drafts[i:i+1]) })
			if err != nil {
				h.Errorf("create: %v", err)
				return
			}
			results[i] = r[0]
		})
		row, err := h.Get(h.ctx, provider.Target{ID: "the one"})
		h.ok(err, "get")
		winners := 0
		for i, r := range results {
			h.same("who has it", r.Key, row.Key)
			if r.Err == nil {
				winners++
				h.same("winner", drafts[i].Key, row.Key)
			} else {
				h.is(r.Err, provider.ErrAlreadyExists, "create")
			}
		}
		h.same("winners", winners, 1)
		h.same("mail", h.letters(row.Key), []string{"start the one"})
	}},
	{"AMessageSentManyTimesIsAcceptedOnce", func(h *harness) {
		key := h.fresh("a")
		m := to(key, "once")
		m.ID = "req-1"
		var mu sync.Mutex
		accepted := 0
		together(h, 8, func(int) {
			r, err := again(func() ([]provider.SendResult, error) { return h.Send(h.ctx, []provider.Message{m}) })
			if err != nil || r[0].Err != nil {
				h.Errorf("send: %v %v", err, r)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if r[0].Seq != 0 {
				accepted++
			}
		})
		h.same("accepted", accepted, 1)
		h.same("mail", h.letters(key), []string{"start a", "once"})
	}},
	{"ATaskHasOneAnswer", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		var mu sync.Mutex
		done := 0
		together(h, 8, func(int) {
			errs, err := again(func() ([]error, error) {
				return h.FinishTasks(h.ctx, node, []provider.TaskFinish{{TaskRef: task.Ref(), Message: []byte("done")}})
			})
			switch {
			case err != nil:
				h.Errorf("finish: %v", err)
			case errs[0] == nil:
				mu.Lock()
				done++
				mu.Unlock()
			case !errors.Is(errs[0], provider.ErrStale):
				h.Errorf("finish: %v", errs[0])
			}
		})
		h.same("finished", done, 1)
		h.same("mail", h.letters(key), []string{"done"})
	}},
	{"ASessionHasOneNode", func(h *harness) { sessionRace(h, []*harness{h}) }},
	{"AParkedTaskHasOneAnswer", func(h *harness) {
		// DESIGN 6, rule 12, for those who answer from outside.
		for round := range 5 {
			key := h.queued(h.join(), "a"+itoa(round), h.parked(4, 1))
			ref := h.ref(key)
			done := h.winners(8, func(i int) (error, error) {
				errs, err := again(func() ([]error, error) {
					return h.FinishTasks(h.ctx, 0, []provider.TaskFinish{{TaskRef: ref, Message: []byte("done")}})
				})
				if err != nil {
					return nil, err
				}
				return errs[0], nil
			})
			h.same("finished", len(done), 1)
			h.same("mail", h.letters(key), []string{"done"})
		}
	}},
	{"AParkedTaskIsAnsweredOrExpires", func(h *harness) {
		// One caller answers it while nodes find that it has expired.
		nodes := []provider.NodeKey{h.join(), h.join(), h.join()}
		for round := range 20 {
			t := h.parked(4, 1)
			t.VisibleAt = 1000
			key := h.queued(nodes[0], "a"+itoa(round), t)
			ref := h.ref(key)
			done := h.winners(4, func(i int) (error, error) {
				by := provider.NodeKey(0)
				if i > 0 {
					by = nodes[i-1]
					reply, err := again(func() (provider.TaskClaimReply, error) {
						return h.ClaimTasks(h.ctx, provider.TaskClaim{Node: by, Limit: 1})
					})
					if err != nil || len(reply.Tasks) == 0 {
						return provider.ErrStale, err
					}
				}
				errs, err := again(func() ([]error, error) {
					return h.FinishTasks(h.ctx, by, []provider.TaskFinish{{TaskRef: ref, Message: []byte(itoa(i))}})
				})
				if err != nil {
					return nil, err
				}
				return errs[0], nil
			})
			if len(done) != 1 {
				h.Fatalf("finished by %v, want by one", done)
			}
			h.same("mail", h.letters(key), []string{itoa(done[0])})
		}
	}},
	{"WhoeverCreatesEverybodyIsHeard", func(h *harness) {
		const n = 12
		drafts := make([]provider.NewInstance, n)
		for i := range drafts {
			drafts[i] = draft("the one")
			drafts[i].Start = []byte("start")
			drafts[i].With = []provider.Message{{ID: itoa(i), Payload: []byte(itoa(i))}}
		}
		done := h.winners(n, func(i int) (error, error) {
			r, err := again(func() ([]provider.CreateResult, error) { return h.Create(h.ctx, 0, drafts[i:i+1]) })
			switch {
			case err != nil:
				return nil, err
			case len(r[0].Sent) != 1 || r[0].Sent[0].Err != nil || r[0].Sent[0].Seq == 0:
				return nil, fmt.Errorf("the message of %d: %+v", i, r[0])
			case errors.Is(r[0].Err, provider.ErrAlreadyExists):
				return provider.ErrStale, nil
			}
			return r[0].Err, nil
		})
		h.same("created", len(done), 1)
		row, err := h.Get(h.ctx, provider.Target{ID: "the one"})
		h.ok(err, "get")
		letters := h.letters(row.Key)
		h.same("mail", len(letters), n+1)
		h.same("the first", letters[0], "start")
		heard := map[string]bool{}
		for _, l := range letters {
			heard[l] = true
		}
		h.same("heard", len(heard), n+1)
	}},
	{"AnInstanceEndsOnce", func(h *harness) {
		// DESIGN 5: "every terminal state notifies the parent exactly once."
		node := h.join()
		for round := range 10 {
			parent := h.fresh("parent-" + itoa(round))
			n := h.child(parent, "child-"+itoa(round), 1)
			n.Owned = true
			h.create(node, n)
			c := h.turn(n.Key)
			c.Status = provider.Completed
			c.Messages = []provider.Message{to(parent, "completed")}
			together(h, 2, func(i int) {
				_, err := again(func() (struct{}, error) {
					if i == 0 {
						return struct{}{}, h.Terminate(h.ctx, provider.Target{Key: n.Key}, nil, []byte("terminated"))
					}
					_, err := h.Commit(h.ctx, node, []provider.Commit{c})
					return struct{}{}, err
				})
				if err != nil && !errors.Is(err, provider.ErrNotOpen) {
					h.Errorf("end: %v", err)
				}
			})
			want := []string{"start parent-" + itoa(round), "completed"}
			if h.row(n.Key).Status == provider.Terminated {
				want[1] = "terminated"
			}
			h.same("mail of the parent", h.letters(parent), want)
		}
	}},
	{"Rule06CrossedMessagesDoNotDeadlock", func(h *harness) {
		// DESIGN 6, rule 6, on the order of locks: instances by key.
		const n, rounds = 6, 15
		node := h.join()
		keys := make([]provider.Key, n)
		for i := range keys {
			keys[i] = h.owned(node, itoa(i))
		}
		together(h, n, func(i int) {
			for number := int64(1); number <= rounds; number++ {
				c := provider.Commit{
					Key: keys[i], CommitID: commitID(), Expect: number, ReadSeq: 1, Status: provider.Running, Execution: 1,
					Name: "flow", Version: "1.0.0", HistoryFrom: 1, Turn: &provider.Turn{Number: number, Execution: 1, Events: []byte{1}},
				}
				for j := range keys { // to everybody, in an order of its own
					c.Messages = append(c.Messages, to(keys[(i*5+j*(n-1))%n], itoa(i)))
				}
				r, err := again(func() ([]provider.CommitResult, error) { return h.Commit(h.ctx, node, []provider.Commit{c}) })
				if err != nil || r[0].Err != nil {
					h.Errorf("commit: %v %v", err, r)
					return
				}
			}
		})
		for _, key := range keys {
			row := h.row(key)
			h.same("next turn", row.NextTurn, int64(rounds+1))
			h.same("mail", row.MailboxSeq, int64(1+n*rounds))
			h.same("unread mail", len(h.mail(key)), n*rounds)
		}
	}},
	{"BeatsAreNotLost", func(h *harness) {
		node := h.join()
		before := h.beat(node, node)
		together(h, 5, func(int) {
			for range 10 {
				if _, err := again(func() (provider.Pulse, error) { return h.Heartbeat(h.ctx, node) }); err != nil {
					h.Errorf("heartbeat: %v", err)
				}
			}
		})
		h.same("beat", h.beat(node, node), before+51)
	}},
}
