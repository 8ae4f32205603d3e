package engine

import (
	"errors"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// maxExplained bounds, in turns, the executions whose difference is explained
// where it is found: that runs the code several times more.
const maxExplained = 2000

// explain adds to a difference that was found in the history of x why that may
// be. What cannot be read stays without.
func (e *Engine) explain(x *execution, err error) {
	var differs *replay.NondeterminismError
	code := e.Code(x.name, x.version)
	if !errors.As(err, &differs) || code == nil || x.nextTurn-x.historyFrom > maxExplained {
		return
	}
	differs.Explanation = replay.Explain(code, func(yield func(*history.Turn) bool) {
		var decoder history.Decoder
		for from, more := x.historyFrom, true; more; {
			page, err := e.loadTurns(x.key, from)
			if err != nil {
				return
			}
			for i := range page.Turns {
				row := &page.Turns[i]
				deliveries, commands, err := decoder.Turn(row.Events)
				from = row.Number + 1
				if err != nil || row.Execution == x.generation && !yield(&history.Turn{
					Number: row.Number, Execution: row.Execution, CommitID: row.CommitID, Time: row.Time,
					Deliveries: deliveries, Commands: commands,
				}) {
					return
				}
			}
			more = page.MoreTurns
		}
	}, differs, false)
}
