package sqlite

import (
	"fmt"
	"os"
	"sync"

	"github.com/gofrs/flock"

	"github.com/durango-go/durango/provider"
)

// nodeLocks are the lock files of the nodes that joined through one store. The
// operating system releases a lock when its process ends, however that
// happens, so whoever can take it knows that the node is gone.
type nodeLocks struct {
	mu   sync.Mutex
	held map[provider.NodeKey]*flock.Flock
}

func lockPath(file string, node provider.NodeKey) string {
	return fmt.Sprintf("%s-node-%016x", file, int64(node))
}

// heldHere are the nodes of this process, whatever store they joined through.
// On systems whose locks belong to the process instead of the descriptor,
// asking for a lock held here would succeed, and closing the descriptor that
// asked would lose it.
var heldHere sync.Map // lock path -> struct{}

// take makes and locks the file of a node.
func (l *nodeLocks) take(file string, node provider.NodeKey) error {
	path := lockPath(file, node)
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil || !ok {
		return fmt.Errorf("lock file %s: cannot be locked: %w", path, orErr(err, provider.ErrTransient))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[provider.NodeKey]*flock.Flock{}
	}
	l.held[node] = lock
	heldHere.Store(path, struct{}{})
	return nil
}

func orErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// gone reports whether the process of a node has ended: its file is there and
// nobody holds the lock. A file that is missing proves nothing.
func (l *nodeLocks) gone(file string, node provider.NodeKey) bool {
	path := lockPath(file, node)
	if _, here := heldHere.Load(path); here {
		return false
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR)) // without O_CREATE
	ok, err := lock.TryLock()
	if err != nil {
		return false
	}
	lock.Close() // also releases it
	return ok
}

// release gives up a lock held here, with its file.
func (l *nodeLocks) release(node provider.NodeKey) {
	l.mu.Lock()
	lock := l.held[node]
	delete(l.held, node)
	l.mu.Unlock()
	if lock == nil {
		return
	}
	heldHere.Delete(lock.Path())
	lock.Close() // first, because some systems do not remove what is open
	os.Remove(lock.Path())
}

// remove deletes the lock file of a node that has been buried. If it was a
// node of this process, the lock is released.
func (l *nodeLocks) remove(file string, node provider.NodeKey) {
	l.mu.Lock()
	_, here := l.held[node]
	l.mu.Unlock()
	if here {
		l.release(node)
		return
	}
	os.Remove(lockPath(file, node)) // its holder, if it lives, has no use for it
}

// releaseAll releases the locks of nodes that have not left when the store is
// closed. Their files stay, so that others see that they are gone.
func (l *nodeLocks) releaseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, lock := range l.held {
		heldHere.Delete(lock.Path())
		lock.Close()
		delete(l.held, node)
	}
}
