package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/postgres"
	"github.com/durango-go/durango/provider/sqlite"
)

// mode is what a command wants to do with the store.
type mode int

const (
	reading  mode = iota // the store must exist and is not written
	writing              // the store must exist
	creating             // the store is made if it does not exist
)

// storeEnv names the environment variable that stands in for --store.
const storeEnv = "DURANGO_STORE"

// scheme is a kind of store that --store may name, with what is done with what
// stands behind the colon.
type scheme struct {
	open    func(rest string, m mode) (provider.Provider, error)
	schema  func(ctx context.Context, rest string) (provider.Schema, error)
	migrate func(ctx context.Context, rest string, to int) ([]provider.Migration, error)
}

// schemes are the kinds of stores, by what stands before the colon.
var schemes = map[string]scheme{
	"sqlite":     {openSQLite, schemaOfSQLite, migrateSQLite},
	"postgres":   {openPostgres, schemaOfPostgres, migratePostgres},
	"postgresql": {openPostgres, schemaOfPostgres, migratePostgres},
}

// openStore opens the store at a URL, or at the one in the environment.
func openStore(name string, m mode) (provider.Provider, error) {
	_, kind, rest, err := findStore(name)
	if err != nil {
		return nil, err
	}
	store, err := kind.open(rest, m)
	if err != nil {
		return nil, &storeError{err}
	}
	return store, nil
}

// findStore returns which kind of store a URL names, or the one in the
// environment, and what of the URL is for that.
func findStore(name string) (word string, kind scheme, rest string, err error) {
	if name == "" {
		name = os.Getenv(storeEnv)
	}
	if name == "" {
		return "", kind, "", Usagef("no store: pass --store sqlite:PATH or --store postgres://…, or set %s", storeEnv)
	}
	word, rest, ok := strings.Cut(name, ":")
	kind, known := schemes[word]
	switch {
	case !known && strings.Contains(word, "="): // may be libpq's other form, and have a password
		err = Usagef("the store is not named by a URL; write sqlite:PATH or postgres://USER@HOST/DATABASE")
	case !ok:
		err = Usagef("store %q has no scheme; write sqlite:%s", name, name)
	case !known:
		err = Usagef("store: unknown scheme %q; this program knows %s", word, strings.Join(schemeNames(), ", "))
	case rest == "":
		err = Usagef("store %q: nothing follows the scheme; write %s:PATH", name, word)
	}
	return word, kind, rest, err
}

func schemeNames() (names []string) {
	for name := range schemes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// errInMemory says that a store would be gone when the command ends.
var errInMemory = errors.New("a store in memory is gone when the command ends; name a file")

// existsSQLite fails where there is no file: a mistyped path would show as an
// empty store instead of an error.
func existsSQLite(path string) error {
	if path == ":memory:" {
		return errInMemory
	}
	file, _, _ := strings.Cut(strings.TrimPrefix(path, "file:"), "?")
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist; start a worker that uses it, make it with 'start --create', or pass another --store", file)
	case err != nil:
		return fmt.Errorf("open the store: %w", err)
	case info.IsDir():
		return fmt.Errorf("%s is a directory; name the file of the store", file)
	}
	return nil
}

// openSQLite makes no file that was not asked for.
func openSQLite(path string, m mode) (provider.Provider, error) {
	if path == ":memory:" {
		return nil, errInMemory
	}
	if m != creating {
		if err := existsSQLite(path); err != nil {
			return nil, err
		}
	}
	store, err := sqlite.OpenWith(path, sqlite.Options{ReadOnly: m == reading})
	if err != nil {
		return nil, err
	}
	return store, nil
}

func schemaOfSQLite(_ context.Context, path string) (provider.Schema, error) {
	if err := existsSQLite(path); err != nil {
		return provider.Schema{}, err
	}
	return sqlite.SchemaOf(path)
}

func migrateSQLite(_ context.Context, path string, to int) ([]provider.Migration, error) {
	if path == ":memory:" {
		return nil, errInMemory
	}
	return sqlite.Migrate(path, to)
}

// readPostgres reads the URL of a schema of a database. It is one as
// https://www.postgresql.org/docs/current/libpq-connect.html describes it;
// its parameter durango_schema names the schema if that is not "durango".
func readPostgres(rest string) (connString string, o postgres.Options, err error) {
	u, err := url.Parse("postgres:" + rest)
	if err != nil {
		return "", o, errors.New("the URL of the database cannot be read; write postgres://USER@HOST/DATABASE")
	}
	q := u.Query()
	o.Schema = q.Get("durango_schema")
	q.Del("durango_schema")
	u.RawQuery = q.Encode()
	return u.String(), o, nil
}

func openPostgres(rest string, m mode) (provider.Provider, error) {
	connString, o, err := readPostgres(rest)
	if err != nil {
		return nil, err
	}
	if m != creating {
		o.Migrate = postgres.Verify
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	store, err := postgres.Open(ctx, connString, o)
	if err != nil {
		return nil, err
	}
	return store, nil
}

func schemaOfPostgres(ctx context.Context, rest string) (provider.Schema, error) {
	connString, o, err := readPostgres(rest)
	if err != nil {
		return provider.Schema{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return postgres.SchemaOf(ctx, connString, o)
}

func migratePostgres(ctx context.Context, rest string, to int) ([]provider.Migration, error) {
	connString, o, err := readPostgres(rest)
	if err != nil {
		return nil, err
	}
	return postgres.Migrate(ctx, connString, o, to)
}

// connectTimeout bounds the wait for a server that does not answer.
const connectTimeout = 30 * time.Second

// runtimeStore returns the store that a runtime was made with, if there is one.
func runtimeStore(rt *durango.Runtime) provider.Provider {
	if rt == nil {
		return nil
	}
	return rt.Store()
}
