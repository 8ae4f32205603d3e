package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/durango-go/durango/provider"
)

// trip is a list of statements that go to the server together and come back
// together. Without a Begin among them they are one transaction.
type trip struct {
	s     *Store
	batch pgx.Batch
	scans []func(pgx.Rows) error
	// last is the statement that failed, or none.
	last    statement
	ofGroup bool // for what is counted
}

func (s *Store) trip() *trip { return &trip{s: s, last: -1} }

// add appends a statement whose rows, if any, are left alone.
func (t *trip) add(q statement, args ...any) { t.each(q, nil, args...) }

// each appends a statement and calls scan for each of its rows.
func (t *trip) each(q statement, scan func(pgx.Rows) error, args ...any) {
	t.batch.Queue(t.s.queries[q], args...)
	t.scans = append(t.scans, scan)
}

// set appends the settings of a transaction on a connection that is lent.
func (t *trip) set() {
	if t.s.settings != "" {
		t.batch.Queue(t.s.settings)
		t.scans = append(t.scans, nil)
	}
}

// run makes the trip.
func (t *trip) run(ctx context.Context, c *pgx.Conn) (err error) {
	t.s.counts.trip(t.batch.Len(), t.ofGroup)
	br := c.SendBatch(ctx, &t.batch)
	done := 0
	for _, scan := range t.scans {
		if err = result(br, scan); err != nil {
			break
		}
		done++
	}
	if cerr := br.Close(); err == nil {
		err = cerr
	}
	if err != nil && done < len(t.scans) {
		q := t.batch.QueuedQueries[done].SQL
		for i, text := range t.s.queries {
			if text == q {
				t.last = statement(i)
				return fmt.Errorf("%s: %w", t.s.names[i], err)
			}
		}
	}
	return err
}

func result(br pgx.BatchResults, scan func(pgx.Rows) error) error {
	if scan == nil {
		_, err := br.Exec()
		return err
	}
	rows, err := br.Query()
	if err != nil {
		return err
	}
	for err == nil && rows.Next() {
		err = scan(rows)
	}
	rows.Close()
	return errors.Join(err, rows.Err())
}

// tx is a transaction: begin makes its first trip, commit its last.
type tx struct {
	s    *Store
	c    *pgxpool.Conn
	open bool
	// ofGroup is set for the transaction of a group.
	ofGroup bool
}

// begin makes a trip that starts with Begin.
func (x *tx) begin(ctx context.Context, fill func(*trip)) error {
	t := x.s.trip()
	t.add(qBegin)
	t.set()
	fill(t)
	x.open = true
	return x.run(ctx, t)
}

func (x *tx) run(ctx context.Context, t *trip) error {
	t.ofGroup = x.ofGroup
	return t.run(ctx, x.c.Conn())
}

// commit makes a trip that ends with Commit. If it fails without the server
// saying that it was not applied, nobody knows.
func (x *tx) commit(ctx context.Context, t *trip) error {
	t.add(qCommit)
	err := x.run(ctx, t)
	if err == nil {
		x.open = false
		return nil
	}
	if race(err) {
		return fmt.Errorf("%w: %w", errRace, err)
	}
	return x.s.resolve(t, err)
}

// resolve tells what the failure of a trip that ends a transaction means. An
// error of the server at any statement before the end rolled it back; so did
// one at the end itself, unless the server took the connection with it. But a
// pooler that loses the server says so after the last answer that reached it,
// whatever the server has executed since.
func (s *Store) resolve(t *trip, err error) error {
	if pgconn.SafeToRetry(err) {
		return err // nothing was sent
	}
	atEnd := t.last == qCommit || t.last < 0
	lost := fatal(err) && (atEnd || !answered(err) || s.pooled || betweenServers(err))
	if lost || classify(err) == provider.ErrUnknownOutcome {
		return fmt.Errorf("%w: %w", provider.ErrUnknownOutcome, err)
	}
	return err
}

// How often something is tried that failed for a reason that may have passed.
const (
	attempts   = 6
	firstPause = 2 * time.Millisecond
	// rollbackPatience bounds the wait for a connection to become usable
	// again; after it the connection is closed, which has the same effect.
	rollbackPatience = time.Second
	// patience bounds a call: a server that has vanished does not say so, and
	// the system would wait for its answer for a quarter of an hour.
	patience = 30 * time.Second
)

// transact runs f in transactions until one does not fail for a passing
// reason. It returns errors as they come; the caller wraps them.
func (s *Store) transact(ctx context.Context, f func(ctx context.Context, x *tx) error) error {
	return s.retry(ctx, func() error { return s.once(ctx, f) })
}

// retry calls f until it does not fail for a passing reason, or often enough.
func (s *Store) retry(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if err == nil || n == attempts || !transient(err) || waited(err) || ctx.Err() != nil || s.closed.Load() {
			return err
		}
		// Those who met take different times to meet again.
		pause := time.NewTimer(rand.N(firstPause << n))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-s.closing:
			pause.Stop()
			return err
		}
	}
}

func (s *Store) once(ctx context.Context, f func(ctx context.Context, x *tx) error) error {
	c, err := s.writers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	x := &tx{s: s, c: c}
	err = f(ctx, x)
	if x.open && !c.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
		defer cancel()
		t := s.trip()
		t.add(qRollback)
		_ = t.run(ctx, c.Conn()) // if it fails, the pool closes the connection
	}
	return err
}

// write makes one trip that is a transaction of its own.
func (s *Store) write(ctx context.Context, op string, fill func(*trip)) error {
	return s.patiently(ctx, op, s.writers, func(ctx context.Context, c *pgx.Conn) error {
		t := s.trip()
		t.set()
		fill(t)
		if err := t.run(ctx, c); err != nil {
			return s.resolve(t, err)
		}
		return nil
	})
}

// read makes trips that change nothing, again if they fail for a passing
// reason. f must bear being called again.
func (s *Store) read(ctx context.Context, op string, f func(run func(*trip) error) error) error {
	return s.patiently(ctx, op, s.readers, func(ctx context.Context, c *pgx.Conn) error {
		return f(func(t *trip) error { return t.run(ctx, c) })
	})
}

// patiently calls f with a connection, again if that fails for a passing
// reason, for as long as a call may take.
func (s *Store) patiently(ctx context.Context, op string, pool *pgxpool.Pool, f func(context.Context, *pgx.Conn) error) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.retry(patient, func() error {
		c, err := pool.Acquire(patient)
		if err != nil {
			return err
		}
		defer c.Release()
		return f(patient, c.Conn())
	})
	s.distrust(ctx, patient)
	return s.fail(ctx, op, err)
}

// distrust gives up all connections there are after a call that was given all
// the time there is: they may lead to the same silence.
func (s *Store) distrust(caller, call context.Context) {
	if caller.Err() == nil && errors.Is(call.Err(), context.DeadlineExceeded) {
		s.readers.Reset()
		s.writers.Reset()
	}
}
