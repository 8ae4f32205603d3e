// Package providertest is the conformance suite of the storage contract: a
// provider is one when [Run] passes. CONTRACT.md states the promises in prose;
// a case here opens with the sentence it verifies where that sentence is a
// rule of the protocol.
//
// A provider's own tests call Run, and otherwise cover only its dialect:
//
//	func TestConformance(t *testing.T) {
//		providertest.Run(t, func(t *testing.T) provider.Provider { return memory.Open() })
//	}
package providertest

import (
	"testing"

	"github.com/durango-go/durango/provider"
)

// Config describes a provider to the suite.
type Config struct {
	// Open makes a new, empty store. The suite closes it.
	Open func(tb testing.TB) provider.Provider
	// Again opens the store behind p once more, as another process would. The
	// suite calls it while p is in use, for stores that are Shared, and after
	// it has closed p, for those that are Persistent; it is required for both.
	Again func(tb testing.TB, p provider.Provider) provider.Provider
	// Inspector looks into a store that is no provider.Inspector itself: for its
	// tests only, which cannot see otherwise what it has done.
	Inspector func(p provider.Provider) provider.Inspector
	// Serial runs one case at a time.
	Serial bool
}

// Run runs the suite against stores made by open.
func Run(t *testing.T, open func(t *testing.T) provider.Provider) {
	t.Helper()
	Config{Open: func(tb testing.TB) provider.Provider { return open(tb.(*testing.T)) }}.Run(t)
}

// Run runs the suite.
func (c Config) Run(t *testing.T) {
	for _, topic := range topics {
		t.Run(topic.name, func(t *testing.T) {
			for _, tc := range topic.cases {
				t.Run(tc.name, func(t *testing.T) {
					if !c.Serial {
						t.Parallel()
					}
					tc.run(newHarness(t, c))
				})
			}
		})
	}
}

// testCase is one promise. Every case has a store of its own.
type testCase struct {
	name string
	run  func(h *harness)
}

var topics = []struct {
	name  string
	cases []testCase
}{
	{"Describe", describeCases},
	{"Nodes", nodeCases},
	{"Create", createCases},
	{"CreateFirst", firstCases},
	{"CreateWith", withCases},
	{"Mailbox", mailboxCases},
	{"Claim", claimCases},
	{"Load", loadCases},
	{"Commit", commitCases},
	{"Failure", failureCases},
	{"Publish", publishCases},
	{"Replies", replyCases},
	{"Lookup", lookupCases},
	{"Definitions", definitionCases},
	{"Idempotence", idempotenceCases},
	{"Turns", turnCases},
	{"ContinueAsNew", continueCases},
	{"Children", childCases},
	{"Refusals", refusalCases},
	{"Tasks", taskCases},
	{"TaskFinish", taskFinishCases},
	{"Expiry", expiryCases},
	{"Parking", parkingCases},
	{"Sessions", sessionCases},
	{"Death", deathCases},
	{"Terminate", terminateCases},
	{"Suspend", suspendCases},
	{"Hold", holdCases},
	{"Delete", deleteCases},
	{"Amend", amendCases},
	{"Blobs", blobCases},
	{"Outcomes", outcomeCases},
	{"Inspector", inspectorCases},
	{"Limits", limitCases},
	{"Concurrency", concurrencyCases},
	{"Handles", handleCases},
	{"Faults", faultCases},
	{"Walk", walkCases},
}
