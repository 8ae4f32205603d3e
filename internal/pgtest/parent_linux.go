package pgtest

import (
	"runtime"
	"syscall"
)

// endWithParent has the kernel end the server when the thread that started it
// ends, be it by SIGKILL: a test that dies leaves no server behind.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// stayOnThread keeps that thread alive for as long as the goroutine.
func stayOnThread() { runtime.LockOSThread() }
