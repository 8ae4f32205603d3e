package types

import inner "github.com/durango-go/durango/internal/gen/testdata/golden/imports/b/types"

type Item struct{ Name string }

type Box[T any] struct{ V T }

// Parcel is another package's type under a name of this one.
type Parcel = inner.Item
