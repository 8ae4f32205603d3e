package postgres

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Statements take their rows as arrays, column by column. The driver encodes a
// slice element by element through interfaces, which was most of what it
// allocated and a good part of its time; these codecs encode the slices that
// the store has in one go, in the same format, and leave the rest to it.

// arrayCodec is the driver's codec of an array, but for slices of T.
type arrayCodec[T any] struct {
	*pgtype.ArrayCodec
	element uint32 // OID
	// put appends an element, with its length; null says which is one. It may
	// be nil.
	put  func(buf []byte, v T) []byte
	null func(v T) bool
}

// PreferredFormat implements [pgtype.Codec]. The driver's own sends texts as
// text, with quotes.
func (c *arrayCodec[T]) PreferredFormat() int16 { return pgtype.BinaryFormatCode }

// PlanEncode implements [pgtype.Codec].
func (c *arrayCodec[T]) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.([]T); ok && format == pgtype.BinaryFormatCode {
		return c
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// Encode implements [pgtype.EncodePlan]. The format of an array: its number of
// dimensions, whether it has nulls, the type of its elements; for each
// dimension its size and where it begins; and the elements, each after its
// length, which is -1 for a null (array_recv in PostgreSQL's
// src/backend/utils/adt/arrayfuncs.c).
func (c *arrayCodec[T]) Encode(value any, buf []byte) ([]byte, error) {
	values := value.([]T)
	if values == nil {
		return nil, nil
	}
	if len(values) == 0 {
		buf = binary.BigEndian.AppendUint64(buf, 0)
		return binary.BigEndian.AppendUint32(buf, c.element), nil
	}
	buf = binary.BigEndian.AppendUint32(buf, 1)
	nulls := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, 0)
	buf = binary.BigEndian.AppendUint32(buf, c.element)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(values)))
	buf = binary.BigEndian.AppendUint32(buf, 1)
	for _, v := range values {
		if c.null != nil && c.null(v) {
			buf[nulls+3] = 1
			buf = binary.BigEndian.AppendUint32(buf, ^uint32(0))
			continue
		}
		buf = c.put(buf, v)
	}
	return buf, nil
}

// registerArrays gives a connection the codecs.
func registerArrays(c *pgx.Conn) {
	m := c.TypeMap()
	register(m, "_int8", pgtype.Int8OID, nil, func(buf []byte, v int64) []byte {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(buf, 8), uint64(v))
	})
	register(m, "_int4", pgtype.Int4OID, nil, func(buf []byte, v int32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(buf, 4), uint32(v))
	})
	register(m, "_int2", pgtype.Int2OID, nil, func(buf []byte, v int16) []byte {
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(buf, 2), uint16(v))
	})
	register(m, "_text", pgtype.TextOID, nil, func(buf []byte, v string) []byte {
		return append(binary.BigEndian.AppendUint32(buf, uint32(len(v))), v...)
	})
	register(m, "_bytea", pgtype.ByteaOID, func(v []byte) bool { return v == nil }, func(buf []byte, v []byte) []byte {
		return append(binary.BigEndian.AppendUint32(buf, uint32(len(v))), v...)
	})
}

func register[T any](m *pgtype.Map, name string, element uint32, null func(T) bool, put func([]byte, T) []byte) {
	array, ok := m.TypeForName(name)
	if !ok {
		return
	}
	codec, ok := array.Codec.(*pgtype.ArrayCodec)
	if !ok {
		return
	}
	m.RegisterType(&pgtype.Type{Name: name, OID: array.OID, Codec: &arrayCodec[T]{codec, element, put, null}})
}
