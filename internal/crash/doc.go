// Package crash holds tests over real processes that are killed: workers on
// one store file that get SIGKILL or SIGSTOP at random moments, while a client
// starts instances and sends signals. A ledger outside the store, one
// append-only file, has every acknowledged start and signal and every attempt
// of an activity; at the end it is compared with what the store says.
package crash
