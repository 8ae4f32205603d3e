package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// is checks an error's kind, and that it tells the file.
func is(t *testing.T, err, want error, path string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	} else if !strings.Contains(err.Error(), path) {
		t.Errorf("%q does not name the file", err)
	}
}

func TestOpenRefusesWhatIsNotAStore(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	must(t, os.WriteFile(text, bytes.Repeat([]byte("this is not a database\n"), 1000), 0o666))
	_, err := Open(text)
	is(t, err, provider.ErrCorrupt, text)

	foreign := filepath.Join(dir, "foreign.db")
	c, err := sqlite.OpenConn(foreign, sqlite.OpenReadWrite|sqlite.OpenCreate)
	must(t, err)
	must(t, executeAll(c, "CREATE TABLE t (x); PRAGMA application_id = 7"))
	must(t, c.Close())
	before, err := os.ReadFile(foreign)
	must(t, err)
	_, err = Open(foreign)
	is(t, err, provider.ErrCorrupt, foreign)
	if after, err := os.ReadFile(foreign); err != nil || !bytes.Equal(before, after) {
		t.Errorf("another application's file was changed (%v)", err)
	}

	missing := filepath.Join(dir, "no", "such", "directory.db")
	_, err = Open(missing)
	is(t, err, provider.ErrReadOnly, missing)
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	s := open(t, Options{})
	must(t, raw(t, s).pragma("user_version = 99"))
	must(t, s.Close())
	_, err := Open(s.name)
	is(t, err, provider.ErrSchemaNewer, s.name)
	if text := fmt.Sprint(err); !strings.Contains(text, "99") || !strings.Contains(text, "up to 3") {
		t.Errorf("%q does not name both versions", text)
	}
}

// damaged makes a store with some turns and closes it.
func damaged(t *testing.T, damage func(content []byte) []byte) string {
	t.Helper()
	s := open(t, Options{})
	node := join(t, s)
	for i := range 50 {
		c := turn(create(t, s, node, fmt.Sprint(i)), 1)
		c.Turn.Events = make([]byte, 1000)
		must(t, commit(t, s, node, c))
	}
	must(t, s.Close())
	content, err := os.ReadFile(s.name)
	must(t, err)
	must(t, os.WriteFile(s.name, damage(content), 0o666))
	return s.name
}

func TestDamageIsReported(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"overwritten": func(b []byte) []byte {
			for i := 8192; i < len(b); i++ {
				b[i] = 0x5a
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := damaged(t, damage)
			s, err := Open(path)
			if err != nil {
				is(t, err, provider.ErrCorrupt, path)
				return
			}
			defer s.Close()
			_, err = s.Stats(t.Context())
			is(t, err, provider.ErrCorrupt, path)
			node, err := s.Join(t.Context(), provider.NodeInfo{})
			if err == nil {
				_, err = s.Create(t.Context(), node, []provider.NewInstance{{Key: provider.NewKey(), ID: "49a", Name: "flow", Owned: true}})
			}
			if err != nil {
				is(t, err, provider.ErrCorrupt, path)
			}
		})
	}
}

func TestAFullDiskLosesNothingAcknowledged(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	must(t, commit(t, s, node, turn(key, 1)))
	// The limit on pages makes SQLite behave as on a full disk.
	pages, err := s.w.c.pragmaInt("page_count")
	must(t, err)
	must(t, s.w.c.pragma(fmt.Sprintf("max_page_count = %d", pages+5)))
	c := turn(key, 2)
	c.Turn.Events = make([]byte, 1<<20)
	is(t, commit(t, s, node, c), provider.ErrFull, s.name)

	turns, err := s.Turns(t.Context(), key, 1, 0)
	must(t, err)
	if len(turns) != 1 {
		t.Errorf("%d turns after a commit that failed", len(turns))
	}
	must(t, s.w.c.pragma("max_page_count = 1000000"))
	must(t, commit(t, s, node, c)) // nothing was applied, so it is still next
}

func TestALockHeldTooLongIsTransient(t *testing.T) {
	s := open(t, Options{BusyTimeout: 20 * time.Millisecond})
	node := join(t, s)
	key := create(t, s, node, "a")
	other := raw(t, s)
	must(t, executeAll(other.Conn, "BEGIN EXCLUSIVE"))
	is(t, commit(t, s, node, turn(key, 1)), provider.ErrTransient, s.name)
	if _, err := s.Get(t.Context(), provider.Target{Key: key}); err != nil {
		t.Errorf("a reader waits for a writer: %v", err)
	}
	must(t, executeAll(other.Conn, "COMMIT"))
	must(t, commit(t, s, node, turn(key, 1)))
}

func TestReadOnlyIsReported(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	must(t, s.Close())

	_, err := Open("file:" + s.name + "?mode=ro")
	is(t, err, provider.ErrReadOnly, s.name)

	r := openAt(t, s.name, Options{ReadOnly: true})
	in, err := r.Get(t.Context(), provider.Target{Key: key})
	if err != nil || in.ID != "a" {
		t.Errorf("reading: %v, %v", in, err)
	}
	is(t, commit(t, r, node, turn(key, 1)), provider.ErrReadOnly, s.name)
	_, err = r.Join(t.Context(), provider.NodeInfo{})
	is(t, err, provider.ErrReadOnly, s.name)

	missing := filepath.Join(t.TempDir(), "missing.db")
	_, err = OpenWith(missing, Options{ReadOnly: true})
	if err == nil {
		t.Error("opened a missing file for reading")
	} else if _, serr := os.Stat(missing); serr == nil {
		t.Error("opening for reading made a file")
	}
}

func TestOptionsAreCheckedTogether(t *testing.T) {
	_, err := OpenWith(":memory:", Options{Synchronous: 9, BusyTimeout: -1, Readers: -1})
	if !errors.Is(err, provider.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"Synchronous", "BusyTimeout", "Readers"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %s", err, part)
		}
	}
}

func TestStoresInMemoryArePrivate(t *testing.T) {
	a, b := openAt(t, ":memory:", Options{}), openAt(t, ":memory:", Options{})
	key := create(t, a, 0, "a")
	if _, err := a.Get(t.Context(), provider.Target{Key: key}); err != nil {
		t.Error(err)
	}
	if _, err := b.Get(t.Context(), provider.Target{Key: key}); !errors.Is(err, provider.ErrNotFound) {
		t.Errorf("another store has it: %v", err)
	}
}

// An error of COMMIT itself must not claim that nothing was applied.
func TestAnUnknownOutcomeIsNotTransient(t *testing.T) {
	s := openAt(t, ":memory:", Options{})
	err := s.fail("commit", fmt.Errorf("%w: %w", provider.ErrUnknownOutcome, sqlite.ResultIOErrFsync.ToError()))
	is(t, err, provider.ErrUnknownOutcome, s.name)
	if errors.Is(err, provider.ErrTransient) {
		t.Errorf("%v is transient", err)
	}
	if err := s.fail("commit", sqlite.ResultIOErrFsync.ToError()); !errors.Is(err, provider.ErrTransient) {
		t.Errorf("%v is not transient", err)
	}
}

func TestMemoryIsNotOpenedAsAURI(t *testing.T) {
	for _, path := range []string{"file::memory:", "file:x?mode=memory&cache=shared"} {
		if _, err := Open(path); !errors.Is(err, provider.ErrInvalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
