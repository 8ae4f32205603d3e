package durango_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

// promises are sentences of DESIGN 5 (semantics), 8 and 9 (traps), each with
// the tests that would fail if it were not kept: "TestX" of this package,
// "dir.TestX" of another, "providertest.X" for a case of the conformance suite,
// "later" for what has to be built before it can be broken.
var promises = []struct {
	sentence string
	tests    []string
}{
	// DESIGN 5, signals and clients that repeat themselves.
	{"Signals sent before anyone waits are kept", []string{"TestSignalsAreKeptInOrder", "internal/engine.TestSignalsAndEviction"}},
	{"FIFO per name and sender", []string{"TestSignalsAreKeptInOrder", "internal/replay.TestManySignalsStayInOrder",
		"internal/engine.TestMailBehindAGapIsReadAtOnce", "providertest.NumbersAreDenseAndInOrder"}},
	{"they outlive continue-as-new (unconsumed ones are carried whole, no cap but size)", []string{
		"TestUnreadSignalsAreCarriedWhole", "internal/engine.TestRule10CarriedSignalsComeBeforeNewerMail", "internal/replay.TestTranscripts",
		"providertest.Rule10UnreadMailStaysInItsOrder"}},
	{"a canceled wait consumes nothing", []string{"TestCanceledWaitConsumesNothing", "TestOnlyTheWinnerConsumes", "internal/replay.TestTranscripts"}},
	{"A signal is consumed by the Await or Select that returns it", []string{"TestSignalConsumption", "TestOnlyTheWinnerConsumes", "internal/replay.TestTranscripts"}},
	{"Sending to an unknown or finished instance is an error to the sender, never a message lost or a queue blocked", []string{
		"TestSendersLearnThatNobodyIsThere", "TestSendFromToNobody", "providertest.SendsThatMeetTheEndAreRefusedOrAccepted"}},
	{"Start is keyed by instance ID", []string{"TestStarts", "internal/engine.TestAStartWhoseReplyIsLost"}},
	{"Send and Update accept an ID that is accepted once per instance (for as long as the receiver lives)", []string{
		"TestMessageIDIsAcceptedOnce", "TestUpdates", "internal/engine.TestASendWhoseReplyIsLost", "providertest.AnIDIsRememberedAfterItsMessageWasRead"}},
	{"Publish accepts an ID that is accepted once per topic", []string{"later"}},

	// Starts and timers.
	{"Start is a conditional insert: ErrAlreadyExists with the existing run; IfExists: Reuse returns it instead", []string{"TestStarts", "TestRuntimeEndToEnd"}},
	{"SendWithStart does both atomically", []string{"TestSendWithStart", "providertest.WhoeverCreatesEverybodyIsHeard"}},
	{"A start may be delayed (At)", []string{"TestStarts", "TestSendWithStart", "TestCancelBeforeADelayedStart", "providertest.MailDoesNotHastenADelayedStart", "providertest.AMessageMayHastenADelayedStart"}},
	{"Timers are absolute times of the store's clock recorded at emission; never early; after downtime they fire at once", []string{
		"TestTimersAfterDowntime", "internal/engine.TestTimersFireAndNeverEarly", "internal/engine.TestATurnBeforeATimerDoesNotFireIt",
		"internal/engine.TestTimeIsThatOfTheStore"}},

	// Activities.
	{"Activities run at least once; a recorded result is never run again", []string{
		"TestIdempotencyKeys", "durangotest.TestCrashEverywhere", "internal/engine.TestRule05RecoveryQueuesOnlyWhatHasNeitherRowNorAnswer",
		"internal/crash.TestNothingIsLostWhenWorkersAreKilled"}},
	{"start-to-close and schedule-to-close timeouts", []string{"TestTimeoutsOfActivities", "TestNobodyTakesIt"}},
	{"heartbeat timeout", []string{"TestHeartbeats", "TestHeartbeatsOfWhatIsCompletedLater"}},
	{"retry (max attempts, exponential/linear/fixed backoff, jitter, non-retryable error kinds)", []string{
		"TestPausesBetweenAttempts", "TestRetriesCostNoTurn", "TestRetryAfter"}},
	{"an error the activity returns goes to the orchestration at once", []string{"TestRetriesCostNoTurn"}},
	{"an attempt that was lost (its worker died) is dispatched again", []string{"TestLostAttempts"}},
	{"A lost attempt counts against MaxAttempts; with none left the activity fails with ErrWorkerLost", []string{"TestLostAttempts"}},
	{"Retries are the engine's, visible as attempts, and cost the orchestration nothing", []string{"TestRetriesCostNoTurn", "internal/engine.TestRetries"}},
	{"A task no worker takes within schedule-to-start fails with ErrNoWorker if a limit is set", []string{"TestNobodyTakesIt", "TestPools"}},
	{"and shows up as stuck either way", []string{"cli.TestScripts"}},
	{"Pools route activities to nodes that serve them", []string{"TestPools"}},
	{"sessions pin a series of activities to one node, with capacity per node, and move when it dies", []string{
		"TestSessions", "TestSessionsAndOthers", "providertest.MaxSessionsBounds", "providertest.ASessionHasOneNode"}},

	// Children and ends.
	{"Children are instances with a parent link kept over their continue-as-new", []string{"TestEveryEndReachesTheParentOnce", "TestContinueAsNewKeepsAndDrops"}},
	{"every terminal state notifies the parent exactly once", []string{"TestEveryEndReachesTheParentOnce", "providertest.TheParentIsTold"}},
	{"Parent close policy: cancel (default), terminate, abandon", []string{"TestClosePolicies", "providertest.AClosePolicyTerminatesInOneCommit"}},
	{"A detached start is a child with no link", []string{"TestClosePolicies", "TestTheLastTurnTakesEffect"}},
	{"A child ID already taken is an error to the parent's await, not a hang", []string{"TestTakenChildID", "providertest.ATakenIDIsToldToTheParent"}},
	{"Cancel cascades to children", []string{"TestCancelReachesActivities", "TestClosePolicies"}},
	{"reaches running activities at once when they are local, and within one heartbeat when they are remote", []string{"TestCancelReachesActivities", "TestWhyAnActivityIsToStop"}},
	{"Canceled work discards its result", []string{"TestCancelReachesActivities", "TestLateCompletion", "TestContinueAsNewKeepsAndDrops"}},
	{"Terminate stops without running code", []string{"TestTerminateIsSeenAtOnce", "providertest.AnInstanceEndsWithoutItsCode"}},
	{"Continue-as-new commits the end of one execution and the start of the next in one transaction", []string{
		"TestSignalsAreKeptInOrder", "TestContinueAsNewKeepsAndDrops", "providertest.TheNextExecutionIsDueAtOnce"}},
	{"unfinished activities are canceled, the close policy applies to children", []string{
		"TestContinueAsNewKeepsAndDrops", "TestClosePolicies", "providertest.TasksOfTheOlderExecutionAreRemoved"}},
	{"values, custom status and unconsumed signals go on", []string{"TestContinueAsNewKeepsAndDrops", "TestValues", "TestUnreadSignalsAreCarriedWhole"}},
	{"subscriptions go on", []string{"later"}},
	{"a request to cancel is not lost at continue-as-new", []string{"TestCancelIsNotLostAtContinueAsNew", "TestContinueAsNewAfterCancel", "TestDetachedSagaIsWaitedFor"}},
	{"an execution does not end while a saga in one of its coroutines is under way", []string{"TestNoSagaIsAbandoned", "TestAbandonedSagasAndCrashes"}},

	// Values, errors, versions, updates.
	{"Values read their base from the start of the execution plus recorded changes, never from live state", []string{"TestValues", "internal/replay.TestRecordedValueStands"}},
	{"Clients read the merged view; other instances read through a recorded read", []string{"TestValues", "TestValueOfNobody"}},
	{"Errors cross the store typed: code, message, detail JSON, retryable, cause chain", []string{
		"TestErrorsAreTheSameLiveAndReplayed", "TestSentinelsMatchAfterTheStore", "TestChainsAreKeptAndBounded"}},
	{"A live error passes the same encode and decode as a replayed one", []string{"TestErrorsAreTheSameLiveAndReplayed", "TestErrorsCrossTyped"}},
	{"A start without a version takes the highest; an exact version or a range is resolved; the choice pins the execution; continue-as-new chooses again unless told to keep", []string{
		"TestVersionRanges", "TestIdentityComesFromHistory"}},
	{"ctx.Patched branches in code", []string{"TestPatched", "internal/replay.TestPatchedRemembers"}},
	{"A node claims only instances whose name and version it has; others wait, visibly", []string{
		"TestVersionNobodyHas", "providertest.OnlyWhatTheNodeCanRun", "providertest.WaitingSinceSelectsWhatNobodyTakes"}},
	{"A name no node has is not an error to a client: it waits and shows as stuck", []string{"TestNameNoNodeHasWaitsVisibly", "internal/engine.TestANameNoNodeHasWaits"}},
	{"Query: custom status and values without running code", []string{"TestStatuses", "TestValues"}},
	{"Update: a validated, synchronous request to a running instance, answered when the orchestration handled it", []string{"TestUpdates", "TestUpdatesSideBySide"}},
	{"a rejected one consumes its message and answers, and leaves no turn", []string{"TestUpdates", "internal/replay.TestRejectedTurnIsNone"}},
	{"replies are kept for a stated time for retrying clients", []string{
		"TestUpdates", "internal/engine.TestRepliesAreKeptForADay", "providertest.OldAnswersAreDropped"}},

	// DESIGN 8.8, sizes.
	{"The roadmap's six (256 KiB inputs and outputs, 64 KiB signals, 1 MiB any event)", []string{"TestLimitsByDefault", "TestLargeInputs"}},
	{"per runtime and per handle (the handle's wins); effective limit = min(configured, provider's MaxEventSize)", []string{
		"TestLimitsOfHandles", "TestLargeInputs"}},
	{"Checked where the value is handed over, after encoding, with a typed error that names the limit", []string{
		"TestLimitsInOrchestrations", "TestLimitsOfClients", "TestActivityOutputOverTheLimitIsFinal"}},
	{"providers check again as a safety net", []string{
		"providertest.TooLargeACommitFailsAlone", "providertest.TooLargeDetailsOfABeatChangeNothing", "providertest.TooLargeATurnFailsAlone",
		"internal/engine.TestAnEndThatTheStoreRefusesIsFinal"}},
	{"A rejection seen by orchestration code is recorded, and limits are evaluated at first emission only, so changing one never changes a replay", []string{
		"TestLimitsThatChangeChangeNoReplay", "internal/replay.TestRefusalsAreReplayed"}},
	{"An orchestration's own output over the limit is a turn failure (the limit can be raised)", []string{"TestOutputOverTheLimitWaits"}},
	{"Error details are cut at 16 KiB; a turn has a command and a byte limit", []string{"TestErrorsAreCut", "TestLimitsOfTurns", "internal/replay.TestLimitsOfATurn"}},
	{"Sizes are histograms from which p50, p99 and max can be read", []string{"TestSizes", "internal/engine.TestSizesAreNearlyRight"}},
	// DESIGN 8, quarantine and contracts.
	{"Wait on a quarantined run keeps waiting unless asked to return ErrQuarantined", []string{"TestWaitUntilQuarantined", "durangotest.TestWaitUntilQuarantined"}},
	{"Each side states a range and a preference; the highest common version is used; none is a start-up error that says which side to upgrade", []string{
		"internal/engine.TestTheHighestCommonVersionIsSpoken", "internal/engine.TestAnEngineOfTwoVersionsWithAStoreOfTheFirst",
		"TestStoreOfAnotherContract", "TestClientsOfAnotherContract", "provider.TestNegotiate"}},
	{"later methods are optional interfaces behind capabilities, so an old provider still compiles", []string{
		"provider/memory.TestConformanceOfVersion1", "TestProgramsRunOnVersion1", "provider.TestAllCapabilities"}},
	{"Capabilities are logged and gate features one by one with a typed ErrNotSupported{Feature, Reason}", []string{
		"TestTheContractIsLoggedOnce", "TestCallsThatNeedACapability", "provider.TestAgreeComparesClaimsWithInterfaces"}},
	{"A store whose schema is newer than the binary is refused", []string{
		"provider/sqlite.TestOpenRefusesANewerSchema", "provider/postgres.TestSchemaNewer", "provider.TestSchemaCheck"}},
	{"migrations are locked and idempotent", []string{"provider/sqlite.TestMigrateTo", "provider/postgres.TestMigrateTo"}},
	{"zstd above a threshold", []string{"TestNodesMayDifferInCompression", "history.TestPackedIsReadLikePlain", "history.TestPackedIsBounded"}},
	{"durango.Blob offers the claim check: payloads above a threshold stored once, out of the history, behind an interface (same store by default)", []string{
		"TestBlobs", "TestNodesSweepBlobs", "TestBlobsUnderACodec", "providertest.ReferencesComeWithWhatIsWritten",
		"providertest.ASweepMeetsThoseWhoPassBlobsOn", "providertest.TheyLastUntilTheInstanceIsDeleted"}},

	// DESIGN 9, traps.
	{"Losing branches' completions are recorded and never block later deliveries", []string{"TestLateCompletion", "TestForeignCompletionsAreDropped"}},
	{"Identity of a resumed instance (name, version, input, parent) comes from its history, never from a message", []string{"TestIdentityComesFromHistory"}},
	{"A completion is accepted once, for an open command of the same execution and kind; anything else is dropped and counted", []string{
		"TestForeignCompletionsAreDropped", "internal/engine.TestWhatAnswersNoOpenCommandIsCounted", "internal/replay.TestGeneratedPrograms",
		"internal/engine.TestClusterSurvives"}},
	{"Work scheduled and canceled in one turn never starts", []string{"TestCanceledInTheSameTurnNeverStarts", "TestWithCancel", "TestLoserNeverStarts"}},
	{"A child scheduled in the terminal turn is started, then the close policy applies", []string{
		"TestTheLastTurnTakesEffect", "TestClosePolicies", "providertest.AChildOfTheLastTurnStarts"}},
	{"Detached starts of a continue-as-new turn happen", []string{"TestTheLastTurnTakesEffect", "providertest.DetachedStartsOfItsTurnHappen"}},
	{"One terminal event, last. Every terminal path notifies the parent", []string{
		"TestOneTerminalEventLast", "TestEveryEndReachesTheParentOnce", "TestActionsThatEndAnInstance", "providertest.AnInstanceEndsOnce"}},
	{"Backoff, attempts and quarantine belong to the instance, not to a message: what arrives meanwhile waits", []string{
		"TestBackoffBelongsToTheInstance", "providertest.BackoffFloorsMail"}},
	{"Attempts count at claim (a crash must count)", []string{"TestCrashesCountAsAttempts", "TestLostAttempts", "providertest.EveryClaimCountsAnAttempt"}},
	{"a clean shutdown gives them back", []string{
		"TestCleanShutdownCostsNoAttempt", "TestAShutdownGivesBackWhatIsCompletedLater", "providertest.Rule15AReleaseWithoutATurnClearsTheCharge"}},
	{"Tasks that crash their worker are quarantined the same way and never block what is behind them", []string{
		"internal/engine.TestATaskThatEndsItsProcessIsQuarantinedAndNoOther", "internal/engine.TestALongTrialLetsOthersRun",
		"TestAnActivityThatEndsItsProcessesIsTriedAgainWhenItIsLetGo", "TestAnActivityThatEndsItsProcessesMayFail", "TestActionsForAnActivityThatEndsItsProcesses",
		"internal/crash.TestAnActivityThatEndsItsProcessIsQuarantined", "internal/crash.TestAnActivityThatTakesAllMemoryIsQuarantined"}},
	{"No innocents: only attempts run alone count towards quarantine", []string{
		"internal/engine.TestAKillerIsQuarantinedAndNobodyElse", "internal/engine.TestATaskThatEndsItsProcessIsQuarantinedAndNoOther",
		"internal/engine.TestTasksAndInstancesAreTriedOneAtATime", "internal/engine.TestAnAttemptThatWaitedIsNotHeldAgainstTheTask",
		"internal/engine.TestWhatEndsBesideOthersIsNotCounted",
		"internal/crash.TestAnOrchestrationThatEndsItsProcessIsQuarantined", "providertest.ABeatStoresANote"}},
	{"A lost lease and a failed network call are different: only the first cancels an activity", []string{
		"TestOnlyALostLeaseCancels", "internal/engine.TestANodeThatWasBuriedCancelsWhatItHolds"}},
	{"Never skip what cannot be decoded", []string{"internal/engine.TestATurnThatCannotBeDecodedIsNotSkipped",
		"internal/engine.TestAMessageThatCannotBeDecodedIsPutAside", "internal/engine.TestAnAnswerThatCannotBeDecodedFailsItsCommand",
		"internal/engine.TestAMessageOfALaterFormatIsTriedByOthers", "TestRecordedResultThatDoesNotDecodeWaitsForFixedCode"}},
	{"Event kinds and fields are append-only; old histories replay for ever (golden files)", []string{
		"history.TestGoldenFiles", "history.TestGoldenCasesCoverEveryField", "durangotest.TestReplayOfExport"}},
	{"Deleting an instance wins against a commit in flight", []string{"TestDeleteWins", "providertest.Rule09ACommitInFlightFails"}},
	{"stale results after delete and re-create do not match", []string{"TestStaleResultsAfterDelete", "TestIdempotencyKeys", "providertest.StaleResultsDoNotMatchTheRecreated"}},
	{"Never block in a claim; future rows never slow a claim", []string{
		"provider/sqlite.TestSleepersDoNotSlowAClaim", "provider/sqlite.TestQueryPlans", "providertest.FutureRowsAreNotInTheWay",
		"provider/postgres.TestClaimsPassOverLockedRows", "provider/postgres.TestLockTimeout"}},
	{"Row updates on the hot path touch no indexed column where it can be avoided (HOT updates on PostgreSQL)", []string{"provider/postgres.TestTurnsAreHot"}},
	{"Migrations started by ten processes at once succeed once", []string{
		"provider/sqlite.TestTenProcessesMigrateAtOnce", "provider/sqlite.TestTenMigrateAtOnce", "provider/postgres.TestTenMigrateAtOnce", "provider/postgres.TestTenMigrateAnOlderSchemaAtOnce"}},
	{"Identifiers are quoted; 40001, 40P01, 57P01, 53300, 08xxx, 55P03 and 0A000 are retryable", []string{
		"provider/postgres.TestConformance", "provider/postgres.TestClassify", "provider/postgres.TestLockTimeout"}},
	{"A stuck turn cannot be killed: report it with the goroutine's stack, stop claiming for that slot, and let the lease decide", []string{
		"internal/engine.TestRule14TheWatchdogEndsOwnership", "internal/engine.TestRule14AFirstTurnThatHangs", "internal/engine.TestRule14AStuckTurnKeepsItsSlot",
		"TestTurnsThatPanicOrHangShowAndWaitForFixedCode"}},
	{"Random IDs come from crypto/rand (UUIDv7)", []string{"TestNewIDs"}},
	{"Metrics count once: starts at start, outcomes at the terminal commit; no unbounded labels", []string{"later"}},
}

// Every sentence that users rely on has a test that exists.
func TestEveryPromiseHasATest(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range promises {
		assert.False(t, seen[p.sentence], "twice: %s", p.sentence)
		seen[p.sentence] = true
		assert.True(t, len(p.tests) > 0, "no test of: %s", p.sentence)
		for _, name := range p.tests {
			if name == "later" {
				continue
			}
			assert.True(t, testExists(t, name), "%s is no test (%s)", name, p.sentence)
		}
	}
}

var testNames = map[string]map[string]bool{}

// testExists reports whether there is a test with a name as promises has them.
func testExists(t *testing.T, name string) bool {
	t.Helper()
	dir, test := ".", name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		dir, test = name[:i], name[i+1:]
	}
	if dir == "providertest" {
		dir = "provider/providertest"
	}
	if testNames[dir] == nil {
		testNames[dir] = namesOfTests(t, dir)
	}
	return testNames[dir][test]
}

// namesOfTests lists the tests, examples and fuzz targets of a package, and the
// cases of the conformance suite.
func namesOfTests(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	suite := dir == "provider/providertest"
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	assert.NoError(t, err)
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") == suite {
			continue
		}
		text, err := os.ReadFile(p)
		assert.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), p, text, 0)
		assert.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				for _, prefix := range []string{"Test", "Example", "Fuzz"} {
					if n.Recv == nil && strings.HasPrefix(n.Name.Name, prefix) {
						names[n.Name.Name] = true
					}
				}
			case *ast.CompositeLit:
				if first := firstOf(n); suite && first != "" {
					names[first] = true
				}
			}
			return true
		})
	}
	return names
}

// firstOf returns the string that a composite literal begins with.
func firstOf(c *ast.CompositeLit) string {
	if len(c.Elts) == 0 {
		return ""
	}
	lit, ok := c.Elts[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value) // it has been parsed
	return s
}
