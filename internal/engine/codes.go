package engine

import (
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// The codes of failures that the engine itself reports. They are stored, so
// they never change.
const (
	CodeTimeout       = "durango/timeout"
	CodeCanceled      = "durango/canceled"
	CodeWorkerLost    = "durango/worker-lost"
	CodeNoWorker      = "durango/no-worker"
	CodePanic         = "durango/panic"
	CodeNotFound      = "durango/not-found"
	CodeNotRunning    = "durango/not-running"
	CodeAlreadyExists = "durango/already-exists"
	CodeTooLarge      = "durango/too-large"
	CodeTerminated    = "durango/terminated"
	CodeUndecodable   = "durango/undecodable"
	CodeNoHandler     = "durango/no-handler"
	CodeQuarantined   = "durango/quarantined"
)

// refusal completes the answer that a store gave in the receiver's place.
func refusal(e *history.Event, r provider.Refusal) {
	target := ""
	if e.Failure != nil {
		target = e.Failure.Message
	}
	f := &history.Failure{Final: true}
	switch r {
	case provider.RefusedTaken:
		f.Code, f.Message = CodeAlreadyExists, "instance "+target+" already exists"
	case provider.RefusedNotOpen:
		f.Code, f.Message = CodeNotRunning, "instance "+target+" has ended"
	default:
		f.Code, f.Message = CodeNotFound, "instance "+target+" not found"
	}
	e.Failure = f
}

// CanceledText says that something was canceled, and for which reason if there
// is one: the same to a child's parent as to whoever else waits for it.
func CanceledText(reason string) string {
	if reason == "" {
		return "canceled"
	}
	return "canceled: " + reason
}
