package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// machineCPU is the time that all CPUs have been busy. The kernel counts it in
// hundredths of a second: it is exact enough for what lasts seconds.
func machineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system, idle, wait, irq, soft int64
	if n, _ := fmt.Sscanf(string(b), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &soft); n != 7 {
		return 0
	}
	return time.Duration(user+nice+system+irq+soft) * 10 * time.Millisecond
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	return strings.TrimLeft(field(b, "model name"), "\t :")
}

// field returns the rest of the line that begins with name.
func field(text []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// loadAverage is that of 1, 5 and 15 minutes.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}

// filesystem names the file system of dir and tells whether it is memory.
func filesystem(dir string) (name string, inMemory bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown", false
	}
	switch uint32(s.Type) { // statfs(2)
	case 0x01021994:
		return "tmpfs", true
	case 0x858458f6:
		return "ramfs", true
	case 0xef53:
		return "ext4", false
	case 0x58465342:
		return "xfs", false
	case 0x9123683e:
		return "btrfs", false
	case 0x794c7630:
		return "overlayfs", false
	}
	return fmt.Sprintf("%#x", uint32(s.Type)), false
}

func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
