package history_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the random test with this seed")

// loosely holds a NaN equal to itself.
var loosely = cmp.Options{cmpopts.EquateNaNs()}

func TestRoundTrip(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-seed repeats it)", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	var shared history.Decoder
	for i := range 500 {
		deliveries, commands := g.turn()
		enc := history.AppendTurn([]byte("prefix"), deliveries, commands)[len("prefix"):]
		gotD, gotC, err := shared.Turn(enc)
		assert.NoError(t, err, "seed %d, turn %d", seed, i)
		assert.EqualOpt(t, gotD, deliveries, loosely, "seed %d, turn %d", seed, i)
		assert.EqualOpt(t, gotC, commands, loosely, "seed %d, turn %d", seed, i)
		assert.Equal(t, history.AppendTurn(nil, gotD, gotC), enc, "seed %d, turn %d: encoded again", seed, i)

		e := g.event(g.kind())
		got, err := shared.Message(history.AppendMessage(nil, &e))
		assert.NoError(t, err, "seed %d, message %d", seed, i)
		assert.EqualOpt(t, got, e, loosely, "seed %d, message %d", seed, i)
	}
}

// A store returns what it was given, or a part of it after a fault. A part is
// never taken for the whole.
func TestTruncated(t *testing.T) {
	var messages, turns [][]byte
	for _, c := range goldenCases() {
		messages = append(messages, history.AppendMessage(nil, &c.event))
		turns = append(turns, turnOf(c.event))
	}
	deliveries, commands := typicalTurn()
	turns = append(turns, history.AppendTurn(nil, deliveries, commands))
	for _, enc := range messages {
		for n := range enc {
			_, err := history.DecodeMessage(enc[:n])
			assert.ErrorIs(t, err, history.ErrCorrupt, "%d bytes of %x", n, enc)
		}
		_, err := history.DecodeMessage(append(enc[:len(enc):len(enc)], 0))
		assert.ErrorIs(t, err, history.ErrCorrupt, "trailing byte")
	}
	for _, enc := range turns {
		for n := range enc {
			deliveries, commands, err := history.DecodeTurn(enc[:n])
			assert.ErrorIs(t, err, history.ErrCorrupt, "%d bytes of %x", n, enc)
			assert.True(t, deliveries == nil && commands == nil, "events beside an error")
		}
		_, _, err := history.DecodeTurn(append(enc[:len(enc):len(enc)], 0))
		assert.ErrorIs(t, err, history.ErrCorrupt, "trailing byte")
	}
}

// A reader that meets a kind or field it does not know returns
// ErrUnknownFormat instead of skipping it.
func TestRefused(t *testing.T) {
	message := func(parts ...any) []byte {
		b := []byte{1}
		for _, p := range parts {
			switch p := p.(type) {
			case int:
				b = append(b, byte(p))
			case uint64:
				b = binary.AppendUvarint(b, p)
			case int64:
				b = binary.AppendVarint(b, p)
			case string:
				b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
			default:
				panic(fmt.Sprintf("%T", p))
			}
		}
		return b
	}
	const policy, failure, carried, closePolicy, header = uint64(1 << 11), uint64(1 << 10), uint64(1 << 13), uint64(1 << 14), uint64(1 << 17)
	tests := []struct {
		name string
		enc  []byte
		want error
	}{
		{"version 0", []byte{0, 4, 0}, history.ErrCorrupt},
		{"next version", []byte{history.FormatVersion + 1, 4, 0}, history.ErrUnknownFormat},
		{"version 255", []byte{255}, history.ErrUnknownFormat},
		{"kind 0", message(0, 0), history.ErrCorrupt},
		{"kind between deliveries and commands", message(50, 0), history.ErrUnknownFormat},
		{"kind after the last delivery", message(int(history.InstanceQuarantined)+1, 0), history.ErrUnknownFormat},
		{"kind 255", message(255, 0), history.ErrUnknownFormat},
		{"kind after the last command that ends nothing", message(int(history.CallRefused)+1, 0), history.ErrUnknownFormat},
		{"next field of an event", message(4, uint64(1<<19)), history.ErrUnknownFormat},
		{"last field of an event", message(4, uint64(1<<63)), history.ErrUnknownFormat},
		{"mask of more than 64 bits", append(message(4), 255, 255, 255, 255, 255, 255, 255, 255, 255, 2), history.ErrCorrupt},
		{"next field of a failure", message(3, failure, uint64(1<<8)), history.ErrUnknownFormat},
		{"next field of a policy", message(100, policy, uint64(1<<11)), history.ErrUnknownFormat},
		{"next close policy", message(102, closePolicy, 3), history.ErrUnknownFormat},
		{"next kind of backoff", message(100, policy, uint64(1<<5), int64(3)), history.ErrUnknownFormat},
		{"kind of backoff that is 0 modulo 256", message(100, policy, uint64(1<<5), int64(256)), history.ErrUnknownFormat},
		{"negative kind of backoff", message(100, policy, uint64(1<<5), int64(-1)), history.ErrUnknownFormat},
		{"carried command", message(123, carried, 1, 101, 0), history.ErrCorrupt},
		{"carried unknown kind", message(123, carried, 1, 50, 0), history.ErrUnknownFormat},
		{"carried event that carries", message(123, carried, 1, 5, carried, 1, 5, 0), history.ErrCorrupt},
		{"causes too deep", message(3, failure, strings.Repeat(" ", 32)+"\x00"), history.ErrCorrupt},
		{"string beyond the input", message(5, uint64(1<<2), uint64(1<<40)), history.ErrCorrupt},
		{"field of a header twice", message(1, header, uint64(2), "a", "1", "a", "2"), history.ErrCorrupt},
		{"header beyond the input", message(1, header, uint64(1<<40), "a", "1"), history.ErrCorrupt},
		{"negative length", message(5, uint64(1<<2), uint64(1<<63+5)), history.ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := history.DecodeMessage(tt.enc); true {
				assert.ErrorIs(t, err, tt.want)
			}
			// The same event in a turn: version, no delivery or one.
			if len(tt.enc) > 1 {
				counts := []byte{tt.enc[0], 0, 1}
				if history.Kind(tt.enc[1]).Delivery() {
					counts = []byte{tt.enc[0], 1, 0}
				}
				_, _, err := history.DecodeTurn(append(counts, tt.enc[1:]...))
				assert.ErrorIs(t, err, tt.want)
			}
		})
	}
	t.Run("command among deliveries", func(t *testing.T) {
		_, _, err := history.DecodeTurn([]byte{1, 1, 0, byte(history.TimerSet), 0})
		assert.ErrorIs(t, err, history.ErrCorrupt)
		assert.ErrorContains(t, err, "TimerSet in the wrong list")
	})
	t.Run("delivery among commands", func(t *testing.T) {
		_, _, err := history.DecodeTurn([]byte{1, 0, 1, byte(history.TimerFired), 0})
		assert.ErrorIs(t, err, history.ErrCorrupt)
	})
}

// Whatever the encoder writes the decoder reads.
func TestEncoderCuts(t *testing.T) {
	read := func(e history.Event) history.Event {
		t.Helper()
		got, err := history.DecodeMessage(history.AppendMessage(nil, &e))
		assert.NoError(t, err)
		return got
	}
	t.Run("causes after the 32nd", func(t *testing.T) {
		var f *history.Failure
		for i := range 40 {
			f = &history.Failure{Message: fmt.Sprint(40 - i), Cause: f}
		}
		got, n := read(history.Event{Kind: history.Failed, Failure: f}).Failure, 0
		for ; got != nil; got = got.Cause {
			n++
			assert.Equal(t, got.Message, fmt.Sprint(n))
		}
		assert.Equal(t, n, 32)
	})
	t.Run("causes in a circle", func(t *testing.T) {
		f := &history.Failure{Message: "x"}
		f.Cause = f
		assert.Equal(t, read(history.Event{Kind: history.Failed, Failure: f}).Failure.Cause.Message, "x")
	})
	t.Run("what carried events carry", func(t *testing.T) {
		inner := history.Event{Kind: history.SignalReceived, Name: "inner"}
		outer := history.Event{Kind: history.SignalReceived, Name: "outer", Payload: []byte("1"), Carried: []history.Event{inner}}
		got := read(history.Event{Kind: history.ContinuedAsNew, Carried: []history.Event{outer, inner}})
		outer.Carried = nil
		assert.Equal(t, got.Carried, []history.Event{outer, inner})
	})
	t.Run("unknown enumeration values", func(t *testing.T) {
		for _, v := range []uint8{3, 127, 128, 255} {
			got := read(history.Event{
				Kind: history.ChildStarted, Seq: 7, Close: history.ClosePolicy(v),
				Policy: &history.Policy{Backoff: history.BackoffKind(v), Initial: 1},
			})
			assert.Equal(t, got, history.Event{Kind: history.ChildStarted, Seq: 7, Policy: &history.Policy{Initial: 1}})
		}
	})
	t.Run("a payload of 20 MiB", func(t *testing.T) {
		e := history.Event{Kind: history.SignalReceived, Payload: make([]byte, 20<<20)}
		assert.Equal(t, len(read(e).Payload), 20<<20)
	})
	t.Run("more events than are allocated on trust", func(t *testing.T) {
		commands := make([]history.Event, 3000)
		for i := range commands {
			commands[i] = history.Event{Kind: history.TimerSet, Seq: int64(i + 1)}
		}
		_, got, err := history.DecodeTurn(history.AppendTurn(nil, nil, commands))
		assert.NoError(t, err)
		assert.Equal(t, got, commands)
	})
}

// An absent payload and an empty one are different: None and "".
func TestEmptyPayload(t *testing.T) {
	for _, payload := range [][]byte{nil, {}} {
		e := history.Event{Kind: history.ActivityFailed, Payload: payload, Failure: &history.Failure{Detail: payload}}
		got, err := history.DecodeMessage(history.AppendMessage(nil, &e))
		assert.NoError(t, err)
		assert.Equal(t, got, e)
	}
}

// Appending to what was decoded must not write into its neighbour.
func TestDecodedSlicesAreClipped(t *testing.T) {
	deliveries, commands := typicalTurn()
	enc := history.AppendTurn(nil, deliveries, commands)
	gotD, gotC, err := history.DecodeTurn(enc)
	assert.NoError(t, err)
	_ = append(gotD, history.Event{})
	_ = append(gotD[0].Payload, "overwrites"...)
	assert.Equal(t, gotC, commands)
	assert.Equal(t, enc, history.AppendTurn(nil, deliveries, commands))
}

// The decoder shares equal policies, and only those.
func TestPoliciesAreShared(t *testing.T) {
	base := func() *history.Policy {
		return &history.Policy{
			StartToClose: 1, ScheduleToClose: 1, ScheduleToStart: 1, Heartbeat: 1, MaxAttempts: 1,
			Backoff: 1, Initial: 1, MaxInterval: 1, Factor: 1, Jitter: 1, NonRetryable: []string{"a"},
		}
	}
	commands := []history.Event{{Kind: history.ActivityScheduled, Policy: base()}}
	for i := range reflect.TypeFor[history.Policy]().NumField() {
		p := base()
		switch f := reflect.ValueOf(p).Elem().Field(i); f.Kind() {
		case reflect.Int64:
			f.SetInt(2)
		case reflect.Uint8:
			f.SetUint(2)
		case reflect.Float64:
			f.SetFloat(2)
		default:
			f.Set(reflect.ValueOf([]string{"b"}))
		}
		commands = append(commands,
			history.Event{Kind: history.ActivityScheduled, Policy: p},
			history.Event{Kind: history.ActivityScheduled, Policy: base()},
			history.Event{Kind: history.ActivityScheduled, Policy: base()})
	}
	_, got, err := history.DecodeTurn(history.AppendTurn(nil, nil, commands))
	assert.NoError(t, err)
	assert.Equal(t, got, commands)
	n := len(got)
	assert.True(t, got[n-1].Policy == got[n-2].Policy, "equal policies are two")
}

// Input that lies about its counts must not cost memory.
func TestAllocationIsBounded(t *testing.T) {
	lie := make([]byte, 1<<20)
	copy(lie, []byte{1, 0xff, 0xff, 0x0f}) // version, 262143 deliveries, 0 commands, kind 0
	carried := append(binary.AppendUvarint([]byte{1, byte(history.ContinuedAsNew)}, 1<<13), 0xff, 0xff, 0x0f)
	carried = append(carried, make([]byte, 1<<20)...)
	got := allocated(func() {
		_, _, err := history.DecodeTurn(lie)
		assert.ErrorIs(t, err, history.ErrCorrupt)
		_, err = history.DecodeMessage(carried)
		assert.ErrorIs(t, err, history.ErrCorrupt)
	})
	assert.True(t, got < 256<<10, "%d bytes allocated", got)
}

func TestKinds(t *testing.T) {
	for i := range 256 {
		k := history.Kind(i)
		assert.Equal(t, k.Known(), !strings.HasPrefix(k.String(), "Kind("), "kind %d has a name", i)
		assert.False(t, k.Delivery() && k.Command(), "kind %d", i)
		if k.Known() {
			assert.Equal(t, k.Delivery(), k < 100, "kind %d", i)
			assert.Equal(t, k.Terminal(), k >= history.Completed, "kind %d", i)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// turnOf is a turn with e alone in it.
func turnOf(e history.Event) []byte {
	if e.Kind.Delivery() {
		return history.AppendTurn(nil, []history.Event{e}, nil)
	}
	return history.AppendTurn(nil, nil, []history.Event{e})
}

// generator makes events that set any field, whatever the kind.
type generator struct{ *rand.Rand }

func (g generator) turn() (deliveries, commands []history.Event) {
	for range g.IntN(4) {
		deliveries = append(deliveries, g.event(history.Started+history.Kind(g.IntN(int(history.InstanceQuarantined)))))
	}
	for range g.IntN(4) {
		k := g.kind()
		for k.Delivery() {
			k = g.kind()
		}
		commands = append(commands, g.event(k))
	}
	return deliveries, commands
}

func (g generator) kind() history.Kind {
	for {
		if k := history.Kind(g.IntN(256)); k.Known() {
			return k
		}
	}
}

func (g generator) event(k history.Kind) history.Event {
	e := history.Event{Kind: k}
	g.fill(reflect.ValueOf(&e).Elem(), 0)
	e.Kind = k
	e.Close %= 3
	return e
}

// fill sets about a third of the fields, so that a new field is covered as
// soon as it exists.
func (g generator) fill(v reflect.Value, depth int) {
	for i := range v.NumField() {
		f := v.Field(i)
		if g.IntN(3) != 0 {
			continue
		}
		switch p := f.Addr().Interface().(type) {
		case *history.Kind:
		case *history.ClosePolicy:
			*p = history.ClosePolicy(g.IntN(3))
		case *history.BackoffKind:
			*p = history.BackoffKind(g.IntN(3))
		case *bool:
			*p = true
		case *int64:
			*p = g.int64()
		case *float64:
			*p = []float64{1.5, -1, math.Inf(1), math.NaN(), math.SmallestNonzeroFloat64}[g.IntN(5)]
		case *string:
			*p = string(g.bytes())
		case *[]byte:
			*p = g.bytes()
		case *[]string:
			*p = []string{string(g.bytes()), "declined"}
		case *[]history.BlobAddress:
			*p = []history.BlobAddress{{1}, {31: byte(g.Uint32())}}
		case *map[string]string:
			*p = map[string]string{string(g.bytes()): string(g.bytes()), "traceparent": string(g.bytes())}
		case **history.Failure:
			if depth < 5 {
				*p = &history.Failure{}
				g.fill(f.Elem(), depth+1)
			}
		case **history.Policy:
			*p = &history.Policy{}
			g.fill(f.Elem(), depth+1)
		case **history.Parent:
			*p = &history.Parent{}
			g.fill(f.Elem(), depth+1)
		case *[]history.Event:
			if depth == 0 {
				for range g.IntN(4) {
					c := history.Event{}
					g.fill(reflect.ValueOf(&c).Elem(), 1)
					c.Kind = history.SignalReceived
					*p = append(*p, c)
				}
			}
		default:
			panic(fmt.Sprintf("no generator for %v", f.Type()))
		}
	}
}

func (g generator) int64() int64 {
	return []int64{1, -1, 63, 64, -65, math.MaxInt64, math.MinInt64, int64(g.Uint64())}[g.IntN(8)]
}

func (g generator) bytes() []byte {
	b := make([]byte, []int{0, 1, 30, 64, 65, 127, 128, 300}[g.IntN(8)])
	if g.IntN(4) != 0 { // repeating, so that sharing is exercised
		for i := range b {
			b[i] = "ab"[len(b)&1]
		}
		return b
	}
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}
