package engine

import (
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

// A token names one attempt, and what is not a token names none.
func FuzzParseToken(f *testing.F) {
	a := Attempt{Key: 1 << 60, Execution: 3, Command: 7, Number: 2}
	f.Add(a.token())
	f.Add("")
	f.Add("tAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		ref, err := ParseToken(token)
		if err != nil {
			return
		}
		again, err := ParseToken((&Attempt{Key: ref.Instance, Execution: ref.Execution, Command: ref.Command, Number: ref.Attempt}).token())
		assert.NoError(t, err)
		assert.Equal(t, again, ref)
	})
}

func TestToken(t *testing.T) {
	a := Attempt{Key: 1 << 60, Execution: 3, Command: 7, Number: 2}
	ref, err := ParseToken(a.token())
	assert.NoError(t, err)
	assert.Equal(t, ref.Instance, a.Key)
	assert.Equal(t, []int64{ref.Execution, ref.Command, ref.Attempt}, []int64{3, 7, 2})
	a.Name = "charge"
	old := "t" + "gICAgICAgIAgBg4E" // of before it said of which activity it is
	ref, err = ParseToken(old)
	assert.NoError(t, err)
	assert.Equal(t, ref, a.ref())
	assert.True(t, TokenOf(a.token(), "charge") && !TokenOf(a.token(), "refund") && TokenOf(old, "refund") && !TokenOf("a", "charge"))
	for _, bad := range []string{"", "a", a.token()[1:], a.token() + "AA", "!" + a.token()} {
		_, err := ParseToken(bad)
		assert.True(t, err != nil, "token %q", bad)
	}
}
