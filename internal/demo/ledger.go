package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// What a line of the ledger records.
const (
	begun    = "begun"    // a request has come
	effect   = "effect"   // and was done
	repeated = "repeated" // and had been done before, under the same key
	answered = "answered" // and its answer is on the way
)

// entry is one line of the ledger: what the outside world saw. It is written
// by the services, which know nothing of durango but the idempotency keys that
// their callers hand them.
type entry struct {
	Time    time.Time `json:"time"`
	Worker  int       `json:"worker"` // the process that asked
	Call    int64     `json:"call"`   // numbers the requests of one process
	What    string    `json:"what"`
	Service string    `json:"service"`
	Action  string    `json:"action"`
	Order   string    `json:"order"`
	Key     string    `json:"key,omitempty"`
	Cents   int64     `json:"cents,omitempty"`
	SKUs    []line    `json:"skus,omitempty"`
	Result  string    `json:"result,omitempty"`
}

type line struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// ledger is the append-only file.
type ledger struct {
	mu sync.Mutex
	f  *os.File
}

// openLedger opens the file for appending and returns what it has. A last line
// that a crash cut off was never acted upon, and is removed.
func openLedger(path string) (*ledger, []entry, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("open ledger: %w", err)
	}
	if whole := bytes.LastIndexByte(b, '\n') + 1; whole < len(b) {
		if err := os.Truncate(path, int64(whole)); err != nil {
			return nil, nil, fmt.Errorf("open ledger: %w", err)
		}
		b = b[:whole]
	}
	entries, err := parseLedger(b)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger: %w", err)
	}
	return &ledger{f: f}, entries, nil
}

// append writes a line. An effect is on disk when append returns; the others
// only have to survive the process.
func (l *ledger) append(e entry) error {
	e.Time = time.Now().UTC()
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if e.What != effect {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

func (l *ledger) close() error { return l.f.Close() }

// readLedger reads the whole file. Every line must be whole.
func readLedger(path string) ([]entry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return parseLedger(b)
}

func parseLedger(b []byte) ([]entry, error) {
	var entries []entry
	for n, text := range bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) {
		if len(b) == 0 {
			break
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, fmt.Errorf("ledger, line %d: %w", n+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// tail follows a growing ledger.
type tail struct {
	path   string
	offset int64
}

// next returns the whole lines written since the last call.
func (t *tail) next() ([]entry, error) {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("follow ledger: %w", err)
	}
	defer f.Close() // opened for reading
	b, err := io.ReadAll(io.NewSectionReader(f, t.offset, 1<<40))
	if err != nil {
		return nil, fmt.Errorf("follow ledger: %w", err)
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	t.offset += int64(len(b))
	return parseLedger(b)
}
