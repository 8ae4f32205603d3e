package memory_test

import (
	"sync"
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

// CONTRACT: "a provider compiled against an older module goes on compiling and
// working." One of version 1 keeps every promise that is not a capability's.
func TestConformanceOfVersion1(t *testing.T) {
	var inside sync.Map // what looks into each
	providertest.Config{
		Open: func(testing.TB) provider.Provider {
			s := memory.Open()
			p := providertest.Version1(s)
			inside.Store(p, s)
			return p
		},
		Inspector: func(p provider.Provider) provider.Inspector {
			s, _ := inside.Load(p)
			return s.(*memory.Store)
		},
	}.Run(t)
}

func Benchmark(b *testing.B) {
	providertest.Bench(b, func(b *testing.B) provider.Provider { return memory.Open() })
}
