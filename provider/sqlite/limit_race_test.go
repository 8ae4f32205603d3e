//go:build race

package sqlite

// What is as large as the store takes takes minutes with the race detector.
func init() { maxEventSize = 2 << 20 }
