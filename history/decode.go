package history

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Decoder reads encoded turns and messages. It shares names and policies
// among the events that it reads, so one for all turns of an instance makes
// less garbage than [DecodeTurn] for each. The zero value is ready.
type Decoder struct {
	d decoder
}

// Turn is like [DecodeTurn].
func (dec *Decoder) Turn(b []byte) (deliveries, commands []Event, err error) {
	if b, err = unpack(b); err != nil {
		return nil, nil, err
	}
	dec.d.b, dec.d.at, dec.d.err = b, 0, nil
	return dec.d.turn()
}

// Message is like [DecodeMessage].
func (dec *Decoder) Message(b []byte) (Event, error) {
	b, err := unpack(b)
	if err != nil {
		return Event{}, err
	}
	dec.d.b, dec.d.at, dec.d.err = b, 0, nil
	return dec.d.message()
}

// DecodeTurn reads what [AppendTurn] wrote, packed or not. Payloads may alias
// b: the caller must not change b afterwards. Events may share policies.
func DecodeTurn(b []byte) (deliveries, commands []Event, err error) {
	if b, err = unpack(b); err != nil {
		return nil, nil, err
	}
	d := decoder{b: b}
	return d.turn()
}

// DecodeMessage reads what [AppendMessage] wrote, packed or not. Payloads may
// alias b.
func DecodeMessage(b []byte) (Event, error) {
	b, err := unpack(b)
	if err != nil {
		return Event{}, err
	}
	d := decoder{b: b}
	return d.message()
}

func (d *decoder) turn() (deliveries, commands []Event, err error) {
	d.version()
	nd, nc := d.count(minEvent), d.count(minEvent)
	if d.err != nil {
		return nil, nil, d.err
	}
	// The counts are not believed beyond what an honest turn of usual size
	// needs: what lies then fails before it has cost much memory.
	events := d.room(min(nd+nc, trusted))
	for i := range nd + nc {
		if i == len(events) {
			events = append(events, make([]Event, min(nd+nc-i, i))...)
		}
		e := &events[i]
		d.event(e, false)
		if d.err == nil && e.Kind.Delivery() != (i < nd) {
			d.fail(corrupt("%v in the wrong list", e.Kind))
		}
		if d.err != nil {
			return nil, nil, fmt.Errorf("event %d of %d: %w", i+1, nd+nc, d.err)
		}
	}
	if err := d.end(); err != nil {
		return nil, nil, err
	}
	if nd > 0 {
		deliveries = events[:nd:nd]
	}
	if nc > 0 {
		commands = events[nd:]
	}
	return deliveries, commands, nil
}

// room returns n zero events. What one decoder reads shares larger and larger
// allocations, so that the events of a long history are not one by one the
// collector's.
func (d *decoder) room(n int) []Event {
	if n > len(d.spare) {
		d.spare = make([]Event, max(n, min(2*d.last, maxSpare)))
		d.last = len(d.spare)
	}
	events := d.spare[:n:n]
	d.spare = d.spare[n:]
	return events
}

func (d *decoder) message() (Event, error) {
	d.version()
	var e Event
	d.event(&e, false)
	if err := d.end(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// minEvent is the least an event takes: its kind and its mask. trusted is how
// many events are allocated on the word of the input, maxSpare how many for turns
// that may not come.
const (
	minEvent = 2
	trusted  = 256
	maxSpare = 64
)

// decoder keeps the first error and reads zeros after it.
type decoder struct {
	b      []byte
	at     int // an index is cheaper to move than a slice, which is a pointer to the collector
	err    error
	names  [16]string // by hash; names repeat, and few are in use at a time
	policy *Policy    // the last one read
	spare  []Event
	last   int // how many were allocated at once
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
		d.at = len(d.b)
	}
}

func (d *decoder) end() error {
	if d.at != len(d.b) {
		d.fail(corrupt("trailing bytes"))
	}
	return d.err
}

func (d *decoder) version() {
	if v := d.byte(); d.err == nil && v != FormatVersion {
		if v == 0 {
			d.fail(corrupt("format version 0"))
		} else {
			d.fail(fmt.Errorf("%w: format version %d, this program reads up to %d", ErrUnknownFormat, v, FormatVersion))
		}
	}
}

func (d *decoder) byte() byte {
	if d.at >= len(d.b) {
		d.fail(corrupt("truncated"))
		return 0
	}
	c := d.b[d.at]
	d.at++
	return c
}

func (d *decoder) uvarint() uint64 {
	if d.at < len(d.b) && d.b[d.at] < 0x80 { // nearly always
		v := d.b[d.at]
		d.at++
		return uint64(v)
	}
	return d.longUvarint()
}

func (d *decoder) longUvarint() uint64 {
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 {
		d.fail(corrupt("bad integer"))
		return 0
	}
	d.at += n
	return v
}

// varint reads a signed integer, in the zigzag form of encoding/binary.
func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of items that take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64((len(d.b)-d.at)/size) {
		d.fail(corrupt("a count beyond the input"))
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	p := d.b[d.at : d.at+n : d.at+n]
	d.at += n
	return p
}

func (d *decoder) string() string { return string(d.bytes()) }

// name reads a string that was probably read before.
func (d *decoder) name() string {
	p := d.bytes()
	if len(p) == 0 || len(p) > 64 {
		return string(p)
	}
	h := len(p) + 3*int(p[0]) + 5*int(p[len(p)/2]) + 7*int(p[len(p)-1])
	known := &d.names[h%len(d.names)]
	if *known != string(p) {
		*known = string(p)
	}
	return *known
}

func (d *decoder) float() float64 {
	if len(d.b)-d.at < 8 {
		d.fail(corrupt("truncated"))
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(d.b[d.at:]))
	d.at += 8
	return v
}

func (d *decoder) mask(all uint64, of string) uint64 {
	m := d.uvarint()
	if m&^all != 0 {
		d.fail(fmt.Errorf("%w: unknown field of %s (mask %#x)", ErrUnknownFormat, of, m&^all))
		return 0
	}
	return m
}

func (d *decoder) event(e *Event, nested bool) {
	e.Kind = Kind(d.byte())
	if !e.Kind.Known() {
		if e.Kind == 0 {
			d.fail(corrupt("event kind 0"))
		} else {
			d.fail(fmt.Errorf("%w: event kind %d", ErrUnknownFormat, uint8(e.Kind)))
		}
		return
	}
	m := d.mask(fAll, "an event")
	if m&fSeq != 0 {
		e.Seq = d.varint()
	}
	if m&fRef != 0 {
		e.Ref = d.varint()
	}
	if m&fName != 0 {
		e.Name = d.name()
	}
	if m&fPayload != 0 {
		e.Payload = d.bytes()
	}
	if m&fTime != 0 {
		e.Time = d.varint()
	}
	if m&fTarget != 0 {
		e.Target = d.string()
	}
	if m&fVersion != 0 {
		e.Version = d.name()
	}
	if m < fPool {
		return
	}
	if m&fPool != 0 {
		e.Pool = d.name()
	}
	if m&fSession != 0 {
		e.Session = d.name()
	}
	if m&fText != 0 {
		e.Text = d.string()
	}
	if m&fFailure != 0 {
		e.Failure = d.failure()
	}
	if m&fPolicy != 0 {
		e.Policy = d.readPolicy()
	}
	if m&fParent != 0 {
		e.Parent = &Parent{Key: d.varint(), ID: d.string(), Execution: d.varint(), Seq: d.varint()}
	}
	if m&fCarried != 0 {
		if nested {
			d.fail(corrupt("a carried event carries others"))
			return
		}
		d.carried(e)
	}
	if m&fClose != 0 {
		e.Close = ClosePolicy(d.byte())
		if !e.Close.known() {
			d.fail(fmt.Errorf("%w: close policy %d", ErrUnknownFormat, uint8(e.Close)))
		}
	}
	e.Detached = m&fDetached != 0
	if m&fAttempt != 0 {
		e.Attempt = d.varint()
	}
	if m&fHeader != 0 {
		e.Header = d.header()
	}
	if m&fBlobs != 0 {
		e.Blobs = d.blobs()
	}
}

func (d *decoder) blobs() (blobs []BlobAddress) {
	for range d.count(len(BlobAddress{})) {
		blobs = append(blobs, BlobAddress(d.b[d.at:]))
		d.at += len(BlobAddress{})
	}
	return blobs
}

func (d *decoder) header() map[string]string {
	n := d.count(2)
	if n == 0 {
		return nil // as the encoder has it
	}
	h := make(map[string]string, min(n, trusted))
	for range n {
		name := d.name()
		h[name] = d.string()
		if d.err != nil {
			break
		}
	}
	if d.err == nil && len(h) != n {
		d.fail(corrupt("a header has a field twice"))
	}
	return h
}

// carried reads events that were not consumed. They arrived once, so they are
// deliveries, and what arrives carries nothing: nesting ends here.
func (d *decoder) carried(e *Event) {
	for range d.count(minEvent) {
		e.Carried = append(e.Carried, Event{})
		c := &e.Carried[len(e.Carried)-1]
		d.event(c, true)
		if d.err == nil && !c.Kind.Delivery() {
			d.fail(corrupt("%v carried", c.Kind))
		}
		if d.err != nil {
			return
		}
	}
}

func (d *decoder) failure() *Failure {
	var first *Failure
	at := &first
	for range maxCauses {
		m := d.mask(failAll, "failure")
		f := &Failure{Final: m&failFinal != 0, Sealed: m&failSealed != 0}
		if m&failCode != 0 {
			f.Code = d.name()
		}
		if m&failMessage != 0 {
			f.Message = d.string()
		}
		if m&failType != 0 {
			f.Type = d.string()
		}
		if m&failDetail != 0 {
			f.Detail = d.bytes()
		}
		if m&failRetryAfter != 0 {
			f.RetryAfter = d.varint()
		}
		*at, at = f, &f.Cause
		if m&failCause == 0 || d.err != nil {
			return first
		}
	}
	d.fail(corrupt("causes nested too deeply"))
	return first
}

func (d *decoder) readPolicy() *Policy {
	m := d.mask(polAll, "policy")
	var ints [8]int64
	for i := range ints {
		if m&(1<<i) != 0 {
			ints[i] = d.varint()
		}
	}
	p := Policy{
		StartToClose: ints[0], ScheduleToClose: ints[1], ScheduleToStart: ints[2], Heartbeat: ints[3],
		MaxAttempts: ints[4], Backoff: BackoffKind(ints[5]), Initial: ints[6], MaxInterval: ints[7],
	}
	if int64(p.Backoff) != ints[5] || !p.Backoff.known() {
		d.fail(fmt.Errorf("%w: kind of backoff %d", ErrUnknownFormat, ints[5]))
	}
	if m&polFactor != 0 {
		p.Factor = d.float()
	}
	if m&polJitter != 0 {
		p.Jitter = d.float()
	}
	if m&polNonRetryable != 0 {
		for range d.count(1) {
			p.NonRetryable = append(p.NonRetryable, d.name())
			if d.err != nil {
				break
			}
		}
	}
	if d.policy == nil || !d.policy.equal(&p) {
		kept := p
		d.policy = &kept
	}
	return d.policy
}

func (p *Policy) equal(q *Policy) bool {
	return p.StartToClose == q.StartToClose && p.ScheduleToClose == q.ScheduleToClose &&
		p.ScheduleToStart == q.ScheduleToStart && p.Heartbeat == q.Heartbeat && p.MaxAttempts == q.MaxAttempts &&
		p.Backoff == q.Backoff && p.Initial == q.Initial && p.MaxInterval == q.MaxInterval &&
		p.Factor == q.Factor && p.Jitter == q.Jitter && slices.Equal(p.NonRetryable, q.NonRetryable)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
