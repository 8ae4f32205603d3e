package engine

import (
	"math"
	"testing"
	"time"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// Sums and pauses that no time can hold never come, instead of having passed.
func TestFarTimes(t *testing.T) {
	assert.Equal(t, after(7, int64(5)), 12)
	assert.Equal(t, after(7, time.Duration(0)), 7)
	assert.Equal(t, after(7, time.Duration(-5)), 2)
	assert.Equal(t, after(1, int64(math.MaxInt64-1)), provider.Never)
	assert.Equal(t, after(2, int64(math.MaxInt64)), provider.Never)
	assert.Equal(t, after(provider.Never, int64(1)), provider.Never)

	assert.Equal(t, nanos(1.9), 1)
	assert.Equal(t, nanos(math.MaxInt64), math.MaxInt64)
	assert.Equal(t, nanos(math.Inf(1)), math.MaxInt64)
	for _, n := range []int64{1, 40, math.MaxInt64} {
		assert.True(t, turnBackoff(&Options{MinBackoff: time.Hour, MaxBackoff: math.MaxInt64}, n) >= int64(time.Hour), "after %d failures", n)
	}
}
