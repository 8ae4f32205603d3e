package coro

import "runtime"

// goroutineID reads the number of the calling goroutine from the first line
// of its stack trace, "goroutine 7 [running]:".
func goroutineID() uintptr {
	var buf [64]byte
	n := runtime.Stack(buf[:], false)
	var id uintptr
	for _, c := range buf[len("goroutine "):n] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uintptr(c-'0')
	}
	return id
}
