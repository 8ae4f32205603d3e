package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"
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
	"sqlite": openSQLite,
}

// openStore opens the store at a URL, or at the one in the environment.
func openStore(url string, m mode) (provider.Provider, error) {
	if url == "" {
		url = os.Getenv(storeEnv)
	}
	if url == "" {
		return nil, Usagef("no store: pass --store sqlite:PATH or set %s", storeEnv)
	}
	scheme, rest, ok := strings.Cut(url, ":")
	open := schemes[scheme]
	switch {
	case !ok:
		return nil, Usagef("store %q has no scheme; write sqlite:%s", url, url)
	case open == nil:
		return nil, Usagef("store %q: unknown scheme %q; this program knows %s", url, scheme, strings.Join(schemeNames(), ", "))
	case rest == "":
		return nil, Usagef("store %q: nothing follows the scheme; write %s:PATH", url, scheme)
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

// runtimeStore returns the store that a runtime was made with, if there is one.
func runtimeStore(rt *durango.Runtime) provider.Provider {
	if rt == nil {
		return nil
	}
	return rt.Store()
}
