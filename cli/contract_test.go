package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

// The command line looks into the store, so it says that it cannot.
func TestCommandsOnAStoreThatCannotBeInspected(t *testing.T) {
	rt, err := durango.New(providertest.Version1(memory.Open()), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	assert.NoError(t, err)
	for _, name := range []string{"list", "doctor", "stats"} {
		root := Command(rt)
		root.SetArgs([]string{name})
		root.SetOut(io.Discard)
		err := root.Execute()
		var typed *provider.NotSupportedError
		assert.True(t, errors.As(err, &typed), "%s: %v", name, err)
		assert.ErrorContains(t, err, "the command line is not supported: the store memory 1 lacks the capability Inspect")
		assert.Equal(t, ExitCode(err), ExitStore)
	}
}

// DESIGN 8.9: the version that is spoken is shown, with what the store lacks.
func TestDoctorShowsTheContract(t *testing.T) {
	old := provider.Description{Contract: provider.Range{Min: 1, Max: 1}, Capabilities: provider.Capabilities{Inspect: true, Hold: true}}
	c := provider.Contract{Version: 1, Engine: provider.Range{Min: 1, Max: 2}, Store: old}
	var found bytes.Buffer
	examineContract(&c, func(severity provider.Severity, name, format string, args ...any) {
		fmt.Fprintf(&found, "%v %s: %s\n", severity, name, fmt.Sprintf(format, args...))
	})
	assert.Contains(t, found.String(), "warning contract: version 1: durango prefers 2, the provider speaks 1; upgrade the store's provider\n",
		"ok capabilities: Hold Inspect\n", "ok without Amend: Release, Retry and Requeue", "ok without Watch: ")
	assert.False(t, bytes.Contains(found.Bytes(), []byte("without Hold")), "%s", &found)
}
