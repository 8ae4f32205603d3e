package postgres

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed statements.sql
var statementsSQL string

// statement numbers a statement of statements.sql.
type statement int

// The statements, in the order of statements.sql.
const (
	qBegin statement = iota
	qBeginRead
	qCommit
	qRollback
	qClock
	qNodeInsert
	qNodesLock
	qNodeLockAlone
	qNodeLook
	qNodeBeat
	qNodeList
	qNodeBury
	qNodeDead
	qNodeDelete
	qInstancesLock
	qInstancesLockAny
	qMessageIDsGet
	qTasksLock
	qInstancesTurn
	qInstancesState
	qInstancesInsert
	qIDsInsert
	qDefinitionsInsert
	qHistoryInsert
	qTurnsPlain
	qMessagesInsert
	qMessagesConsume
	qMessageIDsInsert
	qMessageIDsClear
	qValuesSet
	qValuesRemove
	qRepliesDrop
	qRepliesInsert
	qTasksInsert
	qTasksUpdate
	qTasksDelete
	qTasksClear
	qSessionsLock
	qSessionsUse
	qInstancesDue
	qInstancesNextDue
	qInstancesMail
	qInstancesTake
	qInstancesOwner
	qInstancesOrphaned
	qInstancesOwned
	qTasksHeld
	qTasksOrphaned
	qTasksExpired
	qTasksNextExpiry
	qTasksDue
	qTasksNextDue
	qSessionsWaiting
	qTasksOfSessions
	qTasksNextOfSessions
	qSessionsIdle
	qSessionsOf
	qSessionsOpen
	qSessionsClose
	qSessionsCloseAll
	qTasksTake
	qTasksHold
	qTasksCheck
	qLoadInstances
	qLoadTurns
	qLoadTasks
	qLoadMail
	qLoadAnswered
	qOutcomes
	qFindTargets
	qFindStatuses
	qFindValues
	qFindReplies
	qDefinitionList
	qGetByKey
	qGetByID
	qWalkIndexes
	qListRecent
	qListRare
	qListChildren
	qListFailing
	qListWaiting
	qListIDs
	qTurnList
	qMailList
	qTaskList
	qValueList
	qStatsInstances
	qStatsRest
	qHistoryDelete
	qMessagesDelete
	qMessageIDsDelete
	qValuesDelete
	qRepliesDelete
	qTasksDeleteAll
	qInstanceDelete
	qIDDelete
	qBlobRefsLeave
	qBlobRefsClear
	qBlobRefsInsert
	qBlobTouch
	qBlobPut
	qBlobGet
	qBlobsUsed
	qBlobPage
	qBlobList
	qBlobsDelete
	qExamineSchema
	qExamineIndexes
	qExamineRows
	qExamineTransactions
	qExamineServer
	qExamineConnections
	qExamineAge

	statements
)

// script is a file of named statements, with words that stand for text that
// several of them have.
type script struct {
	names, queries []string
}

var (
	inSchema = regexp.MustCompile(`\bschema\.`)
	wordy    = regexp.MustCompile(`\b[a-z]+_[a-z]+\b`)
)

// parseScript splits text at its "-- name:" and "-- word:" lines, and puts the
// tables into a schema. What comes before the first is left out.
func parseScript(text, schema string) (s script) {
	words := map[string]string{}
	name, isWord := "", false
	var body []string
	flush := func() {
		text := strings.TrimSpace(strings.Join(body, "\n"))
		body = body[:0]
		switch {
		case name == "":
		case isWord:
			words[name] = expand(text, words)
		default:
			text = inSchema.ReplaceAllLiteralString(expand(text, words), schema+".")
			s.names, s.queries = append(s.names, name), append(s.queries, strings.TrimSuffix(text, ";"))
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch n, ok := strings.CutPrefix(line, "-- name: "); {
		case ok:
			flush()
			name, isWord = n, false
		case strings.HasPrefix(line, "-- word: "):
			flush()
			name, isWord = strings.TrimPrefix(line, "-- word: "), true
		case !strings.HasPrefix(line, "--"):
			body = append(body, line)
		}
	}
	flush()
	return s
}

// expand replaces words by what they stand for.
func expand(text string, words map[string]string) string {
	return wordy.ReplaceAllStringFunc(text, func(w string) string {
		if long, ok := words[w]; ok {
			return long
		}
		return w
	})
}
