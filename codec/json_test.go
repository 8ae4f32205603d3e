// Package codec_test fuzzes what codecs read, apart from the stores: to fuzz
// is to build everything anew.
package codec_test

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/durango-go/durango"
)

// everything has a field of each kind that encoding/json treats in its own way.
type everything struct {
	Name    string
	N       int8    `json:"n"`
	U       uint64  `json:",omitempty"`
	F       float32 `json:"f"`
	Quoted  int64   `json:",string"`
	QuotedS string  `json:",string"`
	Skip    string  `json:"-"`
	B       bool
	Bytes   []byte
	Array   [3]byte
	Ints    []int
	Map     map[string]*inner
	ByInt   map[int16]string
	ByAddr  map[netip.Addr]bool
	Any     any
	Raw     json.RawMessage
	At      time.Time
	For     time.Duration
	Big     *big.Int
	Text    netip.Addr
	Custom  shouting
	Deep    **inner
	inner
	*promoted
}

type (
	inner    struct{ X, Y any }
	promoted struct {
		Name  string
		Other string `json:"other"`
	}
	shouting string
)

func (s *shouting) UnmarshalJSON(b []byte) error {
	*s = shouting("!" + string(b))
	return nil
}

// The default codec decodes as encoding/json does, with its errors.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `"x"`, `1e3`, `{"Name":"a","name":"b","n":127}`, `{"n":128}`, `{"n":1.0}`, `{"N":3,"unknown":[{}]}`,
		`{"U":-1}`, `{"f":1e400}`, `{"Quoted":"12","QuotedS":"\"q\""}`, `{"Quoted":12}`, `{"Quoted":null}`, `{"-":"d","Skip":"s"}`,
		`{"Bytes":"AQID","Array":[1,2]}`, `{"Bytes":[1,2,3]}`, `{"Bytes":"AQID\n"}`, `{"Array":[1,2,3,4]}`, `{"Ints":[1,null,3]}`,
		`{"Map":{"a":{"X":1},"b":null},"ByInt":{"-7":"x"},"ByAddr":{"1.2.3.4":true}}`, `{"Any":{"a":[1,"b",null,true,1e99]}}`,
		`{"Raw":  {"a" : 1} }`, `{"At":"2024-02-29T12:00:00Z","For":5}`, `{"At":"yesterday"}`, `{"Big":123456789012345678901234567890}`,
		`{"Text":"::1","Custom":"x"}`, `{"Deep":{"X":1},"X":2,"other":"o"}`, `{"Deep":null}`, "{\"Name\":\"\xff\\ud800\"}",
		`{"Name":1}`, `{"Map":[]}`, `{"Name":"a"} x`, `{"Name":"a"`, ` {"NAME":"a"} `, `{"Name":"\u0000"}`, `[1,2`, ``, `-0`, `{"B":"true"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, typ := range []reflect.Type{
			reflect.TypeFor[everything](), reflect.TypeFor[any](), reflect.TypeFor[[]string](), reflect.TypeFor[string](), reflect.TypeFor[float64](),
			reflect.TypeFor[map[string]int](), reflect.TypeFor[*inner](), reflect.TypeFor[bool](), reflect.TypeFor[[]byte](),
		} {
			want, got := reflect.New(typ), reflect.New(typ)
			wantErr, gotErr := json.Unmarshal(b, want.Interface()), durango.JSON.Decode(b, got.Interface())
			if wantErr != nil || gotErr != nil {
				if reflect.TypeOf(gotErr) != reflect.TypeOf(wantErr) || wantErr == nil || gotErr.Error() != wantErr.Error() {
					t.Fatalf("%s from %q: error %v, encoding/json has %v", typ, b, gotErr, wantErr)
				}
				continue
			}
			if !reflect.DeepEqual(got.Interface(), want.Interface()) {
				t.Fatalf("%s from %q: %+v, encoding/json has %+v", typ, b, got.Elem(), want.Elem())
			}
		}
	})
}
