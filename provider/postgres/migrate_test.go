package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// Migrations started by ten processes at once succeed once.
func TestTenMigrateAtOnce(t *testing.T) {
	schema := newSchema(t)
	stores := make([]*Store, 10)
	errs := make([]error, len(stores))
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			stores[i], errs[i] = Open(context.Background(), server, Options{Schema: schema})
		})
	}
	wg.Wait()
	for i, s := range stores {
		must(t, errs[i])
		create(t, s, join(t, s), string(rune('a'+i)))
		must(t, s.Close())
	}
	c := raw(t)
	assert.Equal(t, value(t, c, "SELECT value FROM "+pgx.Identifier{schema, "meta"}.Sanitize()+" WHERE name = 'version'"), int64(2))
	assert.Equal(t, value(t, c, "SELECT count(*) FROM "+pgx.Identifier{schema, "instances"}.Sanitize()), int64(10))
}

func TestSchemaNewer(t *testing.T) {
	s := open(t, Options{})
	execute(t, raw(t), in(s, "UPDATE schema.meta SET value = 99 WHERE name = 'version'"))
	for _, how := range []Migration{Apply, Verify} {
		_, err := Open(t.Context(), server, Options{Schema: s.options.Schema, Migrate: how})
		assert.True(t, errors.Is(err, provider.ErrSchemaNewer), "%v", err)
	}
}

func TestVerifyChangesNothing(t *testing.T) {
	schema := newSchema(t)
	_, err := Open(t.Context(), server, Options{Schema: schema, Migrate: Verify})
	assert.True(t, errors.Is(err, provider.ErrInvalid), "%v", err)
	assert.Equal(t, value(t, raw(t), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema), int64(0))
	openAt(t, server, Options{Schema: schema})
	openAt(t, server, Options{Schema: schema, Migrate: Verify})
}

// The number of shards is fixed when the schema is made.
func TestShardsStay(t *testing.T) {
	s := open(t, Options{Shards: 3})
	key := create(t, s, 0, "a")
	_, err := Open(t.Context(), server, Options{Schema: s.options.Schema, Shards: 4})
	assert.True(t, errors.Is(err, provider.ErrInvalid), "%v", err)
	again := openAt(t, server, Options{Schema: s.options.Schema})
	got, err := again.Get(t.Context(), provider.Target{ID: "a"})
	must(t, err)
	assert.Equal(t, got.Key, key)
}

// A database may have no encoding, as one that was made without a locale has;
// one of another than UTF-8 could not hold every ID.
func TestEncodings(t *testing.T) {
	if ours == nil {
		t.Skip("makes databases")
	}
	c, err := pgx.Connect(t.Context(), server)
	must(t, err)
	defer c.Close(t.Context())
	for encoding, fits := range map[string]bool{"SQL_ASCII": true, "LATIN1": false} {
		_, err := c.Exec(t.Context(), "CREATE DATABASE "+encoding+" ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
		must(t, err)
		for _, mode := range []string{"", "default_query_exec_mode=simple_protocol"} {
			s, err := Open(t.Context(), strings.Replace(server, "dbname=postgres", "dbname="+strings.ToLower(encoding), 1)+" "+mode,
				Options{Schema: newSchema(t), NoListen: true, NoSync: true})
			if !fits {
				assert.ErrorIs(t, err, provider.ErrInvalid)
				assert.ErrorContains(t, err, encoding)
				continue
			}
			must(t, err)
			useEverything(t, s)
			_, err = s.Create(t.Context(), 0, []provider.NewInstance{draft("Größe € 名前")})
			must(t, err)
			row, err := s.Get(t.Context(), provider.Target{ID: "Größe € 名前"})
			must(t, err)
			assert.Equal(t, row.ID, "Größe € 名前")
			must(t, s.Close())
		}
	}
}
