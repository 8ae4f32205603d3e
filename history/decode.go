package history

import (
	"encoding/binary"
	"fmt"
	"math"
)

// DecodeTurn reads what [AppendTurn] wrote. Payloads alias b: the caller must
// not change b afterwards.
func DecodeTurn(b []byte) (deliveries, commands []Event, err error) {
	d := decoder{b: b}
	d.version()
	nd, nc := d.count(), d.count()
	if d.err != nil {
		return nil, nil, d.err
	}
	if nd+nc > 0 {
		events := make([]Event, nd+nc)
		for i := range events {
			d.event(&events[i], 0)
			if d.err != nil {
				return nil, nil, fmt.Errorf("event %d of %d: %w", i+1, nd+nc, d.err)
			}
			if events[i].Kind.Delivery() != (i < nd) {
				return nil, nil, corrupt("a command among deliveries")
			}
		}
		deliveries, commands = events[:nd:nd], events[nd:]
	}
	return deliveries, commands, d.end()
}

// DecodeMessage reads what [AppendMessage] wrote. Payloads alias b.
func DecodeMessage(b []byte) (Event, error) {
	d := decoder{b: b}
	d.version()
	var e Event
	d.event(&e, 0)
	if err := d.end(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// decoder keeps the first error and reads zeros after it.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
		d.b = nil
	}
}

func (d *decoder) end() error {
	if d.err == nil && len(d.b) != 0 {
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
	if len(d.b) == 0 {
		d.fail(corrupt("truncated"))
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(corrupt("bad integer"))
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(corrupt("bad integer"))
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of items that take at least one byte each.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail(corrupt("count beyond the input"))
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count()
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) float() float64 {
	if len(d.b) < 8 {
		d.fail(corrupt("truncated"))
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(d.b))
	d.b = d.b[8:]
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

func (d *decoder) event(e *Event, depth int) {
	e.Kind = Kind(d.byte())
	if d.err != nil {
		return
	}
	if !e.Kind.Known() {
		d.fail(fmt.Errorf("%w: event kind %d", ErrUnknownFormat, uint8(e.Kind)))
		return
	}
	m := d.mask(fAll, e.Kind.String())
	if m&fSeq != 0 {
		e.Seq = d.varint()
	}
	if m&fRef != 0 {
		e.Ref = d.varint()
	}
	if m&fName != 0 {
		e.Name = d.string()
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
		e.Version = d.string()
	}
	if m < fPool {
		return
	}
	if m&fPool != 0 {
		e.Pool = d.string()
	}
	if m&fSession != 0 {
		e.Session = d.string()
	}
	if m&fText != 0 {
		e.Text = d.string()
	}
	if m&fFailure != 0 {
		e.Failure = d.failure()
	}
	if m&fPolicy != 0 {
		e.Policy = d.policy()
	}
	if m&fParent != 0 {
		e.Parent = &Parent{Key: d.varint(), ID: d.string(), Execution: d.varint(), Seq: d.varint()}
	}
	if m&fCarried != 0 {
		d.carried(e, depth)
	}
	if m&fClose != 0 {
		e.Close = ClosePolicy(d.byte())
	}
	e.Detached = m&fDetached != 0
	if m&fAttempt != 0 {
		e.Attempt = d.varint()
	}
}

func (d *decoder) carried(e *Event, depth int) {
	n := d.count()
	if depth >= maxCauses {
		d.fail(corrupt("nested too deeply"))
		return
	}
	for range n {
		e.Carried = append(e.Carried, Event{})
		d.event(&e.Carried[len(e.Carried)-1], depth+1)
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
		f := &Failure{Final: m&failFinal != 0}
		if m&failCode != 0 {
			f.Code = d.string()
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
		*at, at = f, &f.Cause
		if m&failCause == 0 || d.err != nil {
			return first
		}
	}
	d.fail(corrupt("causes nested too deeply"))
	return first
}

func (d *decoder) policy() *Policy {
	m := d.mask(polAll, "policy")
	var ints [8]int64
	for i := range ints {
		if m&(1<<i) != 0 {
			ints[i] = d.varint()
		}
	}
	p := &Policy{
		StartToClose: ints[0], ScheduleToClose: ints[1], ScheduleToStart: ints[2], Heartbeat: ints[3],
		MaxAttempts: ints[4], Backoff: BackoffKind(ints[5]), Initial: ints[6], MaxInterval: ints[7],
	}
	if m&polFactor != 0 {
		p.Factor = d.float()
	}
	if m&polJitter != 0 {
		p.Jitter = d.float()
	}
	if m&polNonRetryable != 0 {
		for range d.count() {
			p.NonRetryable = append(p.NonRetryable, d.string())
			if d.err != nil {
				break
			}
		}
	}
	return p
}
