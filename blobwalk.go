package durango

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// held is what a payload refers to: all of it, and the contents among it that
// have to be put.
type held struct {
	blobs    []history.BlobAddress
	contents []replay.Content
	// The Blobs that the contents are of, and what they become.
	states []*blobState
	refs   []*blobRef
}

// encoding is held while a value with Blobs is encoded: what a Blob shows then
// depends on whose encoding it is.
var encoding sync.Mutex

// encodeWith is encodeCall for a value that may have Blobs: those that are large
// become references.
func encodeWith[T any](h *blobs, c Codec, verb, name string, v *T) (payload []byte, held held, err error) {
	if !mayHold(reflect.TypeFor[T]()) {
		payload, err = encodeCall(c, verb, name, v)
		return payload, held, err
	}
	var found []*blobState
	walkBlobs(reflect.ValueOf(v).Elem(), maxDepth, func(s *blobState) { found = append(found, s) })
	if len(found) == 0 {
		payload, err = encodeCall(c, verb, name, v)
		return payload, held, err
	}
	for _, s := range found {
		if err := held.add(h, s); err != nil {
			return nil, held, fmt.Errorf("%s %q: %w", verb, name, err)
		}
	}
	encoding.Lock()
	defer encoding.Unlock()
	for i, s := range held.states {
		s.shown.Store(held.refs[i])
		defer s.shown.Store(nil)
	}
	payload, err = encodeCall(c, verb, name, v)
	return payload, held, err
}

// encodeIn is encodeWith for a call of an orchestration: the contents are put
// before its turn is committed.
func encodeIn[T any](x *execution, verb, name string, v *T) (payload []byte, blobs []history.BlobAddress, err error) {
	payload, held, err := encodeWith(x.env.blobs, x.codec, verb, name, v)
	if len(held.contents) > 0 {
		x.m.Keep(held.contents...)
	}
	return payload, held.blobs, err
}

// encodeFor is encodeWith for a call of a client, which puts the contents at
// once.
func encodeFor[T any](ctx context.Context, c *Client, verb, name string, v *T) (payload []byte, blobs []history.BlobAddress, err error) {
	if c == nil {
		return nil, nil, errNoClient
	}
	payload, held, err := encodeWith(c.blobs, c.codec, verb, name, v)
	if err == nil {
		err = c.blobs.put(ctx, held)
	}
	return payload, held.blobs, err
}

// encoder is encodeIn or encodeFor, for who has both kinds of callers.
type encoder[T any] func(verb, name string, v *T) ([]byte, []history.BlobAddress, error)

func encodeBy[T any](ctx context.Context, c *Client) encoder[T] {
	return func(verb, name string, v *T) ([]byte, []history.BlobAddress, error) {
		return encodeFor(ctx, c, verb, name, v)
	}
}

func (l *held) add(h *blobs, s *blobState) error {
	switch {
	case s.ref != nil:
		l.blobs = append(l.blobs, s.ref.address)
		return nil
	case h == nil || h.threshold < 0 || len(s.data) <= h.threshold:
		return nil
	case h.store == nil || h.keeper == nil:
		return h.lacking(fmt.Sprintf("a Blob of %d bytes", len(s.data)))
	}
	stored, err := h.prepare(s)
	if err != nil {
		return fmt.Errorf("encode blob: %w", err)
	}
	l.states, l.refs = append(l.states, s), append(l.refs, &stored.ref)
	l.blobs = append(l.blobs, stored.ref.address)
	l.contents = append(l.contents, replay.Content{Address: stored.ref.address, Bytes: stored.b})
	return nil
}

// bind tells the Blobs of a value that was decoded where they are read from.
func bind[T any](h *blobs, v *T) {
	if mayHold(reflect.TypeFor[T]()) {
		walkBlobs(reflect.ValueOf(v).Elem(), maxDepth, func(s *blobState) { s.from = h })
	}
}

// maxDepth bounds how deep a value is looked into. What is deeper, or refers to
// itself, no codec encodes.
const maxDepth = 1000

var blobType = reflect.TypeFor[Blob]()

// walkBlobs calls yield for the Blobs of a value that are not empty.
func walkBlobs(v reflect.Value, depth int, yield func(*blobState)) {
	if depth == 0 || !mayHold(v.Type()) {
		return
	}
	if v.Type() == blobType {
		if s := v.Interface().(Blob).s; s != nil {
			yield(s)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walkBlobs(v.Elem(), depth-1, yield)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walkBlobs(v.Index(i), depth-1, yield)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			walkBlobs(it.Value(), depth-1, yield)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct {
				walkBlobs(v.Field(i), depth-1, yield)
			}
		}
	}
}

// holders remembers which types may have Blobs in their values.
var holders sync.Map // reflect.Type → bool

func mayHold(t reflect.Type) bool {
	if known, ok := holders.Load(t); ok {
		return known.(bool)
	}
	holds := searchBlob(t, map[reflect.Type]bool{})
	holders.Store(t, holds)
	return holds
}

// searchBlob looks for Blob in a type. An interface may have anything in it.
func searchBlob(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == blobType || t.Kind() == reflect.Interface {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return searchBlob(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct) && searchBlob(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
