package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

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
	assert.Equal(t, value(t, c, "SELECT value FROM "+pgx.Identifier{schema, "meta"}.Sanitize()+" WHERE name = 'version'"), int64(len(scripts())))
	assert.Equal(t, value(t, c, "SELECT count(*) FROM "+pgx.Identifier{schema, "instances"}.Sanitize()), int64(10))
}

func TestSchemaNewer(t *testing.T) {
	s := open(t, Options{})
	execute(t, raw(t), in(s, "UPDATE schema.meta SET value = 99 WHERE name = 'version'"))
	for _, how := range []Migration{Apply, Verify} {
		_, err := Open(t.Context(), server, Options{Schema: s.options.Schema, Migrate: how})
		assert.ErrorIs(t, err, provider.ErrSchemaNewer)
		assert.ErrorContains(t, err, "it has version 99", fmt.Sprintf("this program works with %d; upgrade the program", len(scripts())))
	}
	_, err := Migrate(t.Context(), server, Options{Schema: s.options.Schema}, 0)
	assert.ErrorIs(t, err, provider.ErrSchemaNewer)
	schema, err := SchemaOf(t.Context(), server, Options{Schema: s.options.Schema})
	must(t, err)
	assert.Equal(t, schema, provider.Schema{Version: 99, Min: len(scripts()), Max: len(scripts())})
}

// another gives the program one more migration for the length of a test. It
// returns its version.
func another(t *testing.T) int {
	t.Helper()
	all := fstest.MapFS{}
	for _, m := range scripts() {
		text, err := fs.ReadFile(migrations, "migrations/"+m.Name)
		must(t, err)
		all["migrations/"+m.Name] = &fstest.MapFile{Data: text}
	}
	version := len(all) + 1
	all[fmt.Sprintf("migrations/%04d.sql", version)] = &fstest.MapFile{Data: []byte(
		// It counts how often it is applied.
		"INSERT INTO schema.meta (shard, name, value) VALUES (0, 'applied', 1) ON CONFLICT (shard, name) DO UPDATE SET value = meta.value + 1;\n" +
			"CREATE TABLE IF NOT EXISTS schema.more (shard integer NOT NULL, PRIMARY KEY (shard));\nINSERT INTO schema.more (shard) VALUES (7) ON CONFLICT (shard) DO NOTHING;\n")}
	before := migrations
	migrations = all
	t.Cleanup(func() { migrations = before })
	return version
}

// The number of a migration is in the name of its file, and is its place.
func TestMigrationsAreNumbered(t *testing.T) {
	assert.True(t, len(scripts()) >= 1, "there is one at least")
	for i, m := range scripts() {
		assert.Equal(t, m, provider.Migration{Version: i + 1, Name: fmt.Sprintf("%04d.sql", i+1)})
	}
}

// Migrate goes up to exactly the version that is asked for, any number of
// times, and never down.
func TestMigrateTo(t *testing.T) {
	ctx, newest := t.Context(), another(t)
	o := Options{Schema: newSchema(t)}
	version := func() int {
		schema, err := SchemaOf(ctx, server, o)
		must(t, err)
		assert.Equal(t, len(schema.Migrations), newest-schema.Version)
		return schema.Version
	}
	assert.Equal(t, version(), 0)
	assert.Equal(t, value(t, raw(t), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", o.Schema), int64(0), "nothing is made")
	_, err := Migrate(ctx, server, o, newest+1)
	assert.ErrorIs(t, err, provider.ErrInvalid)
	for _, want := range []int{newest - 1, 0} {
		done, err := Migrate(ctx, server, o, newest-1)
		must(t, err)
		assert.Equal(t, len(done), want)
		assert.Equal(t, version(), newest-1)
	}
	verify := o
	verify.Migrate = Verify
	_, err = Open(ctx, server, verify)
	assert.ErrorIs(t, err, provider.ErrSchemaOlder)
	assert.False(t, errors.Is(err, provider.ErrTransient), "trying again does not help: %v", err)
	assert.ErrorContains(t, err, fmt.Sprintf("it has version %d", newest-1), fmt.Sprintf("durango migrate --to %d", newest))
	assert.Equal(t, version(), newest-1)

	done, err := Migrate(ctx, server, o, 0)
	must(t, err)
	assert.Equal(t, done, scripts()[newest-1:])
	s := openAt(t, server, verify)
	assert.Equal(t, s.SchemaVersion(), newest)
	create(t, s, 0, "a")
	_, err = Migrate(ctx, server, o, newest-1)
	assert.ErrorIs(t, err, provider.ErrSchemaDown)
	assert.False(t, errors.Is(err, provider.ErrTransient), "trying again does not help: %v", err)
	assert.Equal(t, version(), newest)
	_, err = s.Get(ctx, provider.Target{ID: "a"})
	must(t, err)
}

// A program that is opened at an older schema brings it to its own version, once,
// also if ten do so, and what was there stays.
func TestTenMigrateAnOlderSchemaAtOnce(t *testing.T) {
	s := open(t, Options{})
	create(t, s, 0, "a")
	newest := another(t)
	done := make([][]provider.Migration, 5)
	errs := make([]error, 10)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			if i < len(done) {
				done[i], errs[i] = Migrate(context.Background(), server, Options{Schema: s.options.Schema}, newest)
				return
			}
			again, err := Open(context.Background(), server, Options{Schema: s.options.Schema})
			if errs[i] = err; err == nil {
				errs[i] = again.Close()
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	assert.True(t, len(slices.Concat(done...)) <= 1, "applied once")
	assert.Equal(t, value(t, raw(t), in(s, "SELECT value FROM schema.meta WHERE name = 'applied'")), int64(1))
	_, err := s.Get(t.Context(), provider.Target{ID: "a"})
	must(t, err)

	// The store that was open all the time says that it is behind.
	all, err := s.Examine(t.Context())
	must(t, err)
	found := false
	for _, y := range all {
		found = found || y.Name == "schema" && y.Severity == provider.Sick && strings.Contains(y.Text, "since this program opened it with version")
	}
	assert.True(t, found, "%v", all)
}

// A migration that fails leaves the schema as it was.
func TestAMigrationThatFailsLeavesNothing(t *testing.T) {
	s := open(t, Options{})
	newest := another(t)
	execute(t, raw(t), in(s, "CREATE TABLE schema.more (in_the_way integer)"))
	_, err := Migrate(t.Context(), server, Options{Schema: s.options.Schema}, 0)
	assert.ErrorContains(t, err, fmt.Sprintf("%04d.sql", newest))
	schema, err := SchemaOf(t.Context(), server, Options{Schema: s.options.Schema})
	must(t, err)
	assert.Equal(t, schema.Version, newest-1)
}

func TestVerifyChangesNothing(t *testing.T) {
	schema := newSchema(t)
	_, err := Open(t.Context(), server, Options{Schema: schema, Migrate: Verify})
	assert.ErrorIs(t, err, provider.ErrSchemaOlder)
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
