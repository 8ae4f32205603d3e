package durango_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

type parcel struct {
	Name  string
	Parts []durango.Blob          `json:",omitempty"`
	ByKey map[string]durango.Blob `json:",omitempty"`
	Any   any                     `json:",omitempty"`
	Inner *parcel                 `json:",omitempty"`
}

func content(name string, size int) []byte {
	return bytes.Repeat([]byte(name+"/"), size/len(name)+1)[:size]
}

// countingBlobs counts what is put and read.
type countingBlobs struct {
	mu         sync.Mutex
	puts, gets map[string]int
	kept       map[string][]byte
	fail       int // so many puts
}

func newCountingBlobs() *countingBlobs {
	return &countingBlobs{puts: map[string]int{}, gets: map[string]int{}, kept: map[string][]byte{}}
}

func (c *countingBlobs) Put(_ context.Context, address string, content []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail > 0 {
		c.fail--
		return fmt.Errorf("not now: %w", provider.ErrTransient)
	}
	c.puts[address]++
	c.kept[address] = bytes.Clone(content)
	return nil
}

func (c *countingBlobs) Get(_ context.Context, address string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets[address]++
	b, ok := c.kept[address]
	if !ok {
		return nil, durango.ErrBlobNotFound
	}
	return b, nil
}

func (c *countingBlobs) Sweep(ctx context.Context, s durango.BlobSweep) (swept durango.BlobSwept, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.kept {
		used, err := s.InUse(ctx, []string{a})
		if err != nil {
			return swept, err
		}
		if !used[0] {
			delete(c.kept, a)
			swept.Deleted++
		}
	}
	return swept, nil
}

// "durango.Blob offers the claim check: payloads above a threshold stored once,
// out of the history, behind an interface (same store by default)."
func TestBlobs(t *testing.T) {
	large, other, small := content("large", 1<<20), content("other", 200<<10), content("small", 100)
	letters := durango.NewSignal[parcel]("letters")
	ask := durango.NewUpdate[durango.Blob, durango.Blob]("ask")
	stage := durango.NewValue[durango.Blob]("stage")
	join := durango.DefineActivity("join", func(ctx context.Context, p parcel) (durango.Blob, error) {
		var all []byte
		for _, b := range p.Parts {
			part, err := b.Bytes(ctx)
			if err != nil {
				return durango.Blob{}, err
			}
			all = append(all, part...)
		}
		return durango.BlobOf(all), nil
	})
	child := durango.DefineOrchestration("child", func(ctx *durango.Context, p parcel) (durango.Blob, error) {
		return p.Inner.ByKey["k"], nil
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, p parcel) (parcel, error) {
		if _, err := p.Parts[0].Bytes(t.Context()); err == nil {
			return p, errors.New("an orchestration has read a blob")
		}
		ask.Handle(ctx, func(_ *durango.Context, b durango.Blob) (durango.Blob, error) { return b, nil })
		if err := stage.Set(ctx, p.Parts[0]); err != nil {
			return p, err
		}
		letter, err := letters.Next(ctx).Await(ctx)
		if err != nil {
			return p, err
		}
		letter.Parts = append(letter.Parts, p.Parts...)
		joined, err := join.Call(ctx, letter)
		if err != nil {
			return p, err
		}
		back, err := child.Call(ctx, parcel{Inner: &parcel{ByKey: map[string]durango.Blob{"k": joined}}})
		if err != nil {
			return p, err
		}
		recorded := durango.Record(ctx, func() durango.Blob { return durango.BlobOf(other) })
		return parcel{Name: "done", Parts: []durango.Blob{back, recorded}, Any: []any{back}}, nil
	})
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprint("own=", own), func(t *testing.T) {
			ctx := deadline(t)
			store := memory.Open()
			var o durango.Options
			counting := newCountingBlobs()
			if !own {
				o.Blobs.Store = counting
			}
			rt, stop := runWith(t, store, o, join, child, flow)
			client := durango.NewClientWith(store, durango.ClientOptions{Blobs: o.Blobs})
			run, err := flow.Start(ctx, client, "i", parcel{Parts: []durango.Blob{durango.BlobOf(large), durango.BlobOf(small), {}}})
			assert.NoError(t, err)
			answer, err := ask.Call(ctx, rt.Client(), "i", durango.BlobOf(other))
			assert.NoError(t, err)
			reads(t, answer, other)
			at, ok, err := stage.Read(ctx, client, "i")
			assert.True(t, ok && err == nil, "%v", err)
			reads(t, at, large)
			assert.NoError(t, letters.Send(ctx, client, "i", parcel{Parts: []durango.Blob{durango.BlobOf(other)}}))
			out, err := run.Wait(ctx)
			assert.NoError(t, err)
			want := append(append(bytes.Clone(other), large...), small...)
			reads(t, out.Parts[0], want)
			reads(t, out.Parts[1], other)
			stop()

			rows, err := store.Turns(ctx, keyOf(t, store, "i"), 1, 1000)
			assert.NoError(t, err)
			for _, row := range rows {
				assert.True(t, len(row.Events) < 16<<10, "turn %d has %d bytes", row.Number, len(row.Events))
				deliveries, commands, err := history.DecodeTurn(row.Events)
				assert.NoError(t, err)
				for _, e := range append(deliveries, commands...) {
					assert.Equal(t, len(e.Blobs) > 0, bytes.Contains(e.Payload, []byte(`"blob"`)) && e.Kind != history.ValueRecorded, "%v", &e)
				}
			}
			list, err := store.Blobs(ctx, provider.BlobAddress{}, 10)
			assert.NoError(t, err)
			if own {
				assert.Equal(t, len(list), 3)
			} else {
				assert.Equal(t, len(list), 0)
				assert.Equal(t, len(counting.kept), 3)
			}
			// A replay puts nothing again.
			puts := fmt.Sprint(counting.puts)
			warnings, err := rt.Replay(ctx, recorded(t, store, "i"))
			assert.NoError(t, err)
			assert.Equal(t, len(warnings), 0, "%v", warnings)
			assert.Equal(t, fmt.Sprint(counting.puts), puts)

			// They go with the last instance that refers to them, and a while.
			page, err := store.List(ctx, provider.Query{})
			assert.NoError(t, err)
			assert.Equal(t, len(page.Instances), 2) // the child as well
			for _, in := range page.Instances {
				sweep(t, store)
				reads(t, out.Parts[0], want)
				assert.NoError(t, store.Delete(ctx, provider.Target{Key: in.Key}, false))
			}
			if own {
				sweep(t, store)
				_, err = out.Parts[0].Bytes(ctx)
				assert.ErrorIs(t, err, durango.ErrBlobNotFound)
				assert.Equal(t, assert.ErrorAs[*durango.BlobError](t, err).Address != "", true)
			}
		})
	}
}

func reads(t *testing.T, b durango.Blob, want []byte) {
	t.Helper()
	got, err := b.Bytes(t.Context())
	assert.NoError(t, err)
	assert.True(t, bytes.Equal(got, want), "%d bytes, want %d", len(got), len(want))
	assert.Equal(t, b.Size(), int64(len(want)))
}

// sweep deletes whatever nobody refers to, however young.
func sweep(t *testing.T, store provider.BlobKeeper) {
	t.Helper()
	_, err := store.SweepBlobs(t.Context(), provider.BlobSweep{Limit: 1000})
	assert.NoError(t, err)
}

// A node sweeps by itself, and only what no instance refers to.
func TestNodesSweepBlobs(t *testing.T) {
	ctx := deadline(t)
	store := memory.Open()
	blobs := newCountingBlobs()
	assert.NoError(t, blobs.Put(ctx, strings.Repeat("ab", 32), []byte("nobody's")))
	echo := durango.DefineOrchestration("echo", func(_ *durango.Context, b durango.Blob) (durango.Blob, error) { return b, nil })
	rt, _ := runWith(t, store, durango.Options{Blobs: durango.BlobOptions{Store: blobs}}, echo)
	large := content("large", 100<<10)
	run, err := echo.Start(ctx, rt.Client(), "i", durango.BlobOf(large))
	assert.NoError(t, err)
	out, err := run.Wait(ctx)
	assert.NoError(t, err)
	assert.NoError(t, rt.SweepBlobs(ctx))
	reads(t, out, large)
	assert.Equal(t, len(blobs.kept), 1)
	assert.NoError(t, store.Delete(ctx, provider.Target{ID: "i"}, false))
	assert.NoError(t, rt.SweepBlobs(ctx))
	assert.Equal(t, len(blobs.kept), 0)
}

// Trouble of the blobs' store is nobody's failure: neither of a turn, nor of an
// activity, nor of a client.
func TestBlobStoreHasTrouble(t *testing.T) {
	ctx := deadline(t)
	blobs := newCountingBlobs()
	produce := durango.DefineActivity("make", func(ctx context.Context, _ durango.None) (durango.Blob, error) {
		blobs.mu.Lock()
		defer blobs.mu.Unlock()
		blobs.fail = 2
		return durango.BlobOf(content("activity", 100<<10)), nil
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, _ durango.Blob) (durango.Blob, error) {
		b, err := produce.Call(ctx, durango.None{})
		if err != nil || b.IsZero() {
			return b, fmt.Errorf("no blob: %w", err)
		}
		return durango.Record(ctx, func() durango.Blob {
			blobs.mu.Lock()
			defer blobs.mu.Unlock()
			blobs.fail = 2
			return durango.BlobOf(content("turn", 100<<10))
		}), nil
	})
	store := memory.Open()
	rt, _ := runWith(t, store, durango.Options{Blobs: durango.BlobOptions{Store: blobs}}, produce, flow)
	blobs.fail = 2
	run, err := flow.Start(ctx, rt.Client(), "i", durango.BlobOf(content("client", 100<<10)))
	assert.NoError(t, err)
	out, err := run.Wait(ctx)
	assert.NoError(t, err)
	reads(t, out, content("turn", 100<<10))
	assert.Equal(t, blobs.fail, 0)
}

// What is read is checked against its address.
func TestBlobsAreChecked(t *testing.T) {
	ctx := deadline(t)
	blobs := newCountingBlobs()
	read := durango.DefineActivity("read", func(ctx context.Context, b durango.Blob) (int, error) {
		content, err := b.Bytes(ctx)
		return len(content), err
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, b durango.Blob) (int, error) {
		n, err := read.Call(ctx, b)
		if err != nil && !errors.Is(err, durango.ErrBlobCorrupt) && !errors.Is(err, durango.ErrBlobNotFound) {
			return 0, fmt.Errorf("lost its kind: %w", err)
		}
		return n, err
	})
	rt, _ := runWith(t, memory.Open(), durango.Options{Blobs: durango.BlobOptions{Store: blobs}}, read, flow)
	for id, want := range map[string]error{"corrupt": durango.ErrBlobCorrupt, "missing": durango.ErrBlobNotFound} {
		first := content(id, 70<<10)
		run, err := flow.With(durango.CallOptions{StartAt: time.Now().Add(50 * time.Millisecond)}).Start(ctx, rt.Client(), id, durango.BlobOf(first))
		assert.NoError(t, err)
		blobs.mu.Lock()
		for a := range blobs.kept {
			if delete(blobs.kept, a); want == durango.ErrBlobCorrupt {
				blobs.kept[a] = first[1:]
			}
		}
		blobs.mu.Unlock()
		_, err = run.Wait(ctx)
		assert.ErrorIs(t, err, want)
	}
}

// Without a store that can keep it a large Blob is refused where it is handed
// over, and a small one is not.
func TestBlobsNeedAStore(t *testing.T) {
	ctx := deadline(t)
	store := provider.Plain(memory.Open())
	_, err := durango.New(store, durango.Options{Blobs: durango.BlobOptions{Store: newCountingBlobs()}})
	assert.ErrorIs(t, err, durango.ErrNotSupported)
	_, err = durango.New(store, durango.Options{Blobs: durango.BlobOptions{Idle: time.Second}})
	assert.ErrorContains(t, err, "Blobs.Idle is 1s")
	echo := durango.DefineOrchestration("echo", func(_ *durango.Context, b durango.Blob) (durango.Blob, error) { return b, nil })
	rt, _ := runWith(t, store, durango.Options{}, echo)
	_, err = echo.Start(ctx, rt.Client(), "large", durango.BlobOf(content("large", 65<<10)))
	assert.ErrorIs(t, err, durango.ErrNotSupported)
	run, err := echo.Start(ctx, rt.Client(), "small", durango.BlobOf([]byte("small")))
	assert.NoError(t, err)
	out, err := run.Wait(ctx)
	assert.NoError(t, err)
	reads(t, out, []byte("small"))
}

// Under a codec that encrypts no content is in a store in plain; under one that
// has no say in contents they stay in what it encodes.
func TestBlobsUnderACodec(t *testing.T) {
	secret := content("secret", 70<<10)
	for name, codec := range map[string]durango.Codec{"sealed": sealedCodec(t, "k1"), "other": shy{durango.JSON}} {
		ctx := deadline(t)
		store, blobs := memory.Open(), newCountingBlobs()
		double := durango.DefineActivity("double", func(ctx context.Context, b durango.Blob) (durango.Blob, error) {
			got, err := b.Bytes(ctx)
			return durango.BlobOf(append(bytes.Clone(got), got...)), err
		})
		flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, b durango.Blob) (durango.Blob, error) {
			made := durango.Record(ctx, func() int { return 1 })
			if _, err := double.Call(ctx, durango.BlobOf(content("made", made*70<<10))); err != nil {
				return b, err
			}
			return double.Call(ctx, b)
		})
		o := durango.BlobOptions{Store: blobs}
		rt, _ := runWith(t, store, durango.Options{Codec: codec, Blobs: o}, double, flow)
		run, err := flow.Start(ctx, durango.NewClientWith(store, durango.ClientOptions{Codec: codec, Blobs: o}), "i", durango.BlobOf(secret))
		assert.NoError(t, err)
		out, err := run.Wait(ctx)
		assert.NoError(t, err, name)
		reads(t, out, append(bytes.Clone(secret), secret...))
		warnings, err := rt.Replay(ctx, recorded(t, store, "i"))
		assert.NoError(t, err)
		assert.Equal(t, len(warnings), 0, "%s: %v", name, warnings)
		for _, b := range blobs.kept {
			assert.False(t, bytes.Contains(b, []byte("secret")) || bytes.Contains(b, []byte("made")), "%s: a content in plain", name)
		}
		assert.Equal(t, len(blobs.kept) > 0, name == "sealed")
		if name == "sealed" {
			_, err = flow.Run(durango.NewClientWith(store, durango.ClientOptions{Blobs: o}), "i").Wait(ctx)
			assert.ErrorIs(t, err, durango.ErrDecode)
		}
	}
}

// shy is a codec that does not know of blobs.
type shy struct{ durango.Codec }

func TestBlobForms(t *testing.T) {
	var zero durango.Blob
	text, err := json.Marshal(struct {
		B, Z durango.Blob
		O    durango.Blob `json:",omitzero"`
	}{B: durango.BlobOf([]byte("hi"))})
	assert.NoError(t, err)
	assert.Equal(t, string(text), `{"B":{"data":"aGk="},"Z":null}`)
	assert.True(t, zero.IsZero() && zero.Equal(durango.BlobOf(nil)) && zero.Size() == 0, "the zero Blob")
	assert.True(t, durango.BlobOf([]byte("a")).Equal(durango.BlobOf([]byte("a"))), "equal contents")
	assert.False(t, durango.BlobOf([]byte("a")).Equal(durango.BlobOf([]byte("b"))), "different contents")
	ref := `{"blob":"` + strings.Repeat("0a", 32) + `","size":7}`
	var b, c durango.Blob
	assert.NoError(t, json.Unmarshal([]byte(ref), &b))
	assert.Equal(t, b.Size(), int64(7))
	form, err := b.MarshalBinary()
	assert.NoError(t, err)
	assert.NoError(t, c.UnmarshalBinary(form))
	assert.True(t, b.Equal(c), "the binary form is another's")
	_, err = b.Bytes(t.Context())
	assert.ErrorContains(t, err, "not an activity's")
	for _, bad := range []string{
		`{"blob":"00","size":7}`, `{"blob":"` + strings.Repeat("0a", 32) + `"}`, `{"size":7}`, `7`,
		`{"blob":"` + strings.Repeat("0a", 33) + `","size":7}`, `{"blob":"` + strings.Repeat("xx", 32) + `","size":7}`,
		`{"data":"aGk=","blob":"` + strings.Repeat("0a", 32) + `","size":7}`,
	} {
		assert.True(t, json.Unmarshal([]byte(bad), new(durango.Blob)) != nil, "%s was read", bad)
	}
}

// A sweep that meets replays, evictions and turns that pass blobs on takes
// nothing that an instance refers to, however young.
func TestSweepsMeetReplays(t *testing.T) {
	ctx := deadline(t)
	store := memory.Open()
	goOn := durango.NewSignal[durango.None]("go-on")
	length := durango.DefineActivity("length", func(ctx context.Context, b durango.Blob) (int, error) {
		content, err := b.Bytes(ctx)
		return len(content), err
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, b durango.Blob) (int, error) {
		n := 0
		for i := range 4 {
			if err := ctx.SetStatus(i); err != nil {
				return 0, err
			}
			if _, err := goOn.Next(ctx).Await(ctx); err != nil {
				return 0, err
			}
			size, err := length.Call(ctx, b)
			if err != nil {
				return 0, err
			}
			n += size
		}
		return n, nil
	})
	rt, _ := runWith(t, store, durango.Options{MaxHot: 1}, length, flow)
	var runs []*durango.Run[int]
	turns := make([]int64, 10)
	for i := range turns {
		run, err := flow.Start(ctx, rt.Client(), fmt.Sprint("i", i), durango.BlobOf(content(fmt.Sprint("blob", i%3), 100<<10)))
		assert.NoError(t, err)
		status, err := run.NextStatus(ctx, 0)
		assert.NoError(t, err)
		runs, turns[i] = append(runs, run), status.Turn
	}
	done := make(chan struct{})
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if _, err := store.SweepBlobs(ctx, provider.BlobSweep{Limit: 1000}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for round := range 4 {
		for i, run := range runs {
			assert.NoError(t, goOn.Send(ctx, rt.Client(), run.ID(), durango.None{}))
			if round < 3 {
				status, err := run.NextStatus(ctx, turns[i])
				assert.NoError(t, err)
				turns[i] = status.Turn
			}
		}
	}
	for _, run := range runs {
		n, err := run.Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, n, 4*100<<10)
	}
	close(done)
	sweeping.Wait()
	for _, run := range runs {
		warnings, err := rt.Replay(ctx, recorded(t, store, run.ID()))
		assert.True(t, err == nil && len(warnings) == 0, "%v, %v", warnings, err)
	}
}
