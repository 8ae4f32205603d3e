// Package replay is the pure turn: deliveries go in, the code of an
// orchestration runs on coroutines until all of them wait, and the commands
// it emitted come out.
//
// A [Machine] is one execution in memory. [Machine.Replay] feeds it a recorded
// turn and checks that the code emits the recorded commands again;
// [Machine.Turn] feeds it new deliveries. Both run the same algorithm: deliver
// one event, run every runnable coroutine in a fixed order until all wait,
// go on to the next delivery.
//
// The package has no clock, I/O, logging, randomness or locks: everything
// that decides is in the turn.
package replay
