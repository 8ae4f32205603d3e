package sqlite

import (
	"os"
	"syscall"
	"time"
)

// watchFile returns what can be read from as often as a file has been written.
// inotify(7): reports that are alike and not read yet are one.
func watchFile(path string) (*os.File, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_MODIFY); err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// drain takes what has been reported.
func drain(log *os.File) {
	conn, err := log.SyscallConn()
	if err != nil || log.SetReadDeadline(time.Time{}) != nil {
		return // closed
	}
	_ = conn.Read(func(fd uintptr) bool {
		var reports [4096]byte
		for {
			if n, _ := syscall.Read(int(fd), reports[:]); n <= 0 {
				return true
			}
		}
	})
}
