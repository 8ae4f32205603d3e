package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// DESIGN 5: "replies are kept for a stated time for retrying clients": for a day,
// whatever else is answered meanwhile, and not for ever.
func TestRepliesAreKeptForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		n := start(t, store, Options{}, codeMap{"desk": desk}, actMap{"echo": echo})
		target := begin(t, n.Client(), "desk", "d", nil)
		ask := func(id string) string {
			request := history.Event{Kind: history.UpdateRequested, Name: "add", Text: id, Payload: []byte(id)}
			f, err := n.Client().Request(t.Context(), provider.Message{To: target, ID: id, Payload: history.AppendMessage(nil, &request)}, id)
			assert.NoError(t, err)
			ev, err := history.DecodeMessage(f.Payload)
			assert.NoError(t, err)
			return string(ev.Payload)
		}
		kept := func(id string) bool {
			f, err := store.Lookup(t.Context(), []provider.Lookup{{To: target, Kind: provider.LookupReply, Name: id}})
			assert.NoError(t, err)
			return f[0].Found
		}
		assert.Equal(t, ask("first"), "1")
		time.Sleep(23 * time.Hour)
		assert.Equal(t, ask("second"), "2")
		assert.True(t, kept("first"), "the answer of 23 hours ago is gone")
		assert.Equal(t, ask("first"), "1", "asked again")
		time.Sleep(2 * time.Hour)
		assert.Equal(t, ask("third"), "3")
		assert.False(t, kept("first"), "the answer of 25 hours ago is still there")
		assert.True(t, kept("second"), "the answer of 2 hours ago is gone")
	})
}
