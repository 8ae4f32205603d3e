package sqlite

import (
	"os"
	"syscall"
)

// syncData flushes a file's contents to the device, and of what describes it
// only the size.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
