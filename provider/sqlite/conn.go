package sqlite

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"
)

//go:embed statements.sql
var statementsSQL string

// statement numbers a statement of statements.sql.
type statement int

// The statements, in the order of statements.sql.
const (
	qBegin statement = iota
	qBeginRead
	qCommit
	qRollback
	qDataVersion
	qNodeInsert
	qNodeGet
	qNodeBeat
	qNodeDead
	qNodeDelete
	qNodeList
	qDefinitionGet
	qDefinitionName
	qDefinitionInsert
	qDefinitionOpen
	qKindGet
	qKindName
	qKindInsert
	qInstanceGet
	qInstanceKey
	qInstanceStatus
	qInstanceOutcome
	qInstanceInsert
	qCursorInsert
	qCursorUpdate
	qInstanceState
	qInstanceOwner
	qInstanceClose
	qInstanceDefinition
	qCursorDelete
	qInstanceDelete
	qInstanceOwned
	qInstanceDue
	qInstanceNextDue
	qInstanceMail
	qNotesGet
	qNotesStatus
	qNotesFailure
	qNotesDelete
	qValueSet
	qValueRemove
	qValueGet
	qValueList
	qValueClear
	qReplyInsert
	qReplyGet
	qReplyDrop
	qReplyClear
	qHistoryInsert
	qHistoryLink
	qHistoryGet
	qHistoryStretch
	qHistoryDelete
	qHistoryCount
	qMessageInsert
	qMessageList
	qMessageAnswers
	qMessageConsume
	qMessageCount
	qMessageIdGet
	qMessageIdInsert
	qMessageIdDelete
	qTaskInsert
	qTaskState
	qTaskGet
	qTaskList
	qTaskCommands
	qTaskExpired
	qTaskNextExpiry
	qTaskDue
	qTaskNextDue
	qTaskHeld
	qTaskHold
	qTaskRelease
	qTaskDetails
	qTaskDelete
	qTaskClear
	qTaskStats
	qSessionGet
	qSessionCount
	qSessionOpen
	qSessionUse
	qSessionClose
	qSessionList
	qSessionIdle
	qSessionMove
	qSessionTaskInsert
	qSessionTaskDelete
	qSessionTaskClear
	qStatusStats
	qListRecent
	qListRare
	qListChildren
	qListIds
	qListWaiting
	qBlobGet
	qBlobContent
	qBlobInsert
	qBlobContentInsert
	qBlobTouch
	qBlobDelete
	qBlobContentDelete
	qBlobPage
	qBlobList
	qBlobUsed
	qBlobRefInsert
	qBlobRefLeave
	qBlobRefClear

	statements
)

// queries holds the text of each statement; names is for errors and tests.
var queries, names = parseStatements(statementsSQL)

// parseStatements splits text at its "-- name:" lines. Their order must be
// that of the constants, which a test compares.
func parseStatements(text string) (queries, names []string) {
	var body []string
	flush := func() {
		if len(names) > 0 {
			queries = append(queries, strings.TrimSpace(strings.Join(body, "\n")))
		}
		body = body[:0]
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "-- name: "); ok {
			flush()
			names = append(names, strings.TrimSpace(name))
		} else if !strings.HasPrefix(line, "--") {
			body = append(body, strings.TrimRight(line, "\n"))
		}
	}
	flush()
	return queries, names
}

// conn is a connection with every statement prepared, found by number: the
// driver's own cache looks statements up by their text.
type conn struct {
	*sqlite.Conn
	stmts [statements]*sqlite.Stmt
	// reader is set for a connection of the pool, which sees only what has
	// been committed.
	reader bool
	// steps counts executed statements; wrote is set by those that may change the
	// file.
	steps int64
	wrote bool
}

// changes tells which statements may change the file.
var changes = func() (c [statements]bool) {
	for i, q := range queries {
		c[i] = !strings.HasPrefix(q, "SELECT") && !slices.Contains([]string{"BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "PRAGMA data_version"}, q)
	}
	return c
}()

// prepare prepares every statement. The schema must be in place.
func (c *conn) prepare() error {
	for i, q := range queries {
		s, err := c.Conn.Prepare(q)
		if err != nil {
			return fmt.Errorf("statement %s: %w", names[i], err)
		}
		c.stmts[i] = s
	}
	return nil
}

// query binds integers to the first parameters of a statement and returns it.
// The caller binds the rest, steps through the rows and resets it.
func (c *conn) query(q statement, args ...int64) *sqlite.Stmt {
	s := c.stmts[q]
	for i, a := range args {
		s.BindInt64(i+1, a)
	}
	c.steps++
	c.wrote = c.wrote || changes[q]
	return s
}

// run executes a bound statement that returns no rows.
func run(s *sqlite.Stmt) error {
	if _, err := s.Step(); err != nil {
		return err
	}
	return s.Reset()
}

// exec executes a statement that has only integers to bind.
func (c *conn) exec(q statement, args ...int64) error { return run(c.query(q, args...)) }

// row executes a bound statement for its first row; scan, if there is one,
// must take what it needs.
func row(s *sqlite.Stmt, scan func(*sqlite.Stmt)) (found bool, err error) {
	found, err = s.Step()
	if err != nil {
		return false, err
	}
	if found {
		scan(s)
	}
	return found, s.Reset()
}

// rows executes a bound statement and calls scan for each row until it
// returns false.
func rows(s *sqlite.Stmt, scan func(*sqlite.Stmt) bool) error {
	for {
		found, err := s.Step()
		if err != nil {
			return err
		}
		if !found || !scan(s) {
			return s.Reset()
		}
	}
}

// largeValue is the size from which a bound value is released as soon as its
// statement has run instead of when the next one is bound.
const largeValue = 64 << 10

// bindBytes binds b, NULL when it is nil.
func bindBytes(s *sqlite.Stmt, param int, b []byte) {
	if b == nil {
		s.BindNull(param)
		return
	}
	s.BindBytes(param, b)
}

func bindText(s *sqlite.Stmt, param int, t string) {
	if t == "" {
		s.BindNull(param)
		return
	}
	s.BindText(param, t)
}

// columnBytes copies a column's value; nil for NULL.
func columnBytes(s *sqlite.Stmt, col int) []byte {
	n := s.ColumnLen(col)
	if n == 0 && s.ColumnIsNull(col) {
		return nil
	}
	b := make([]byte, n)
	s.ColumnBytes(col, b)
	return b
}
