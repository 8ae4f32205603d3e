package main

import (
	"github.com/durango-go/durango/provider/postgres"
	"github.com/durango-go/durango/provider/sqlite"
)

// Counts is what the writer of a store did.
type Counts struct {
	// Transactions are those that wrote, Statements the statements in them
	// (zero where they are not counted), Commits the turns written; on
	// PostgreSQL everything that was asked for in batches.
	Transactions, Statements, Commits int64
}

func (c Counts) minus(d Counts) Counts {
	return Counts{c.Transactions - d.Transactions, c.Statements - d.Statements, c.Commits - d.Commits}
}

func sqliteCounts(s *sqlite.Store) func() Counts {
	return func() Counts {
		c := s.Counters()
		return Counts{c.Transactions, c.Statements, c.Commits}
	}
}

func postgresCounts(s *postgres.Store) func() Counts {
	return func() Counts {
		c := s.Counters()
		return Counts{Transactions: c.Transactions, Commits: c.Items}
	}
}
