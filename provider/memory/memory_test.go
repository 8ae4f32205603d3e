package memory_test

import (
	"testing"

	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider { return memory.Open() })
}

// A store with a limit must keep every other promise, too.
func TestConformanceWithLimit(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		s := memory.Open()
		s.MaxEventSize = 16 << 10
		return s
	})
}

func Benchmark(b *testing.B) {
	providertest.Bench(b, func(b *testing.B) provider.Provider { return memory.Open() })
}
