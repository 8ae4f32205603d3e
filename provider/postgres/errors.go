package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/durango-go/durango/provider"
)

// advice is what each kind of failure means to the person who reads about it.
var advice = map[error]string{
	provider.ErrTransient: "the server was busy or out of reach; trying again may help",
	provider.ErrFull:      "free some space on the server's disk",
	provider.ErrReadOnly:  "connect to the primary, with target_session_attrs=read-write if the connection string names several hosts",
	provider.ErrCorrupt:   "the server reports damage; restore a backup",
	provider.ErrTooLarge:  "store large values elsewhere",
}

// errRace is what an insert meets that came too late: somebody else made the
// same row after the group had looked for it. The next look sees it.
var errRace = fmt.Errorf("%w: somebody else was faster", provider.ErrTransient)

// fail wraps an error for the operation op: with the store, the kind of
// failure in the contract's terms, and what to do.
func (s *Store) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if s.closed.Load() && !errors.Is(err, provider.ErrUnknownOutcome) {
		return s.closedError(op)
	}
	if errors.Is(err, provider.ErrUnknownOutcome) { // which is not "nothing was applied"
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", err, ctx.Err())
		}
		return fmt.Errorf("postgres: %s: %s: %w", op, s.name, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("postgres: %s: %s: %w", op, s.name, ctx.Err())
	}
	kind := classify(err)
	if kind == nil || errors.Is(err, kind) {
		return fmt.Errorf("postgres: %s: %s: %w", op, s.name, err)
	}
	return fmt.Errorf("postgres: %s: %s: %w: %w; %s", op, s.name, kind, err, advice[kind])
}

// classify says which of the contract's failures an error is, or nil. Codes:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func classify(err error) error {
	if errors.Is(err, errApart) {
		return nil
	}
	for _, kind := range []error{
		provider.ErrUnknownOutcome, provider.ErrTransient, provider.ErrNodeGone, provider.ErrClosed,
		provider.ErrSchemaNewer, provider.ErrSchemaOlder, provider.ErrSchemaDown, provider.ErrInvalid, provider.ErrCorrupt,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return provider.ErrTransient // the network, or a server that is starting
	}
	switch pe.Code {
	case "40003", "08007":
		return provider.ErrUnknownOutcome // the server itself does not know
	case "40001", // serialization failure
		"40P01", // deadlock
		"55P03", // lock timeout
		"57014", // statement canceled
		"0A000", // a prepared statement from before a change of the schema
		"25P02", // a transaction that had failed before
		"25P03", // idle in transaction for too long
		"25P04": // transaction timeout
		return provider.ErrTransient
	case "53100":
		return provider.ErrFull
	case "25006":
		return provider.ErrReadOnly
	case "22021", "22P05": // text that is not UTF-8, or with NUL
		return provider.ErrInvalid
	case "XX001", "XX002":
		return provider.ErrCorrupt
	}
	switch pe.Code[:min(2, len(pe.Code))] {
	case "08", // connection
		"53", // too many connections, out of memory
		"57": // the server is shut down or restarted
		return provider.ErrTransient
	case "54":
		return provider.ErrTooLarge
	}
	return nil
}

// race reports whether an error says that a row exists that did not when the
// transaction looked: an instance was made meanwhile.
func race(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23505" && (pe.TableName == "ids" || pe.TableName == "instances")
}

// answered reports whether an error comes from the server.
func answered(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe)
}

// betweenServers reports whether an error is about a connection. A server has
// no use for such an answer to a statement; a pooler, or whatever else stands
// before it, gives it.
func betweenServers(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && strings.HasPrefix(pe.Code, "08")
}

// fatal reports whether the connection has ended, by the server or otherwise.
func fatal(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return true
	}
	severity := pe.SeverityUnlocalized
	if severity == "" {
		severity = pe.Severity
	}
	return severity != "ERROR"
}

// wholesale reports whether a failure concerns the store and not one item, so
// that trying the others of a group is pointless.
func wholesale(err error) bool {
	switch classify(err) {
	case nil, provider.ErrTooLarge, provider.ErrInvalid:
		return false
	}
	return true
}

// transient reports whether nothing was applied and trying again may help.
func transient(err error) bool { return classify(err) == provider.ErrTransient }

// waited reports whether the failed statement has waited for long already, so
// that the caller should hear of it now.
func waited(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "55P03" || pe.Code == "57014")
}

const maxName = 1000

// valid reports whether text can be an ID or a name.
func valid(text string) bool {
	return text != "" && validOrEmpty(text)
}

func validOrEmpty(text string) bool {
	return len(text) <= maxName && clean(text) == text
}

// clean makes text storable that is only for people.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
}
