package providertest

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/durango-go/durango/provider"
)

// CONTRACT, blobs: "An instance refers to a blob from the transaction that wrote
// the reference until it is deleted; a sweep never takes what is referred to."
var blobCases = []testCase{
	{"KeepsContents", func(h *harness) {
		store := h.keeper()
		content := []byte("a large value\x00\xff")
		_, err := store.GetBlob(h.ctx, address("x"))
		h.is(err, provider.ErrNotFound, "get of what is not there")
		h.ok(store.PutBlob(h.ctx, address("x"), content), "put")
		h.ok(store.PutBlob(h.ctx, address("x"), content), "put again")
		h.ok(store.PutBlob(h.ctx, address("empty"), nil), "put of nothing")
		content[0] = 'A' // the store has its own
		got, err := store.GetBlob(h.ctx, address("x"))
		h.ok(err, "get")
		h.same("content", string(got), "a large value\x00\xff")
		got, err = store.GetBlob(h.ctx, address("empty"))
		h.ok(err, "get of nothing")
		h.same("empty content", len(got), 0)
		list, err := store.Blobs(h.ctx, provider.BlobAddress{}, 10)
		h.ok(err, "blobs")
		h.same("blobs", len(list), 2)
		for _, b := range list {
			h.same("known", b.Address == address("x") || b.Address == address("empty"), true)
			h.same("size", b.Size == 15 || b.Address == address("empty"), true)
			h.same("put at", b.PutAt > 0 && b.PutAt <= h.now(), true)
			h.same("instances", b.Instances, 0)
		}
	}},
	{"ReferencesComeWithWhatIsWritten", func(h *harness) {
		store := h.keeper()
		node := h.join()
		n := draft("n")
		n.Blobs = addresses("start", "twice")
		with := to(0, "with")
		with.Blobs = addresses("with")
		n.With = []provider.Message{with}
		h.create(0, n)

		key, task := h.working(node, "a", 1)
		m := to(key, "m")
		m.Blobs = addresses("message", "twice")
		h.ok(h.send(m).Err, "send")
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done"), Blobs: addresses("result")}), "finish")

		own := h.owned(node, "b")
		c := h.turn(own)
		child := draft("child")
		child.Blobs = addresses("input")
		c.Children = []provider.NewInstance{child}
		sent := to(key, "from b")
		sent.Blobs = addresses("sent")
		c.Messages = []provider.Message{sent}
		c.Blobs = addresses("turn", "turn")
		h.apply(node, c)

		first := draft("first")
		first.Owned, first.Blobs = true, addresses("of first")
		turn := beside(&provider.Instance{Key: first.Key, NextTurn: 1, Execution: 1, HistoryFrom: 1,
			Name: first.Name, Version: first.Version, Status: provider.Running})
		turn.ReadSeq = 1
		turn.Turn = &provider.Turn{Number: 1, Execution: 1, CommitID: turn.CommitID, Time: 1, Deliveries: 1, Events: []byte{1}}
		turn.Blobs = addresses("first turn")
		first.First = &turn
		h.create(node, first)
		for name, want := range map[string]bool{
			"start": true, "with": true, "message": true, "result": true, "input": true, "sent": true, "turn": true,
			"of first": true, "first turn": true, "twice": true, "another": false,
		} {
			h.refers(name, want)
		}
		h.ok(store.PutBlob(h.ctx, address("twice"), []byte("2")), "put")
		list, err := store.Blobs(h.ctx, provider.BlobAddress{}, 10)
		h.ok(err, "blobs")
		h.same("instances", only(h, "blobs", list).Instances, 2)
	}},
	{"WhatIsRefusedLeavesNone", func(h *harness) {
		h.keeper()
		node := h.join()
		key, task := h.working(node, "a", 1)
		stale := task.Ref()
		stale.Attempt++
		h.is(h.finish(node, provider.TaskFinish{TaskRef: stale, Message: []byte("m"), Blobs: addresses("stale")}), provider.ErrStale, "finish")

		fenced := h.turn(key)
		fenced.Blobs = addresses("fenced")
		child := draft("child")
		child.Blobs = addresses("fenced child")
		fenced.Children = []provider.NewInstance{child}
		h.is(h.commit(node, fenced).Err, provider.ErrConflict, "commit of what nobody owns")

		taken := draft("a")
		taken.Blobs = addresses("taken")
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{taken})
		h.ok(err, "create")
		h.is(results[0].Err, provider.ErrAlreadyExists, "create")

		m := to(h.ended(node, "e"), "late")
		m.Blobs = addresses("late")
		h.is(h.send(m).Err, provider.ErrNotOpen, "send")
		m = to(key, "twice")
		m.ID = "m"
		h.ok(h.send(m).Err, "send")
		m.Blobs = addresses("duplicate")
		h.ok(h.send(m).Err, "send again")
		m = to(key, "for a child")
		m.IfParent, m.Blobs = provider.NewKey(), addresses("not its parent")
		h.ok(h.send(m).Err, "send")
		for _, name := range []string{"stale", "fenced", "fenced child", "taken", "late", "duplicate", "not its parent"} {
			h.refers(name, false)
		}
	}},
	{"TheyLastUntilTheInstanceIsDeleted", func(h *harness) {
		store := h.keeper()
		node := h.join()
		h.ok(store.PutBlob(h.ctx, address("x"), []byte("x")), "put")
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Blobs = addresses("x", "elsewhere")
		h.apply(node, c)
		c = h.turn(key)
		c.Status, c.Outcome = provider.Completed, []byte("done")
		h.apply(node, c)
		h.same("swept after the end", h.sweep(0), 0)
		before := h.now()
		h.ok(h.Delete(h.ctx, provider.Target{Key: key}, false), "delete")
		h.refers("x", false)
		h.refers("elsewhere", false)
		list, err := store.Blobs(h.ctx, provider.BlobAddress{}, 10)
		h.ok(err, "blobs")
		h.same("young again", only(h, "blobs", list).PutAt >= before, true)
		h.same("swept at once", h.sweep(hour), 0)
		h.same("swept later", h.sweep(0), 1)
		_, err = store.GetBlob(h.ctx, address("x"))
		h.is(err, provider.ErrNotFound, "get")
	}},
	{"ASweepIsBounded", func(h *harness) {
		store := h.keeper()
		n := draft("n")
		for i := range 10 {
			name := fmt.Sprint(i)
			h.ok(store.PutBlob(h.ctx, address(name), []byte(name)), "put")
			if i%2 == 0 {
				n.Blobs = append(n.Blobs, address(name))
			}
		}
		h.create(0, n)
		h.same("young ones", h.sweep(hour), 0)
		sweep, deleted := provider.BlobSweep{Limit: 3}, 0
		for calls, more := 1, true; more; calls++ {
			swept, err := store.SweepBlobs(h.ctx, sweep)
			h.ok(err, "sweep")
			h.same("bounded", swept.Deleted <= 3 && calls <= 5, true)
			h.same("bytes", swept.Bytes, int64(swept.Deleted))
			deleted += swept.Deleted
			sweep.After, more = swept.Next, swept.More
		}
		h.same("deleted", deleted, 5)
		list, err := store.Blobs(h.ctx, provider.BlobAddress{}, 3)
		h.ok(err, "blobs")
		h.same("first page", len(list), 3)
		list, err = store.Blobs(h.ctx, list[2].Address, 3)
		h.ok(err, "blobs")
		h.same("second page", len(list), 2)
	}},
	{"ASweepMeetsThoseWhoPassBlobsOn", func(h *harness) {
		store := h.keeper()
		node := h.join()
		const rounds = 30
		var sweeping sync.WaitGroup
		done := make(chan struct{})
		for range 2 {
			sweeping.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						// A blob is safe by its references alone here.
						if _, err := store.SweepBlobs(h.ctx, provider.BlobSweep{Limit: 100}); err != nil {
							h.Errorf("sweep: %v", err)
							return
						}
					}
				}
			})
		}
		key := h.owned(node, "holder 0")
		c := h.turn(key)
		c.Blobs = addresses("x")
		h.apply(node, c)
		h.ok(store.PutBlob(h.ctx, address("x"), []byte("x")), "put")
		for i := 1; i <= rounds; i++ {
			next := draft(fmt.Sprint("holder ", i))
			next.Owned, next.Blobs = true, addresses("x")
			c := h.turn(key)
			c.Children = []provider.NewInstance{next}
			h.apply(node, c)
			h.ok(h.Delete(h.ctx, provider.Target{Key: key}, true), "delete")
			key = next.Key
			_, err := store.GetBlob(h.ctx, address("x"))
			h.ok(err, "get")
		}
		close(done)
		sweeping.Wait()
	}},
}

func address(name string) provider.BlobAddress { return sha256.Sum256([]byte(name)) }

func addresses(names ...string) (list []provider.BlobAddress) {
	for _, name := range names {
		list = append(list, address(name))
	}
	return list
}

// keeper is the store as a BlobKeeper.
func (h *harness) keeper() provider.BlobKeeper {
	h.need(h.caps.Blobs, "Blobs")
	return h.store.(provider.BlobKeeper)
}

// refers checks whether any instance refers to a blob.
func (h *harness) refers(name string, want bool) {
	h.Helper()
	used, err := h.store.(provider.BlobKeeper).BlobsInUse(h.ctx, addresses("nothing", name))
	h.ok(err, "blobs in use")
	h.same("use of "+name, used, []bool{false, want})
}

// sweep goes over all blobs and returns how many it deleted.
func (h *harness) sweep(idle int64) int {
	h.Helper()
	swept, err := h.store.(provider.BlobKeeper).SweepBlobs(h.ctx, provider.BlobSweep{Idle: idle, Limit: 1000})
	h.ok(err, "sweep")
	return swept.Deleted
}
