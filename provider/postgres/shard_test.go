package postgres

import (
	"fmt"
	"testing"

	"github.com/durango-go/durango/provider"
)

// Load is spread evenly: over the shards of keys, and over those of IDs that
// differ as little as IDs do.
func TestShardsAreEven(t *testing.T) {
	const each = 4000
	for _, shards := range []int64{defaultShards, 10, 64} {
		s := &Store{shards: shards}
		for name, shard := range map[string]func(i int) int32{
			"keys":         func(int) int32 { return s.keyShard(provider.NewKey()) },
			"numbered IDs": func(i int) int32 { return s.textShard(fmt.Sprintf("order-%08d", i)) },
			"plain IDs":    func(i int) int32 { return s.textShard(fmt.Sprint(i)) },
			"children":     func(i int) int32 { return s.textShard(fmt.Sprintf("order-%d/1.%d", i/10, i%10)) },
		} {
			in := make([]int, shards)
			for i := range int(shards) * each {
				in[shard(i)]++
			}
			for i, n := range in {
				if n < each*9/10 || n > each*11/10 { // six standard deviations of what chance does
					t.Errorf("%s: shard %d of %d has %d, not about %d", name, i, shards, n, each)
				}
			}
		}
	}
}
