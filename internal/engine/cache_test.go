package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
)

// What has waited for long leaves memory if it is quickly rebuilt, and goes on
// as if it had been there.
func TestWhatWaitsForLongLeavesMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		code := func(m *replay.Machine, started *history.Event) history.Event {
			out := awaitSignals(m, "steps", 1)
			for i := range len(out) {
				out, _ = call(m, "echo", fmt.Sprint(i))
			}
			return completed(out + awaitSignals(m, "n", 1))
		}
		n := start(t, store, Options{IdleRelease: time.Second}, codeMap{"o": code}, actMap{"echo": echo})
		n.waitMember(t)
		short, long := begin(t, n.Client(), "o", "short", nil), begin(t, n.Client(), "o", "long", nil)
		signal(t, n.Client(), "short", "steps", "1")
		signal(t, n.Client(), "long", "steps", strings.Repeat("1", longHistory/2))
		until(t, "the end of the steps", func() bool { return rowOf(t, store, long).NextTurn > longHistory/2 })

		time.Sleep(hotPatience * time.Second / 2)
		synctest.Wait()
		assert.Equal(t, n.Metrics().Hot, int64(2), "released, and kept")
		time.Sleep(hotPatience * time.Second)
		synctest.Wait()
		assert.Equal(t, n.Metrics().Hot, int64(1), "the long history is kept")
		assert.Equal(t, n.Metrics().Owned, int64(1))
		rebuilt := n.Metrics().Rebuilds
		signal(t, n.Client(), "short", "n", "!")
		signal(t, n.Client(), "long", "n", "!")
		assert.Equal(t, string(within(t, time.Second, store, short).Payload), "0!")
		assert.Equal(t, string(within(t, time.Second, store, long).Payload), fmt.Sprint(longHistory/2-1, "!"))
		assert.Equal(t, n.Metrics().Rebuilds, rebuilt+1)
	})
}
