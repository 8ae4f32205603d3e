package durango

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// SendWithStart sends a signal to the instance that has the ID, and starts it
// before if there is none, in one transaction. It returns the instance's run,
// whoever started it. The error matches [ErrNotRunning] if the instance has
// ended, unless the orchestration's handle says [Restart] or [RestartFailed]:
// then it is started anew and receives the signal. Repeating a call whose outcome
// is not known may send the signal twice, unless the handle of the signal has an
// ID; one that is started anew knows nothing of the IDs that the old one accepted.
// To interceptors it is a start, and within it a send.
func SendWithStart[In, Out, T any](ctx context.Context, s Sender, id string, o Startable[In, Out], in In, signal Signal[T], v T) (*Run[Out], error) {
	s = senderOr(s)
	handle := o.handle()
	if id == "" {
		id = handle.d.or().opts.ID
	}
	var run *Run[Out]
	start := &ClientCall{Kind: CallStart, Name: handle.Name(), Instance: id}
	send := &ClientCall{Kind: CallSend, Name: signal.Name(), Instance: id}
	err := s.client().intercept(ctx, start, func(ctx context.Context) error {
		return s.client().intercept(ctx, send, func(ctx context.Context) (err error) {
			run, err = sendWithStart(ctx, s, id, handle, &in, signal, &v, start.Header)
			return err
		})
	})
	if err == nil && run == nil {
		err = errNothingStarted
	}
	if err != nil {
		return run, fmt.Errorf("send signal %q to instance %q, starting it: %w", signal.Name(), cut(id, 64), err)
	}
	return run, nil
}

func sendWithStart[In, Out, T any](ctx context.Context, s Sender, id string, o Orchestration[In, Out], in *In, signal Signal[T], v *T, header map[string]string) (*Run[Out], error) {
	d := o.d.or()
	if d.problem == nil && d.opts.IfExists == Replace {
		return nil, invalid("orchestration option", "IfExists", "Replace would send to nobody that is there; use Restart")
	}
	n, err := newInstance(ctx, s.client(), d, id, in, header)
	if err != nil {
		return nil, err
	}
	e, err := signal.toSend(ctx, s.client(), id, v)
	if err != nil {
		return nil, err
	}
	m := provider.Message{ID: signal.messageID(), Payload: history.AppendMessage(nil, &e), Blobs: e.Blobs}
	if m.ID == "" {
		m.ID = "durango/start/" + NewID() // the store may have to be asked twice
	}
	n.With = []provider.Message{m}
	res, err := s.createAs(ctx, n, d.opts.IfExists)
	if err == nil && !errors.Is(res.Err, provider.ErrAlreadyExists) {
		err = s.client().sizeError(ctx, res.Err, &sizedOrchestrationInput, d.name, len(n.Start))
	}
	if err == nil && len(res.Sent) > 0 {
		err = s.client().sizeError(ctx, res.Sent[0].Err, &sizedSignal, signal.Name(), len(m.Payload))
	}
	if err != nil {
		return nil, fromStore(err)
	}
	return &Run[Out]{c: s.client(), t: provider.Target{Key: res.Key, ID: id}}, nil
}
