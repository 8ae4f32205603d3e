//go:build durangogen || never

// Package tagged is built with a tag only.
package tagged

import (
	"context"

	"github.com/durango-go/durango"
)

//durango:activity
func Tagged(context.Context, durango.None) (durango.None, error) { return durango.None{}, nil }
