package sqlite

import "sync/atomic"

// Counters are totals since the store was opened, for tests and benchmarks.
type Counters struct {
	// Transactions and Statements are those of the writer, BEGIN, COMMIT and
	// the look at the file's version among the statements; Groups the
	// transactions that did the work of more than one request, Items what was
	// asked for in batches, Commits the turns among them.
	Transactions, Statements, Groups, Items, Commits int64
	// Reads are transactions of connections that only read; ReadStatements
	// the statements in them, BEGIN and COMMIT included, and the looks for
	// changes by other processes. A store in memory reads through its writer.
	Reads, ReadStatements int64
}

// Counters returns the totals. It costs a few atomic reads.
func (s *Store) Counters() Counters {
	c := &s.counts
	return Counters{
		Transactions: c.transactions.Load(), Statements: c.statements.Load(), Groups: c.groups.Load(),
		Items: c.items.Load(), Commits: c.commits.Load(), Reads: c.reads.Load(), ReadStatements: c.readStatements.Load(),
	}
}

type counts struct {
	transactions, statements, groups, items, commits, reads, readStatements atomic.Int64
}
