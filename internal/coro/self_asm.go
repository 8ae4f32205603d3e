//go:build amd64 || arm64

package coro

// Self identifies the calling goroutine for as long as it lives; another may
// have the same number afterwards. It is the address of the runtime's
// descriptor of the goroutine, which does not move when the stack grows, and
// is never zero.
func Self() uintptr
