package engine

import "sync"

// pool keeps goroutines between pieces of work. A fresh goroutine begins with
// a small stack and pays for its growth, in a store's code or a user's, every
// time; measured, that was a tenth of the time of a step.
type pool struct {
	work sync.WaitGroup // pieces of work under way

	mu    sync.Mutex
	idle  []chan func() // the most recently used last
	least int           // the fewest that were idle since the last trim
	keep  bool          // between open and close; else goroutines end with their work
}

// open begins to keep goroutines.
func (p *pool) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = true
}

// run calls f on another goroutine.
func (p *pool) run(f func()) {
	p.work.Add(1)
	p.mu.Lock()
	n := len(p.idle) - 1
	if n < 0 {
		p.mu.Unlock()
		go p.goroutine(f)
		return
	}
	c := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	p.least = min(p.least, n)
	p.mu.Unlock()
	c <- f
}

func (p *pool) goroutine(f func()) {
	c := make(chan func(), 1)
	for {
		p.call(f)
		p.mu.Lock()
		if !p.keep {
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, c)
		p.mu.Unlock()
		if f = <-c; f == nil {
			return
		}
	}
}

// call survives nothing: user code that ends its goroutine ends this one, and
// only the count is kept right.
func (p *pool) call(f func()) {
	defer p.work.Done()
	f()
}

// trim ends the goroutines that have not been needed since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle[:min(p.least, len(p.idle))] {
		c <- nil
	}
	p.idle = append(p.idle[:0], p.idle[min(p.least, len(p.idle)):]...)
	p.least = len(p.idle)
}

// close ends the goroutines that are idle, and the others when they are done.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = false
	for _, c := range p.idle {
		c <- nil
	}
	p.idle = nil
}
