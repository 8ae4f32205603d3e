package history

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// FormatVersion is the version of the encoding written by this package.
const FormatVersion = 1

// maxCauses bounds a chain of failures. The encoder cuts what is longer: the
// outermost failures are those that code and people look at.
const maxCauses = 32

// ErrUnknownFormat is returned for a version, kind or field written by a
// newer version of this package.
var ErrUnknownFormat = errors.New("history: written by a newer version")

// ErrCorrupt is returned for bytes that no version of this package wrote.
var ErrCorrupt = errors.New("history: corrupt encoding")

// An event is its kind, a bit mask of the fields present, and those fields in
// the order of their bits. Integers are varints, strings and bytes carry
// their length. The mask makes an absent field free and an unknown one
// noticeable.
//
// Whatever the encoder writes the decoder reads: an execution whose turn was
// written but cannot be read would be lost. Kinds are the caller's promise;
// what else the decoder would refuse (an enumeration's value that does not
// exist, too long a chain of causes, a carried event that itself carries) the
// encoder leaves out, which is what each function below says where it does.
const (
	fSeq = 1 << iota
	fRef
	fName
	fPayload
	fTime
	fTarget
	fVersion
	fPool
	fSession
	fText
	fFailure
	fPolicy
	fParent
	fCarried
	fClose
	fDetached
	fAttempt
	fHeader
	fBlobs

	fAll = 1<<iota - 1
)

// AppendTurn appends the encoding of a turn's events to b. The other fields
// of a turn are the provider's columns. Every kind must be known, and stand in
// the list it belongs to.
func AppendTurn(b []byte, deliveries, commands []Event) []byte {
	b = append(b, FormatVersion)
	b = binary.AppendUvarint(b, uint64(len(deliveries)))
	b = binary.AppendUvarint(b, uint64(len(commands)))
	for i := range deliveries {
		b = AppendEvent(b, &deliveries[i])
	}
	for i := range commands {
		b = AppendEvent(b, &commands[i])
	}
	return b
}

// AppendMessage appends one event with its format version, as messages and
// tasks carry it.
func AppendMessage(b []byte, e *Event) []byte {
	return AppendEvent(append(b, FormatVersion), e)
}

// AppendEvent appends the bare encoding of e to b.
func AppendEvent(b []byte, e *Event) []byte { return appendFields(b, e, e.mask()) }

func appendFields(b []byte, e *Event, mask uint64) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, mask)
	if mask&fSeq != 0 {
		b = binary.AppendVarint(b, e.Seq)
	}
	if mask&fRef != 0 {
		b = binary.AppendVarint(b, e.Ref)
	}
	if mask&fName != 0 {
		b = appendString(b, e.Name)
	}
	if mask&fPayload != 0 {
		b = appendBytes(b, e.Payload)
	}
	if mask&fTime != 0 {
		b = binary.AppendVarint(b, e.Time)
	}
	if mask&fTarget != 0 {
		b = appendString(b, e.Target)
	}
	if mask&fVersion != 0 {
		b = appendString(b, e.Version)
	}
	if mask < fPool {
		return b
	}
	if mask&fPool != 0 {
		b = appendString(b, e.Pool)
	}
	if mask&fSession != 0 {
		b = appendString(b, e.Session)
	}
	if mask&fText != 0 {
		b = appendString(b, e.Text)
	}
	if mask&fFailure != 0 {
		b = appendFailure(b, e.Failure)
	}
	if mask&fPolicy != 0 {
		b = appendPolicy(b, e.Policy)
	}
	if mask&fParent != 0 {
		b = appendParent(b, e.Parent)
	}
	if mask&fCarried != 0 {
		b = binary.AppendUvarint(b, uint64(len(e.Carried)))
		for i := range e.Carried {
			c := &e.Carried[i]
			b = appendFields(b, c, c.mask()&^fCarried) // carried events carry none
		}
	}
	if mask&fClose != 0 {
		b = append(b, byte(e.Close))
	}
	if mask&fAttempt != 0 {
		b = binary.AppendVarint(b, e.Attempt)
	}
	if mask&fHeader != 0 {
		b = appendHeader(b, e.Header)
	}
	if mask&fBlobs != 0 {
		b = binary.AppendUvarint(b, uint64(len(e.Blobs)))
		for i := range e.Blobs {
			b = append(b, e.Blobs[i][:]...)
		}
	}
	return b
}

func (e *Event) mask() uint64 {
	var m uint64
	set := func(present bool, bit uint64) {
		if present {
			m |= bit
		}
	}
	set(e.Seq != 0, fSeq)
	set(e.Ref != 0, fRef)
	set(e.Name != "", fName)
	set(e.Payload != nil, fPayload)
	set(e.Time != 0, fTime)
	set(e.Target != "", fTarget)
	set(e.Version != "", fVersion)
	set(e.Pool != "", fPool)
	set(e.Session != "", fSession)
	set(e.Text != "", fText)
	set(e.Failure != nil, fFailure)
	set(e.Policy != nil, fPolicy)
	set(e.Parent != nil, fParent)
	set(len(e.Carried) != 0, fCarried)
	set(e.Close != 0 && e.Close.known(), fClose) // unknown: the default
	set(e.Detached, fDetached)
	set(e.Attempt != 0, fAttempt)
	set(len(e.Header) != 0, fHeader)
	set(len(e.Blobs) != 0, fBlobs)
	return m
}

// A failure is a chain, written from the outside in and cut after maxCauses.
const (
	failCode = 1 << iota
	failMessage
	failType
	failDetail
	failFinal
	failCause
	failSealed
	failRetryAfter

	failAll = 1<<iota - 1
)

func appendFailure(b []byte, f *Failure) []byte {
	for depth := 1; ; depth++ {
		last := f.Cause == nil || depth == maxCauses
		var m uint64
		if f.Code != "" {
			m |= failCode
		}
		if f.Message != "" {
			m |= failMessage
		}
		if f.Type != "" {
			m |= failType
		}
		if f.Detail != nil {
			m |= failDetail
		}
		if f.Final {
			m |= failFinal
		}
		if !last {
			m |= failCause
		}
		if f.Sealed {
			m |= failSealed
		}
		if f.RetryAfter != 0 {
			m |= failRetryAfter
		}
		b = binary.AppendUvarint(b, m)
		if f.Code != "" {
			b = appendString(b, f.Code)
		}
		if f.Message != "" {
			b = appendString(b, f.Message)
		}
		if f.Type != "" {
			b = appendString(b, f.Type)
		}
		if f.Detail != nil {
			b = appendBytes(b, f.Detail)
		}
		if f.RetryAfter != 0 {
			b = binary.AppendVarint(b, f.RetryAfter)
		}
		if last {
			return b
		}
		f = f.Cause
	}
}

const (
	polStartToClose = 1 << iota
	polScheduleToClose
	polScheduleToStart
	polHeartbeat
	polMaxAttempts
	polBackoff
	polInitial
	polMaxInterval
	polFactor
	polJitter
	polNonRetryable

	polAll = 1<<iota - 1
)

func appendPolicy(b []byte, p *Policy) []byte {
	backoff := p.Backoff
	if !backoff.known() {
		backoff = 0 // the default
	}
	ints := [...]int64{
		p.StartToClose, p.ScheduleToClose, p.ScheduleToStart, p.Heartbeat, p.MaxAttempts,
		int64(backoff), p.Initial, p.MaxInterval,
	}
	var m uint64
	for i, v := range ints {
		if v != 0 {
			m |= 1 << i
		}
	}
	if p.Factor != 0 {
		m |= polFactor
	}
	if p.Jitter != 0 {
		m |= polJitter
	}
	if len(p.NonRetryable) != 0 {
		m |= polNonRetryable
	}
	b = binary.AppendUvarint(b, m)
	for _, v := range ints {
		if v != 0 {
			b = binary.AppendVarint(b, v)
		}
	}
	if p.Factor != 0 {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.Factor))
	}
	if p.Jitter != 0 {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.Jitter))
	}
	if len(p.NonRetryable) != 0 {
		b = binary.AppendUvarint(b, uint64(len(p.NonRetryable)))
		for _, s := range p.NonRetryable {
			b = appendString(b, s)
		}
	}
	return b
}

func appendParent(b []byte, p *Parent) []byte {
	b = binary.AppendVarint(b, p.Key)
	b = appendString(b, p.ID)
	b = binary.AppendVarint(b, p.Execution)
	return binary.AppendVarint(b, p.Seq)
}

// appendHeader writes the fields in the order of their names, so that equal
// events have equal encodings.
func appendHeader(b []byte, h map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(h)))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		b = appendString(appendString(b, name), h[name])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b, p []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	return append(b, p...)
}

func (k BackoffKind) known() bool { return k <= BackoffFixed }

func (p ClosePolicy) known() bool { return p <= CloseAbandon }
