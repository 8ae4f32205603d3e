package bench

import (
	"github.com/durango-go/durango/provider/postgres"
	"github.com/durango-go/durango/provider/sqlite"
)

// Counts is what a store did.
type Counts struct {
	// Transactions are those that wrote, Statements the statements in them,
	// Trips the exchanges with the server in them (zero where there is none),
	// Commits the turns written; on PostgreSQL everything that was asked for
	// in batches.
	Transactions, Statements, Trips, Commits int64
	// Queries are all statements, of reads, claims and heartbeats too.
	Queries int64
}

func (c Counts) minus(d Counts) Counts {
	return Counts{c.Transactions - d.Transactions, c.Statements - d.Statements, c.Trips - d.Trips, c.Commits - d.Commits,
		c.Queries - d.Queries}
}

func sqliteCounts(s *sqlite.Store) func() Counts {
	return func() Counts {
		c := s.Counters()
		return Counts{Transactions: c.Transactions, Statements: c.Statements, Commits: c.Commits, Queries: c.Statements + c.ReadStatements}
	}
}

func postgresCounts(s *postgres.Store) func() Counts {
	return func() Counts {
		c := s.Counters()
		return Counts{Transactions: c.Transactions, Statements: c.GroupStatements, Trips: c.GroupTrips, Commits: c.Items, Queries: c.Statements}
	}
}
