package provider

import (
	"encoding/json"
	"strings"
	"time"
)

// TurnFailure is what Instance.TurnFailure says, in parts. The engine writes
// it; a store keeps the text and does not read it.
type TurnFailure struct {
	// Message is for people.
	Message string `json:"-"`
	// Kind and Place say what failed and where in the user's code, as in
	// "panic" and "orders.go:42". Both are empty in a text that the engine did
	// not write.
	Kind  string `json:"kind,omitempty"`
	Place string `json:"place,omitempty"`
	// Count is how many turns have failed since the last that succeeded, or
	// since the instance was retried; First is when the first of them did.
	Count int64     `json:"count,omitempty"`
	First time.Time `json:"first,omitzero"`
	// Limit is the number of failures at which the policy acted; zero: it has
	// not.
	Limit int64 `json:"limit,omitempty"`
	// Attempts is what the instance's Attempts were when this was written.
	Attempts int64 `json:"attempts,omitempty"`
	// Trial: this was written before a turn began of which the outcome is not
	// known. If nothing follows, it ended its process.
	Trial bool `json:"trial,omitempty"`
	// Notify is the node that is to call back, or zero.
	Notify NodeKey `json:"notify,omitempty"`
	// Pardoned is the last message that had been read when an activity that ends
	// processes was the cause. Once the instance has been let go, what those
	// messages say of such activities is forgiven.
	Pardoned int64 `json:"pardoned,omitempty"`
	// Stopped is how many failures a policy had stopped the instance after when it
	// was last let go, and StoppedFirst when the first of them was; zero: no turn
	// has to say so any more.
	Stopped      int64     `json:"stopped,omitempty"`
	StoppedFirst time.Time `json:"stopped_first,omitzero"`
	// Requeued: the instance was a dead letter, and may have missed how its
	// children ended.
	Requeued bool `json:"requeued,omitempty"`
}

// failureMark begins the last line of the text, which has everything but the
// message.
const failureMark = "\ndurango: "

// String is the text that ParseTurnFailure reads.
func (f TurnFailure) String() string {
	b, err := json.Marshal(f)
	if err != nil {
		return f.Message
	}
	return f.Message + failureMark + string(b)
}

// ParseTurnFailure takes a text apart. One that the engine did not write is all
// message.
func ParseTurnFailure(text string) TurnFailure {
	at := strings.LastIndex(text, failureMark)
	if at < 0 {
		return TurnFailure{Message: text}
	}
	var f TurnFailure
	if json.Unmarshal([]byte(text[at+len(failureMark):]), &f) != nil {
		return TurnFailure{Message: text}
	}
	f.Message = text[:at]
	return f
}

// Failed reports whether a turn has failed, and not only been begun with
// caution.
func (f TurnFailure) Failed() bool { return f.Message != "" && (!f.Trial || f.Count > 0) }

// Fingerprint is the same for failures of one kind at one place, whichever
// instance they are of; empty if neither is known.
func (f TurnFailure) Fingerprint() string {
	return strings.TrimSpace(f.Kind + " " + f.Place)
}
