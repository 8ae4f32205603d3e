package postgres

import "sync/atomic"

// Counters are totals since the store was opened, for tests and benchmarks. A
// trip is one exchange of messages with the server, however many statements it
// carries; BEGIN and COMMIT are statements.
type Counters struct {
	// Transactions are the committed ones of groups, Items what was asked for
	// in batches: turns, starts, messages, finished tasks.
	Transactions, Items int64
	// GroupTrips and GroupStatements are what groups took, also those that
	// failed and were tried again.
	GroupTrips, GroupStatements int64
	// Trips and Statements are those of groups and of everything else: claims,
	// reads, heartbeats, rollbacks, notifications. What opens a connection, or
	// changes the schema, is not counted.
	Trips, Statements int64
}

// Counters returns the totals. It costs a few atomic reads.
func (s *Store) Counters() Counters {
	c := &s.counts
	return Counters{Transactions: c.transactions.Load(), Items: c.items.Load(), GroupTrips: c.groupTrips.Load(),
		GroupStatements: c.groupStatements.Load(), Trips: c.trips.Load(), Statements: c.statements.Load()}
}

type counts struct {
	transactions, items, groupTrips, groupStatements, trips, statements atomic.Int64
}

// trip counts one with so many statements.
func (c *counts) trip(statements int, ofGroup bool) {
	c.trips.Add(1)
	c.statements.Add(int64(statements))
	if ofGroup {
		c.groupTrips.Add(1)
		c.groupStatements.Add(int64(statements))
	}
}
