// Package imports has types from everywhere.
package imports

import (
	stdctx "context"
	"net/url"
	"time"

	dur "github.com/durango-go/durango"
	a "github.com/durango-go/durango/internal/gen/testdata/golden/imports/a/types"
	btypes "github.com/durango-go/durango/internal/gen/testdata/golden/imports/b/types"
	. "github.com/durango-go/durango/internal/gen/testdata/golden/imports/go-money"
)

// Names that imports must not have.
var durango, url2 = 1, 2

type Context = stdctx.Context

//durango:activity
func Weigh(_ Context, i a.Item) (btypes.Item, error) { return btypes.Item{}, nil }

//durango:activity
func Price(stdctx.Context, a.Box[*btypes.Item]) (Amount, error) { return 0, nil }

//durango:activity
func Pack(stdctx.Context, []a.Parcel) (map[time.Duration]*url.URL, error) { return nil, nil }

//durango:orchestration version=2.0.0
func Deliver(_ *dur.Context, in struct{ time.Time }) (dur.ActivityInfo, error) {
	return dur.ActivityInfo{}, nil
}
