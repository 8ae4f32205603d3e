package durango_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/engine"
)

// stored takes err through an activity and the store's form.
func stored(t *testing.T, err error) (*history.Failure, error) {
	t.Helper()
	a := durango.DefineActivity("a", func(context.Context, durango.None) (durango.None, error) { return durango.None{}, err })
	_, as, _ := durango.Definitions(nil, a)
	_, f := as[0].Run(t.Context(), &engine.Attempt{Name: "a"})
	_, back := durango.ReadOutcome[durango.None](history.AppendMessage(nil, &history.Event{Kind: history.Failed, Failure: f}))
	return f, back
}

func TestSentinelsMatchAfterTheStore(t *testing.T) {
	all := []error{
		durango.ErrCanceled, durango.ErrTimeout, durango.ErrAlreadyExists, durango.ErrNotFound, durango.ErrNotRunning,
		durango.ErrWorkerLost, durango.ErrNoWorker, durango.ErrTooLarge, durango.ErrNotSupported, durango.ErrPanic,
		durango.ErrDecode, durango.ErrTerminated, durango.ErrInvalid, durango.ErrNotRegistered,
	}
	for i, s := range all {
		for _, err := range []error{s, fmt.Errorf("while: %w", s), errors.Join(io.EOF, s)} {
			_, back := stored(t, err)
			assert.Equal(t, back.Error(), err.Error())
			for j, other := range all {
				assert.Equal(t, errors.Is(back, other), i == j, back, other)
			}
			assert.False(t, errors.Is(back, io.EOF))
		}
	}
	for _, err := range []error{
		&durango.AlreadyExistsError{ID: "x"}, &durango.DecodeError{What: "x", Err: io.EOF}, &durango.InvalidError{What: "x"},
	} {
		_, back := stored(t, err)
		assert.Equal(t, back.Error(), err.Error())
		matched := 0
		for _, s := range all {
			assert.Equal(t, errors.Is(back, s), errors.Is(err, s))
			if errors.Is(err, s) {
				matched++
			}
		}
		assert.Equal(t, matched, 1)
	}
}

func TestChainsAreKeptAndBounded(t *testing.T) {
	err := io.ErrUnexpectedEOF
	for i := range 40 {
		err = fmt.Errorf("level %d: %w", i, err)
	}
	f, back := stored(t, err)
	depth := 0
	for ; f != nil; f = f.Cause {
		depth++
	}
	assert.Equal(t, depth, 16)
	assert.Equal(t, back.Error(), err.Error())

	long := fmt.Errorf("%w", fmt.Errorf("%w", errors.New(strings.Repeat("ü", 20<<10))))
	f, _ = stored(t, long)
	total := 0
	for ; f != nil; f = f.Cause {
		total += len(f.Message)
	}
	assert.True(t, total <= 32<<10, total)
}

func TestNonRetryable(t *testing.T) {
	f, back := stored(t, fmt.Errorf("out: %w", durango.NonRetryable(fmt.Errorf("in: %w", durango.ErrNotFound))))
	assert.True(t, f.Final)
	assert.True(t, errors.Is(back, durango.ErrNotFound))
	assert.Equal(t, back.Error(), "out: in: instance not found")
	assert.NoError(t, durango.NonRetryable(nil))
	f, _ = stored(t, io.EOF)
	assert.False(t, f.Final)
}

func TestErrorKind(t *testing.T) {
	type detail struct{ N int }
	kind := durango.NewError[detail]("kind")
	other := durango.NewError[string]("kind")
	err := kind.New(detail{3})
	assert.Equal(t, err.Error(), "kind")
	_, back := stored(t, err)
	d, ok := kind.From(back)
	assert.True(t, ok && d.N == 3)
	assert.True(t, errors.Is(back, kind) && errors.Is(err, kind))
	_, ok = other.From(back)
	assert.True(t, !ok && other.Is(back), "a detail of another type is there, but not of this type")
	assert.False(t, kind.Is(io.EOF) || kind.Is(nil))

	_, bare := stored(t, fmt.Errorf("x: %w", kind))
	assert.True(t, kind.Is(bare))
	assert.ErrorIs(t, durango.NewError[detail]("durango/x").New(detail{}), durango.ErrInvalid)
	assert.ErrorContains(t, durango.NewError[chan int]("c").New(nil), "encode chan int")
}

// A kind without a name is no kind, and nothing is of it.
func TestErrorKindWithoutAName(t *testing.T) {
	for _, kind := range []durango.ErrorKind[int]{durango.NewError[int](""), {}} {
		assert.False(t, kind.Is(io.EOF))
		_, back := stored(t, io.EOF)
		assert.False(t, kind.Is(back))
		_, ok := kind.From(back)
		assert.False(t, ok)
		assert.ErrorIs(t, kind.New(1), durango.ErrInvalid)
	}
}

// The kind of a timeout is found wherever it is in the chain.
func TestTimeoutKind(t *testing.T) {
	_, err := stored(t, &durango.Error{Code: durango.CodeTimeout, Message: "late", Type: "heartbeat"})
	assert.Equal(t, durango.TimeoutKind(err), "heartbeat")
	_, err = stored(t, fmt.Errorf("charging: %w", err))
	assert.ErrorIs(t, err, durango.ErrTimeout)
	assert.Equal(t, durango.TimeoutKind(err), "heartbeat")
	assert.Equal(t, durango.TimeoutKind(durango.ErrTimeout), "")
	assert.Equal(t, durango.TimeoutKind(io.EOF), "")
	assert.Equal(t, durango.TimeoutKind(nil), "")
}

// A panic keeps its message, its stack and, if it is an error, its identity.
func TestPanicOfAnActivity(t *testing.T) {
	for _, value := range []any{"text", durango.ErrNotFound} {
		a := durango.DefineActivity("a", func(context.Context, int) (int, error) { panic(value) })
		_, as, _ := durango.Definitions(nil, a)
		out, f := as[0].Run(t.Context(), &engine.Attempt{Name: "a"})
		assert.True(t, out == nil && f.Code == durango.CodePanic && !f.Final)
		assert.Equal(t, f.Message, fmt.Sprint("panic: ", value))
		assert.Contains(t, string(f.Detail), "errors_test.go")
		assert.True(t, len(f.Detail) < 20<<10)
		_, back := durango.ReadOutcome[int](history.AppendMessage(nil, &history.Event{Kind: history.Failed, Failure: f}))
		assert.ErrorIs(t, back, durango.ErrPanic)
		assert.Equal(t, errors.Is(back, durango.ErrNotFound), value == any(durango.ErrNotFound))
	}
}

func TestActivityOutputThatDoesNotEncode(t *testing.T) {
	a := durango.DefineActivity("a", func(context.Context, int) (chan int, error) { return make(chan int), nil })
	_, as, _ := durango.Definitions(nil, a)
	_, f := as[0].Run(t.Context(), &engine.Attempt{Name: "a"})
	assert.True(t, f.Final)
	assert.Contains(t, f.Message, `output of activity "a"`)
}
