package postgres

import (
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
)

// What the store's own codecs encode is what the server reads, and the driver
// reads back.
func TestArrays(t *testing.T) {
	c, err := pgx.Connect(t.Context(), server)
	must(t, err)
	defer c.Close(t.Context())
	registerArrays(c)
	for _, tt := range []struct {
		kind  string
		value any
		text  string // what the server makes of it
	}{
		{"bigint[]", []int64{0, -1, 1 << 62}, "{0,-1,4611686018427387904}"},
		{"integer[]", []int32{7, -8}, "{7,-8}"},
		{"smallint[]", []int16{-32768, 9}, "{-32768,9}"},
		{"text[]", []string{"", "NULL", `a "b" {c}, \`, "é€名"}, `{"","NULL","a \"b\" {c}, \\",é€名}`},
		{"bytea[]", [][]byte{nil, {}, {0, 255}}, `{NULL,"\\x","\\x00ff"}`},
		{"bigint[]", []int64{}, "{}"},
		{"text[]", []string{}, "{}"},
	} {
		t.Run(tt.kind+tt.text, func(t *testing.T) {
			back := reflect.New(reflect.TypeOf(tt.value))
			var text string
			must(t, c.QueryRow(t.Context(), "SELECT $1::"+tt.kind+"::text, $1::"+tt.kind, tt.value).Scan(&text, back.Interface()))
			assert.Equal(t, text, tt.text)
			assert.Equal(t, back.Elem().Interface(), tt.value)
		})
	}
	var none bool
	must(t, c.QueryRow(t.Context(), "SELECT $1::bigint[] IS NULL AND $2::bytea[] IS NULL", []int64(nil), [][]byte(nil)).Scan(&none))
	assert.True(t, none, "nil is not NULL")
}

// BenchmarkArrays encodes what a group of 64 turns has: ten columns.
func BenchmarkArrays(b *testing.B) {
	c, err := pgx.Connect(b.Context(), server)
	must(b, err)
	defer c.Close(b.Context())
	keys, payloads := make([]int64, 64), make([][]byte, 64)
	for i := range keys {
		keys[i], payloads[i] = int64(i)<<40, make([]byte, 200)
	}
	for _, name := range []string{"driver", "own"} {
		if name == "own" {
			registerArrays(c)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				for range 9 {
					buf, _ = c.TypeMap().Encode(1016, 1, keys, buf[:0])
				}
				buf, _ = c.TypeMap().Encode(1001, 1, payloads, buf[:0])
			}
		})
	}
}
