package postgres

import (
	"testing"

	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/providertest"
)

func Benchmark(b *testing.B) {
	providertest.Bench(b, func(b *testing.B) provider.Provider { return open(b, Options{}) })
}
