package durango_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/codec/sealed"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// What a client's codec can open is readable; the rest is as it is recorded.
func TestReadable(t *testing.T) {
	store := memory.Open()
	ctx := deadline(t)
	codec := sealedCodec(t, "k1")
	poor := durango.NewError[int]("too-poor")
	stage := durango.NewValue[string]("stage")
	status := map[string]int{"step": 3}
	buy := durango.DefineOrchestration("buy", func(ctx *durango.Context, item string) (durango.None, error) {
		if err := errors.Join(ctx.SetStatus(status), stage.Set(ctx, "paying")); err != nil {
			return durango.None{}, err
		}
		return durango.None{}, errors.Join(poor.New(7, "not enough"), errors.New("for "+item))
	})
	rt, stop := runWith(t, store, durango.Options{Codec: codec}, buy)
	run, err := buy.Start(ctx, rt.Client(), "b", "tea")
	assert.NoError(t, err)
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, poor)
	stop()

	row, err := store.Get(ctx, provider.Target{ID: "b"})
	assert.NoError(t, err)
	turns, err := store.Turns(ctx, row.Key, 1, 0)
	assert.NoError(t, err)
	events := func(c *durango.Client) (text string) {
		for _, turn := range turns {
			deliveries, commands, err := history.DecodeTurn(turn.Events)
			assert.NoError(t, err)
			for _, e := range append(deliveries, commands...) {
				e = c.Readable(e)
				text += e.String() + "\n"
			}
		}
		return text
	}
	other, err := sealed.New(nil, sealed.Key{ID: "other", Secret: bytes.Repeat([]byte("x"), sealed.KeySize)})
	assert.NoError(t, err)
	stored := events(nil)
	for _, c := range []*durango.Client{durango.NewClient(store), durango.NewClientWith(store, durango.ClientOptions{Codec: other})} {
		assert.Equal(t, events(c), stored, "another codec")
		assert.Equal(t, c.ReadableValue(row.CustomStatus), row.CustomStatus)
	}
	own := rt.Client().For(store)
	for _, c := range []*durango.Client{rt.Client(), own} {
		assert.Contains(t, events(c), `input="tea"`, `status={"step":3}`, `value="paying"`,
			`{too-poor "not enough" detail=7`, `"for tea"`)
		assert.Equal(t, string(c.ReadableValue(row.CustomStatus)), `{"step":3}`)
		assert.Equal(t, len(c.ReadableValue(nil)), 0)
	}
	assert.Equal(t, events(nil), stored, "what was read has not been changed")

	// What continues as new is carried, in the form in which it was.
	inner, err := codec.Encode(&status)
	assert.NoError(t, err)
	e := history.Event{Kind: history.Started, Carried: []history.Event{{Kind: history.ValueCarried, Name: "v", Payload: inner}}}
	assert.Equal(t, string(own.Readable(e).Carried[0].Payload), `{"step":3}`)
	assert.Equal(t, e.Carried[0].Payload, inner)

	// A client of another store has codec and interceptors.
	elsewhere := memory.Open()
	_, err = buy.Start(ctx, rt.Client().For(elsewhere), "b", "tea")
	assert.NoError(t, err)
	_, _ = runWith(t, elsewhere, durango.Options{Codec: codec}, buy)
	_, err = buy.Run(own.For(elsewhere), "b").Wait(ctx)
	assert.ErrorIs(t, err, poor)
	assert.True(t, (*durango.Client)(nil).For(store).Store() == store, "a nil client has the default codec")
}
