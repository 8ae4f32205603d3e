package sealed_test

import (
	"errors"
	"fmt"

	"github.com/durango-go/durango/codec/sealed"
)

// A key is rotated in three steps, each of them a deployment: the new key is
// made known, then used, and when nothing is stored under the old one any more
// that is forgotten.
func Example_rotation() {
	// In a program the secrets come from where secrets are kept.
	old := sealed.Key{ID: "2025-11", Secret: []byte("the old secret, of 32 bytes, ok?")}
	next := sealed.Key{ID: "2026-02", Secret: []byte("the next secret, also of 32 byte")}

	before, _ := sealed.New(nil, old)
	known, _ := sealed.New(nil, old, next) // decrypts what nodes write that are a step ahead
	used, _ := sealed.New(nil, next, old)
	after, _ := sealed.New(nil, next)

	var s string
	stored, _ := before.Encode(new("hello"))
	fmt.Println(used.Decode(stored, &s), s)

	stored2, _ := used.Encode(new("again"))
	fmt.Println(known.Decode(stored2, &s), s)

	err := after.Decode(stored, &s)
	fmt.Println(err, errors.Is(err, sealed.ErrUnknownKey))
	// Output:
	// <nil> hello
	// <nil> again
	// sealed: value is encrypted with the key "2025-11", which is not known here true
}
