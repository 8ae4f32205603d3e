package coro

import (
	"sync"
	"testing"
)

func TestSelfIsStable(t *testing.T) {
	before := Self()
	if before == 0 {
		t.Fatal("zero")
	}
	if deep(10_000) != before || Self() != before {
		t.Fatal("changed when the stack grew")
	}
}

//go:noinline
func deep(n int) uintptr {
	var pad [256]byte
	pad[n%256] = 1
	if n == 0 {
		return Self()
	}
	if s := deep(n - 1); pad[n%256] == 1 {
		return s
	}
	return 0
}

func TestSelfDiffersBetweenLivingGoroutines(t *testing.T) {
	const n = 100
	var mu sync.Mutex
	seen := map[uintptr]bool{}
	hold := make(chan bool)
	var in, out sync.WaitGroup
	in.Add(n)
	for range n {
		out.Go(func() {
			s := Self()
			mu.Lock()
			seen[s] = true
			mu.Unlock()
			in.Done()
			<-hold
			if Self() != s {
				t.Error("changed while parked")
			}
		})
	}
	in.Wait()
	close(hold)
	out.Wait()
	if len(seen) != n {
		t.Fatalf("%d of %d", len(seen), n)
	}
}

func TestGuardKnowsTheCoroutine(t *testing.T) {
	var g Guard
	var c *Coro
	inside, elsewhere := false, true
	c = New(&g, func() {
		deep(1_000)
		inside = g.Held()
		var wg sync.WaitGroup
		wg.Go(func() { elsewhere = g.Held() })
		wg.Wait()
		c.Yield()
		inside = inside && g.Held()
	})
	c.Resume()
	if g.Held() {
		t.Error("the driver passes for the coroutine")
	}
	c.Resume()
	if !inside || elsewhere || g.Held() {
		t.Fatalf("inside %v, elsewhere %v, afterwards %v", inside, elsewhere, g.Held())
	}
}

func TestGoroutineID(t *testing.T) {
	a := goroutineID()
	var b uintptr
	var wg sync.WaitGroup
	wg.Go(func() { b = goroutineID() })
	wg.Wait()
	if a == 0 || b == 0 || a == b || goroutineID() != a {
		t.Fatalf("%d and %d", a, b)
	}
}

func BenchmarkHeld(b *testing.B) {
	var g Guard
	for b.Loop() {
		g.Held()
	}
}
