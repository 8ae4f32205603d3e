package provider_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/provider"
)

func TestNegotiate(t *testing.T) {
	for _, tc := range []struct {
		name          string
		engine, store provider.Range
		want          int
		upgrade       string // who must be upgraded, when there is no version
	}{
		{"same", provider.Range{Min: 1, Max: 1}, provider.Range{Min: 1, Max: 1}, 1, ""},
		{"highest common", provider.Range{Min: 1, Max: 3}, provider.Range{Min: 2, Max: 5}, 3, ""},
		{"store is older", provider.Range{Min: 1, Max: 3}, provider.Range{Min: 1, Max: 2}, 2, ""},
		{"engine inside", provider.Range{Min: 2, Max: 2}, provider.Range{Min: 1, Max: 9}, 2, ""},
		{"touching", provider.Range{Min: 3, Max: 4}, provider.Range{Min: 1, Max: 3}, 3, ""},
		{"store too old", provider.Range{Min: 3, Max: 4}, provider.Range{Min: 1, Max: 2}, 0, "upgrade the store's provider to one that speaks 4, or 3 at least"},
		{"store too new", provider.Range{Min: 1, Max: 2}, provider.Range{Min: 3, Max: 4}, 0, "upgrade durango to a version that speaks 3"},
		{"store that states nothing", provider.Range{Min: 1, Max: 1}, provider.Range{}, 0, "upgrade the store's provider to one that speaks 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := provider.Negotiate(tc.engine, tc.store)
			if got != tc.want {
				t.Errorf("got version %d, want %d", got, tc.want)
			}
			if tc.upgrade == "" {
				if err != nil {
					t.Errorf("unexpected error: %v", err)
				}
				return
			}
			var typed *provider.IncompatibleError
			if !errors.As(err, &typed) || typed.Engine != tc.engine || typed.Store != tc.store {
				t.Errorf("got error %#v, want one with both ranges", err)
			}
			if !errors.Is(err, provider.ErrIncompatible) || !strings.HasSuffix(err.Error(), tc.upgrade) {
				t.Errorf("got error %v, want ErrIncompatible that ends in %q", err, tc.upgrade)
			}
		})
	}
}

func TestSupportedIsARange(t *testing.T) {
	s := provider.Supported
	if s.Min < 1 || s.Min > s.Preferred || s.Preferred > s.Max || s.Max != provider.ContractVersion {
		t.Errorf("Supported is %+v, ContractVersion %d", s, provider.ContractVersion)
	}
}

func TestNewKeyIncreasesInOneProcess(t *testing.T) {
	const goroutines, each = 8, 2000
	made := make([][]provider.Key, goroutines)
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for range each {
				made[g] = append(made[g], provider.NewKey())
			}
		})
	}
	group.Wait()
	seen := map[provider.Key]bool{0: true}
	for _, keys := range made {
		last := provider.Key(0)
		for _, k := range keys {
			if k <= last {
				t.Fatalf("key %d follows %d", k, last)
			}
			if seen[k] {
				t.Fatalf("key %d was made twice, or is zero", k)
			}
			seen[k], last = true, k
		}
	}
}

// The dashboard and the stores order instances by key: keys of different
// processes must sort by the millisecond they were made in.
func TestNewKeyIsOrderedByTime(t *testing.T) {
	millis := func(k provider.Key) int64 { return int64(k) >> 20 }
	before := time.Now().UnixMilli()
	key := provider.NewKey()
	after := time.Now().UnixMilli()
	if m := millis(key); m < before || m > after+1 {
		t.Errorf("key says %d ms, the clock between %d and %d", m, before, after)
	}
	if provider.Key(provider.Never) < provider.NewKey() {
		t.Error("keys have reached the end of int64")
	}
}

func TestNewKeyDoesNotGoBackWithTheClock(t *testing.T) {
	now := provider.NewKey()
	// A bubble's clock starts in the year 2000.
	synctest.Test(t, func(t *testing.T) {
		if k := provider.NewKey(); k <= now {
			t.Errorf("key %d follows %d", k, now)
		}
	})
}

func TestNewNodeKey(t *testing.T) {
	seen := map[provider.NodeKey]bool{}
	for range 10_000 {
		k := provider.NewNodeKey()
		if k <= 0 || seen[k] {
			t.Fatalf("node key %d is not positive, or was made twice", k)
		}
		seen[k] = true
	}
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		status         provider.Status
		number         uint8
		name           string
		open, runnable bool
	}{
		{provider.Pending, 1, "Pending", true, true},
		{provider.Running, 2, "Running", true, true},
		{provider.Completed, 3, "Completed", false, false},
		{provider.Failed, 4, "Failed", false, false},
		{provider.Canceled, 5, "Canceled", false, false},
		{provider.Terminated, 6, "Terminated", false, false},
		{provider.Suspended, 7, "Suspended", true, false},
		{provider.Quarantined, 8, "Quarantined", true, false},
	} {
		if uint8(tc.status) != tc.number { // stored: it never changes
			t.Errorf("%s has number %d, want %d", tc.name, uint8(tc.status), tc.number)
		}
		if tc.status.String() != tc.name || provider.ParseStatus(tc.name) != tc.status {
			t.Errorf("%d: name %q, parsed back %d", tc.number, tc.status, provider.ParseStatus(tc.name))
		}
		if tc.status.Open() != tc.open || tc.status.Runnable() != tc.runnable {
			t.Errorf("%s: open %v, runnable %v", tc.name, tc.status.Open(), tc.status.Runnable())
		}
	}
	for _, name := range []string{"", "Unknown", "running", "RUNNING", "ContinuedAsNew", "Running "} {
		if s := provider.ParseStatus(name); s != 0 {
			t.Errorf("ParseStatus(%q) = %v, want 0", name, s)
		}
	}
	for _, s := range []provider.Status{0, 9, 255} {
		if s.Open() || s.Runnable() || s.String() != "Unknown" {
			t.Errorf("status %d: open %v, runnable %v, name %q", uint8(s), s.Open(), s.Runnable(), s)
		}
	}
}

// DESIGN 6: "for an unowned instance `max(not_before, unread mail ? now :
// due_at)`, for an owned one only "mail from outside has come"."
func TestComputeWakeAt(t *testing.T) {
	const now, past, future = 1000, 500, 2000
	type in = provider.Instance
	for _, tc := range []struct {
		name string
		in   in
		want int64
	}{
		{"new, with its start", in{Status: provider.Pending, MailboxSeq: 1}, now},
		{"sleeping for ever", in{Status: provider.Running, DueAt: provider.Never}, provider.Never},
		{"sleeping until", in{Status: provider.Running, DueAt: future}, future},
		{"overdue keeps its place", in{Status: provider.Running, DueAt: past}, past},
		{"mail before the due time", in{Status: provider.Running, DueAt: future, MailboxSeq: 3, ReadSeq: 2}, now},
		{"all mail read", in{Status: provider.Running, DueAt: future, MailboxSeq: 3, ReadSeq: 3}, future},
		{"backoff floors the due time", in{Status: provider.Running, DueAt: past, NotBefore: future}, future},
		{"backoff floors mail", in{Status: provider.Running, NotBefore: future, MailboxSeq: 1}, future},
		{"backoff that is over", in{Status: provider.Running, NotBefore: past, MailboxSeq: 1}, now},
		{"due after backoff", in{Status: provider.Running, DueAt: future + 5, NotBefore: future}, future + 5},
		{"owned, nothing new", in{Status: provider.Running, Owner: 7, DueAt: past}, provider.Never},
		{"owned, with mail", in{Status: provider.Running, Owner: 7, DueAt: provider.Never, MailboxSeq: 1}, now},
		{"owned, with mail, in spite of backoff", in{Status: provider.Running, Owner: 7, NotBefore: future, MailboxSeq: 1}, now},
		{"suspended", in{Status: provider.Suspended, MailboxSeq: 1}, provider.Never},
		{"quarantined", in{Status: provider.Quarantined, MailboxSeq: 1}, provider.Never},
		{"completed", in{Status: provider.Completed, DueAt: past}, provider.Never},
		{"no status", in{MailboxSeq: 1}, provider.Never},
	} {
		if got := tc.in.ComputeWakeAt(now); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

// CONTRACT, Tasks: "A task that is not held expires at what
// `NewTask.ComputeExpiresAt` says of its row."
func TestComputeExpiresAt(t *testing.T) {
	const never = provider.Never
	type in = provider.NewTask
	for _, tc := range []struct {
		name string
		in   in
		want int64
	}{
		{"no limits", in{VisibleAt: 100}, never},
		{"start within", in{VisibleAt: 100, StartWithin: 30}, 130},
		{"visible at once", in{StartWithin: 30}, 30},
		{"close by", in{VisibleAt: 100, CloseBy: 150}, 150},
		{"close before it is visible", in{VisibleAt: 100, CloseBy: 50}, 50},
		{"start is earlier", in{VisibleAt: 100, StartWithin: 30, CloseBy: 150}, 130},
		{"close is earlier", in{VisibleAt: 100, StartWithin: 70, CloseBy: 150}, 150},
		{"never visible", in{VisibleAt: never, StartWithin: 30}, never},
		{"never visible, but closed", in{VisibleAt: never, StartWithin: 30, CloseBy: 150}, 150},
		{"the sum is too large", in{VisibleAt: never - 30, StartWithin: 31}, never},
		{"the sum is just too large", in{VisibleAt: never - 30, StartWithin: 30}, never},
		{"the largest sum", in{VisibleAt: never - 31, StartWithin: 30}, never - 1},
		{"start within for ever", in{VisibleAt: 100, StartWithin: never}, never},
		{"parked", in{VisibleAt: 100, Parked: true}, 100},
		{"parked for ever", in{VisibleAt: never, Parked: true}, never},
		{"parked, whatever its limits", in{VisibleAt: 100, StartWithin: 30, CloseBy: 50, Parked: true}, 100},
	} {
		if got := tc.in.ComputeExpiresAt(); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestTaskRef(t *testing.T) {
	task := provider.Task{
		Instance: 1, InstanceID: "a", Execution: 2, NewTask: provider.NewTask{Command: 3, Attempt: 4}, Holder: 5,
	}
	if got, want := task.Ref(), (provider.TaskRef{Instance: 1, Execution: 2, Command: 3, Attempt: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestNotSupportedError(t *testing.T) {
	var err error = &provider.NotSupportedError{Feature: "Watch", Reason: "one process only"}
	var target *provider.NotSupportedError
	if !errors.As(err, &target) || err.Error() != "Watch is not supported: one process only" {
		t.Errorf("got %q", err)
	}
}
