package bench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// needStore skips a test for which there is no PostgreSQL.
func needStore(t *testing.T, store string) {
	t.Helper()
	if !onPostgres(store) || os.Getenv(serverVariable) != "" {
		return
	}
	if _, err := connString(); err != nil {
		if strings.Contains(err.Error(), "install PostgreSQL") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
}

// TestPeers runs every peer on a chain and on a fan-out, on both stores, with a
// few instances; that each call had all its results is checked where it is made.
func TestPeers(t *testing.T) {
	s := tinySizes
	s.InFlight, s.Hello, s.FanOut, s.Width = []int{4}, nil, []int{2}, 20
	s.Window = 300 * time.Millisecond
	t.Run("each", func(t *testing.T) {
		for _, b := range plan(peerWorkloads, []string{"sqlite", "postgres"}, peerNames(), s) {
			if b.peer == nil || b.cannot != "" {
				continue
			}
			t.Run(b.id(), func(t *testing.T) {
				needStore(t, b.store)
				t.Parallel()
				sample, err := b.measure(t.Context(), s, t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				if sample.rate() <= 0 || sample.CPU <= 0 {
					t.Errorf("rate %v, CPU %v", sample.rate(), sample.CPU)
				}
				if len(sample.Notes) > 0 {
					t.Errorf("notes: %q", sample.Notes)
				}
			})
		}
	})
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers { // the report gives the version by this name
		if !strings.Contains(string(mod), "\t"+p.Module+" v") {
			t.Errorf("%s: go.mod has no module %s", p.Name, p.Module)
		}
	}
}

// TestPeerDurability: what the report calls FULL and NORMAL is what a connection
// of a peer to SQLite has.
func TestPeerDurability(t *testing.T) {
	for store, want := range map[string]int{"sqlite": 2, "sqlite-normal": 1} {
		db, err := Place{Store: store, File: filepath.Join(t.TempDir(), "peer.db")}.openSQLite()
		if err != nil {
			t.Fatal(err)
		}
		var synchronous int
		var journal string
		err = errors.Join(db.QueryRow("PRAGMA synchronous").Scan(&synchronous), db.QueryRow("PRAGMA journal_mode").Scan(&journal), db.Close())
		if err != nil || synchronous != want || journal != "wal" {
			t.Errorf("%s: synchronous %d, not %d; journal %s; %v", store, synchronous, want, journal, err)
		}
	}
}

// TestPeerFailures: what goes wrong in the process of a peer is an error here.
func TestPeerFailures(t *testing.T) {
	failing := func(workload string, p *Peer) string {
		t.Helper()
		s := tinySizes
		s.Timeout = 10 * time.Second
		_, err := (&benchmark{workload: workload, peer: p, run: func(e *env) (*Sample, error) {
			e.store = "sqlite"
			return runPeer(e, p, workload, 1)
		}}).measure(t.Context(), s, t.TempDir())
		if err == nil {
			t.Fatal("no error")
		}
		return err.Error()
	}
	if got := failing("seq", &Peer{Name: "nobody"}); !strings.Contains(got, `no peer "nobody"`) {
		t.Error(got)
	}
	if got := failing("idle", dbosPeer); !strings.Contains(got, `no workload "idle"`) {
		t.Error(got)
	}
	if err := checked(4, nil)(5); err == nil || !strings.Contains(err.Error(), "4 results of 5") {
		t.Error(err)
	}
}
