package postgres

import (
	"hash/fnv"

	"github.com/durango-go/durango/provider"
)

// A shard is where a row may be kept apart from others. Calls know instances
// by their keys far more often than by their IDs, so the shard of an instance
// comes from its key: every statement of a turn names one shard and needs no
// lookup. What is looked for by ID costs one row more, in the shard of the ID,
// which leads to the key (schema.ids). Were it the other way round, each call
// with a key would have to find or remember the ID first.

// defaultShards is the number of shards of a new schema. It can never change.
const defaultShards = 16

func (s *Store) shardOf(k int64) int32 {
	n := k % s.shards // the statements have the same as abs(mod(k, shards))
	if n < 0 {
		n = -n
	}
	return int32(n)
}

func (s *Store) keyShard(k provider.Key) int32      { return s.shardOf(int64(k)) }
func (s *Store) nodeShard(n provider.NodeKey) int32 { return s.shardOf(int64(n)) }

// textShard is the shard of an ID, or of any other name.
func (s *Store) textShard(id string) int32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int32(h.Sum64() % uint64(s.shards))
}

func (s *Store) keyShards(keys []provider.Key) []int32 {
	shards := make([]int32, len(keys))
	for i, k := range keys {
		shards[i] = s.keyShard(k)
	}
	return shards
}

func (s *Store) textShards(ids []string) []int32 {
	shards := make([]int32, len(ids))
	for i, id := range ids {
		shards[i] = s.textShard(id)
	}
	return shards
}

// numbers are keys as the driver knows them.
func numbers[K ~int64](keys []K) []int64 {
	n := make([]int64, len(keys))
	for i, k := range keys {
		n[i] = int64(k)
	}
	return n
}
