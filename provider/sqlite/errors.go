package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// advice is what each kind of failure means to the contract and to the person
// who reads about it.
var advice = map[error]string{
	provider.ErrTransient: "another process holds the lock or the device failed; trying again may help",
	provider.ErrFull:      "free some space on the disk, or raise the file's limit",
	provider.ErrReadOnly:  "make the file and its directory writable, or open it with ReadOnly",
	provider.ErrCorrupt:   "keep a copy and restore a backup, or try the recover command of the sqlite3 shell",
	provider.ErrTooLarge:  "store large values elsewhere",
}

// fail wraps an error of SQLite for the operation op: with the file, the kind
// of failure in the contract's terms, and what to do.
func (s *Store) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := classify(err)
	if kind == nil || errors.Is(err, provider.ErrUnknownOutcome) { // which is not "nothing was applied"
		return fmt.Errorf("sqlite: %s: %s: %w", op, s.name, err)
	}
	return fmt.Errorf("sqlite: %s: %s: %w: %w; %s", op, s.name, kind, err, advice[kind])
}

// classify says which of the contract's failures an error of SQLite is, or
// nil. Section numbers: https://www.sqlite.org/rescode.html
func classify(err error) error {
	code := sqlite.ErrCode(err)
	switch code.ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultProtocol, sqlite.ResultNoMem:
		return provider.ErrTransient
	case sqlite.ResultIOErr:
		if code == sqlite.ResultIOErrShortRead {
			return provider.ErrCorrupt
		}
		return provider.ErrTransient
	case sqlite.ResultFull:
		return provider.ErrFull
	case sqlite.ResultReadOnly, sqlite.ResultPerm, sqlite.ResultCantOpen:
		return provider.ErrReadOnly
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return provider.ErrCorrupt
	case sqlite.ResultTooBig:
		return provider.ErrTooLarge
	}
	return nil
}

// wholesale reports whether a failure concerns the store and not one request,
// so that trying the rest of a group is pointless.
func wholesale(err error) bool {
	kind := classify(err)
	return kind != nil && !errors.Is(kind, provider.ErrTooLarge) || errors.Is(err, provider.ErrUnknownOutcome)
}
