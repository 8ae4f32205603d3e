package postgres

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/pgtest"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/providertest"
)

// server is the connection string of the server under test: one of our own,
// or that of DURANGO_TEST_POSTGRES.
var server string

// ours is nil when the server is somebody else's.
var ours *pgtest.Server

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if server = os.Getenv("DURANGO_TEST_POSTGRES"); server != "" {
		return m.Run()
	}
	s, err := pgtest.Start()
	if err != nil {
		log.Print(err)
		return 1
	}
	ours, server = s, s.SocketString()
	defer func() {
		if err := s.Stop(); err != nil {
			log.Print(err)
		}
	}()
	return m.Run()
}

var schemas atomic.Int64

// newSchema returns the name of a new schema, which needs quotes. On somebody
// else's server it is dropped after the test.
func newSchema(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf(`Test "%d" of schema.%d`, os.Getpid(), schemas.Add(1))
	if ours != nil {
		return name
	}
	tb.Cleanup(func() {
		ctx := context.Background()
		c, err := pgx.Connect(ctx, server)
		must(tb, err)
		defer c.Close(ctx)
		_, err = c.Exec(ctx, "SET client_min_messages = error; DROP SCHEMA IF EXISTS "+pgx.Identifier{name}.Sanitize()+" CASCADE")
		must(tb, err)
	})
	return name
}

// open opens a store in a fresh schema.
func open(tb testing.TB, options Options) *Store {
	tb.Helper()
	options.Schema = newSchema(tb)
	return openAt(tb, server, options)
}

func openAt(tb testing.TB, connString string, options Options) *Store {
	tb.Helper()
	s, err := Open(context.Background(), connString, options)
	must(tb, err)
	tb.Cleanup(func() { s.Close() })
	return s
}

// must stops the test at an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func conformance(connString func() string, options Options) providertest.Config {
	return providertest.Config{
		Open: func(tb testing.TB) provider.Provider {
			o := options
			o.Schema = newSchema(tb)
			return openAt(tb, connString(), o)
		},
		Again: func(tb testing.TB, p provider.Provider) provider.Provider {
			return openAt(tb, connString(), p.(*Store).options)
		},
	}
}

func TestConformance(t *testing.T) {
	// The cases make thousands of small commits: what they check does not
	// depend on flushing each.
	conformance(func() string { return server }, Options{NoSync: true}).Run(t)
}
