package sqlite

import (
	"context"
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"
)

// pool lends connections that read. They are opened when first needed.
type pool struct {
	open func() (*conn, error)
	// slots holds a connection, or nil for one not yet opened, per reader.
	slots   chan *conn
	size    int
	closing sync.Once
	closed  chan struct{}
}

func newPool(size int, open func() (*conn, error)) *pool {
	p := &pool{open: open, slots: make(chan *conn, size), size: size, closed: make(chan struct{})}
	for range size {
		p.slots <- nil
	}
	return p
}

// get returns a connection, or nil when the pool has been closed.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case <-p.closed:
		return nil, nil
	default:
	}
	var c *conn
	select {
	case c = <-p.slots:
	default:
		select {
		case c = <-p.slots:
		case <-p.closed:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if c == nil {
		var err error
		if c, err = p.open(); err != nil {
			p.slots <- nil
			return nil, err
		}
	}
	return c, nil
}

func (p *pool) put(c *conn) { p.slots <- c }

// close waits for the connections lent and closes them all.
func (p *pool) close() {
	p.closing.Do(func() {
		close(p.closed)
		for range p.size {
			if c := <-p.slots; c != nil {
				c.Close() // it only read: nothing can be lost
			}
		}
	})
}

// read runs f on one snapshot of the store. Rows that f returns must be
// copies.
func (s *Store) read(ctx context.Context, op string, f func(c *conn) error) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	if s.readers == nil {
		return s.w.submit(ctx, op, &request{n: 1, run: func(w *writer, _ int) error {
			if err := w.flush(); err != nil {
				return err
			}
			return f(w.c)
		}})
	}
	c, err := s.readers.get(ctx)
	if err != nil {
		return s.fail(op, err)
	}
	if c == nil {
		return s.closedError(op)
	}
	defer func() {
		s.counts.reads.Add(1)
		s.counts.readStatements.Add(c.steps)
		c.steps = 0
		s.readers.put(c)
	}()
	return s.fail(op, snapshot(c, f))
}

// readOut is read for what leaves the store: what f returns is durable.
func (s *Store) readOut(ctx context.Context, op string, f func(c *conn) error) error {
	if err := s.read(ctx, op, f); err != nil {
		return err
	}
	return s.settle(op)
}

// settle makes durable what has been read.
func (s *Store) settle(op string) error {
	if s.flusher == nil {
		return nil
	}
	return s.fail(op, s.flusher.settle())
}

// snapshot runs f in a read transaction.
func snapshot(c *conn, f func(c *conn) error) error {
	if err := c.exec(qBeginRead); err != nil {
		return err
	}
	err := f(c)
	if err != nil {
		for _, st := range c.stmts {
			st.Reset() // an error left it where it was; a transaction cannot end before
		}
	}
	if eerr := c.exec(qCommit); err == nil && eerr != nil {
		return fmt.Errorf("end of reading: %w", eerr)
	}
	return err
}

// interruptible lets ctx stop what runs on c, for reads that may be long.
func interruptible(ctx context.Context, c *conn, f func(c *conn) error) error {
	c.SetInterrupt(ctx.Done())
	defer c.SetInterrupt(nil)
	err := f(c)
	if err != nil && sqlite.ErrCode(err) == sqlite.ResultInterrupt && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
