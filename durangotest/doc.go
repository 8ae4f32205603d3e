// Package durangotest is durango's test kit. It has no engine of its own and
// mocks nothing: a test runs a real [durango.Runtime] on the store in memory,
// in the virtual time of [testing/synctest], where a month of waiting takes
// no time at all.
//
//   - [Run] runs a test with a node, on which activities can be swapped for
//     fakes ([Env.Replace]) and signals sent at a later time ([Env.After]).
//   - [Env.CheckReplay] replays what has been recorded, to find code that is
//     not deterministic.
//   - [CrashEverywhere] runs a program once for every write to the store, with
//     a crash just before and just after it, and compares how it ends;
//     [CrashSomewhere] does so at a sample, for a great many programs.
//   - [Replay] checks that today's code can go on with histories that were
//     saved from production.
//
// The node shuts down whenever all instances wait and starts again when
// something happens, so that code which cannot be replayed does not get far in
// any test. What keeps a node up is an activity that runs: one that sleeps for
// a month of virtual time, instead of letting its orchestration sleep, costs a
// minute of real time.
//
// Activities are best tested as the functions that they are.
package durangotest
