// Package protocol is a model of the storage protocol, and nothing but tests:
// random walks through it look for a schedule that breaks a promise. It shares
// no code with the engine or a store; it checks the rules they are built on.
//
// Two nodes work on an orchestration, its child and its next execution, while
// nodes crash, are declared dead although they live, lose the replies to what
// they wrote, and fail turns. Then the faults stop, and everything must
// finish.
//
// The promises are:
//
//   - every instance finishes, and every signal arrives once per execution, in
//     the order in which it was sent;
//   - a parent hears of its child's end once, and of a refused start;
//   - a turn is committed only on top of the history that it was computed from;
//   - nothing that has a recorded result runs again, and nothing is started
//     twice while the node that started it lives;
//   - attempts count what failed, and each failure once;
//   - nothing is claimed before its backoff is over.
//
// The rules are listed in rules_test.go in words. With all of them no walk may
// break a promise; with any one left out some walk must, or the rule would not
// be needed, or the model would not be able to tell.
//
// Not modelled: topics, sessions, updates, managed activities, lock order,
// groups of commits, terminate and delete.
package protocol
