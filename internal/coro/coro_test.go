package coro

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestStepsAndEnd(t *testing.T) {
	var got []int
	var c *Coro
	c = New(nil, func() {
		got = append(got, 1)
		c.Yield()
		got = append(got, 2)
	})
	if c.Resume() {
		t.Fatal("done after the first step")
	}
	got = append(got, -1)
	ended := c.Resume()
	if again := c.Resume(); !ended || !again || !c.Done() || c.Err() != nil {
		t.Fatalf("not done cleanly: err %v", c.Err())
	}
	if len(got) != 3 || got[1] != -1 || got[2] != 2 {
		t.Fatalf("steps %v", got)
	}
}

func TestPanicIsCaptured(t *testing.T) {
	var c *Coro
	c = New(nil, func() { c.Yield(); explode() })
	c.Resume()
	if !c.Resume() {
		t.Fatal("not done after a panic")
	}
	var p *PanicError
	if !errors.As(c.Err(), &p) || p.Value != "boom" || !strings.Contains(string(p.Stack), "explode") {
		t.Fatalf("err %v", c.Err())
	}
}

//go:noinline
func explode() { panic("boom") }

func TestGoexitIsCaptured(t *testing.T) {
	survived, ran := false, false
	var wg sync.WaitGroup
	wg.Go(func() {
		var c *Coro
		c = New(nil, func() {
			defer func() { ran = true }()
			c.Yield()
			runtime.Goexit()
		})
		c.Resume()
		if !c.Resume() || !errors.Is(c.Err(), ErrGoexit) {
			t.Errorf("err %v", c.Err())
		}
		survived = true
	})
	wg.Wait()
	if !survived || !ran {
		t.Fatalf("driver survived %v, deferred ran %v", survived, ran)
	}
}

// A panic recovered on the way out does not hide the Goexit underneath.
func TestGoexitThenPanicInDefer(t *testing.T) {
	survived := false
	var wg sync.WaitGroup
	wg.Go(func() {
		c := New(nil, func() {
			defer func() { panic("late") }()
			runtime.Goexit()
		})
		if !c.Resume() || c.Err() == nil {
			t.Errorf("err %v", c.Err())
		}
		var d *Coro
		d = New(nil, func() {
			defer func() { d.Yield() }()
			runtime.Goexit()
		})
		if d.Resume() {
			t.Error("done while its deferred function is suspended")
		}
		d.Stop()
		survived = true
	})
	wg.Wait()
	if !survived {
		t.Fatal("the driver did not survive")
	}
}

func TestStopUnwinds(t *testing.T) {
	var order []string
	var c *Coro
	c = New(nil, func() {
		defer func() { order = append(order, "outer") }()
		defer func() {
			order = append(order, "inner")
			c.Yield() // panics again
			order = append(order, "unreachable")
		}()
		c.Yield()
		order = append(order, "unreachable")
	})
	c.Resume()
	c.Stop()
	c.Stop()
	if got := strings.Join(order, " "); got != "inner outer" || c.Err() != nil || !c.Done() {
		t.Fatalf("%s; err %v", got, c.Err())
	}
}

func TestStopBeforeStart(t *testing.T) {
	c := New(nil, func() { t.Error("ran") })
	c.Stop()
	if !c.Resume() {
		t.Fatal("a stopped coroutine ran")
	}
}

// A body that swallows every panic is ended all the same.
func TestStopOvercomesRecover(t *testing.T) {
	var c *Coro
	tries := 0
	c = New(nil, func() {
		for {
			func() {
				defer func() { _ = recover() }()
				tries++
				c.Yield()
			}()
		}
	})
	c.Resume()
	c.Stop()
	if tries != maxResistance+1 || !c.Done() {
		t.Fatalf("%d tries, done %v", tries, c.Done())
	}
}

func TestPanicWhileStopping(t *testing.T) {
	var c *Coro
	c = New(nil, func() {
		defer func() { panic("in defer") }()
		c.Yield()
	})
	c.Resume()
	c.Stop()
	if !c.Done() {
		t.Fatal("not done")
	}
}

func TestDrivenFromSeveralGoroutines(t *testing.T) {
	n := 0
	var c *Coro
	c = New(nil, func() {
		for ; n < 100; n++ {
			c.Yield()
		}
	})
	for done := false; !done; {
		var wg sync.WaitGroup
		wg.Go(func() { done = c.Resume() })
		wg.Wait()
	}
	if n != 100 {
		t.Fatal(n)
	}
}

func BenchmarkResume(b *testing.B) {
	var g Guard
	var c *Coro
	c = New(&g, func() {
		for {
			c.Yield()
		}
	})
	defer c.Stop()
	b.ReportAllocs()
	for b.Loop() {
		c.Resume()
	}
}
