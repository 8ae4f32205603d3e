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

// schemes are the kinds of stores that --store may name, by what stands before
// the colon.
var schemes = map[string]func(rest string, m mode) (provider.Provider, error){
	"sqlite":     openSQLite,
	"postgres":   openPostgres,
	"postgresql": openPostgres,
}

// openStore opens the store at a URL, or at the one in the environment.
func openStore(name string, m mode) (provider.Provider, error) {
	if name == "" {
		name = os.Getenv(storeEnv)
	}
	if name == "" {
		return nil, Usagef("no store: pass --store sqlite:PATH or --store postgres://…, or set %s", storeEnv)
	}
	scheme, rest, ok := strings.Cut(name, ":")
	open := schemes[scheme]
	switch {
	case open == nil && strings.Contains(scheme, "="): // may be libpq's other form, and have a password
		return nil, Usagef("the store is not named by a URL; write sqlite:PATH or postgres://USER@HOST/DATABASE")
	case !ok:
		return nil, Usagef("store %q has no scheme; write sqlite:%s", name, name)
	case open == nil:
		return nil, Usagef("store: unknown scheme %q; this program knows %s", scheme, strings.Join(schemeNames(), ", "))
	case rest == "":
		return nil, Usagef("store %q: nothing follows the scheme; write %s:PATH", name, scheme)
	}
	store, err := open(rest, m)
	if err != nil {
		return nil, &storeError{err}
	}
	return store, nil
}

func schemeNames() (names []string) {
	for name := range schemes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// openSQLite never makes a file that was not asked for: a mistyped path would
// show as an empty store instead of an error.
func openSQLite(path string, m mode) (provider.Provider, error) {
	if path == ":memory:" {
		return nil, errors.New("a store in memory is gone when the command ends; name a file")
	}
	if file, _, _ := strings.Cut(strings.TrimPrefix(path, "file:"), "?"); m != creating {
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%s does not exist; start a worker that uses it, make it with 'start --create', or pass another --store", file)
		case err != nil:
			return nil, fmt.Errorf("open the store: %w", err)
		case info.IsDir():
			return nil, fmt.Errorf("%s is a directory; name the file of the store", file)
		}
	}
	store, err := sqlite.OpenWith(path, sqlite.Options{ReadOnly: m == reading})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// openPostgres opens a schema of a database. The URL is one as
// https://www.postgresql.org/docs/current/libpq-connect.html describes it;
// its parameter durango_schema names the schema if that is not "durango".
func openPostgres(rest string, m mode) (provider.Provider, error) {
	u, err := url.Parse("postgres:" + rest)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read; write postgres://USER@HOST/DATABASE")
	}
	o := postgres.Options{Migrate: postgres.Verify}
	if m == creating {
		o.Migrate = postgres.Apply
	}
	q := u.Query()
	o.Schema = q.Get("durango_schema")
	q.Del("durango_schema")
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	store, err := postgres.Open(ctx, u.String(), o)
	if err != nil {
		return nil, err
	}
	return store, nil
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
