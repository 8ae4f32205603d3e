package durango

import (
	"context"
	"errors"
	"strings"

	"github.com/durango-go/durango/provider"
)

// heldPrefix begins the reason with which a check suspends an instance, by
// which a later one knows it.
const heldPrefix = "suspended, because it does not replay: "

// maxReason bounds such a reason, in bytes.
const maxReason = 16 << 10

// gate checks what is in the store before the node takes work: it suspends what
// the code cannot go on with, and resumes what was suspended so and replays
// now.
func (r *Runtime) gate(ctx context.Context) error {
	holder, err := r.engine.Client().Holder(ctx)
	if err != nil {
		return fromStore(err)
	}
	suspended, resumed := 0, 0
	report, err := r.check(ctx, CheckOptions{Each: func(f *Finding) error {
		reason := ""
		switch {
		case f.Verdict == Incompatible && provider.Status(f.Status).Runnable():
			reason = cut(heldReason(f.Err), maxReason)
			suspended++
			r.env.logger.Warn("instance suspended, because it does not replay", "instance", f.ID,
				"orchestration", f.Name, "version", f.Version, "error", f.Err)
		case f.Verdict == Compatible && f.held:
			resumed++
		default:
			return nil
		}
		err := holder.Hold(ctx, provider.Target{Key: f.key}, reason)
		if errors.Is(err, provider.ErrNotFound) || errors.Is(err, provider.ErrNotOpen) {
			return nil // it has ended meanwhile
		}
		return err
	}}, false)
	if err != nil {
		return err
	}
	r.env.logger.Info("open instances checked", "compatible", report.Compatible, "incompatible", report.Incompatible,
		"unknown", report.Unknown, "suspended", suspended, "resumed", resumed)
	return nil
}

func heldReason(err error) string {
	var b strings.Builder
	b.WriteString(heldPrefix + err.Error())
	if where, ok := err.(*ReplayError); ok && where.Explanation != nil {
		b.WriteString("\n\n" + where.Explanation.String())
	}
	return b.String()
}
