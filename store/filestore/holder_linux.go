package filestore

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// holder returns the process that holds the lock of a file, and how it is called; zeros where
// the kernel does not tell, for example of a process in another container.
func holder(path string) (pid int, program string, stopped bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, "", false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, "", false
	}
	table, err := os.Open("/proc/locks")
	if err != nil {
		return 0, "", false
	}
	defer table.Close()
	for lines := bufio.NewScanner(table); lines.Scan(); {
		pid := lockedBy(lines.Text(), stat)
		if pid > 0 && hasOpen(pid, info) {
			return pid, programOf(pid), isStopped(pid)
		}
	}
	if pid = heir(info); pid == 0 {
		return 0, "", false
	}
	return pid, programOf(pid), isStopped(pid)
}

// heir returns the process that holds the lock of a file without having taken it, or 0: a child
// inherits the lock with the open file, and keeps it when its parent, which the kernel still
// names, has ended.
func heir(file os.FileInfo) int {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, entry := range processes {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		for _, fd := range openedAs(pid, file) {
			if text, _ := readStart(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd)); bytes.Contains(text, []byte("FLOCK")) {
				return pid
			}
		}
	}
	return 0
}

// lockedBy returns the process of a line of /proc/locks that is about the file:
//
//	1: FLOCK  ADVISORY  WRITE 1234 08:01:131083 0 EOF
//
// Of the devices of some file systems the two sources have different numbers, so that only the
// inode is compared; hasOpen makes sure.
func lockedBy(line string, stat *syscall.Stat_t) int {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[1] != "FLOCK" { // who waits has "->" there
		return 0
	}
	place := strings.Split(fields[5], ":")
	if len(place) != 3 || place[2] != strconv.FormatUint(stat.Ino, 10) {
		return 0
	}
	pid, err := strconv.Atoi(fields[4])
	if err != nil {
		return 0
	}
	return pid
}

// hasOpen reports whether a process has the file open. A process that we may not look into is
// believed to: it holds a lock on a file of that number.
func hasOpen(pid int, file os.FileInfo) bool {
	if _, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err != nil {
		return os.IsPermission(err)
	}
	return len(openedAs(pid, file)) > 0
}

// openedAs returns the descriptors with which a process has the file open.
func openedAs(pid int, file os.FileInfo) (descriptors []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if opened, err := os.Stat(filepath.Join(dir, entry.Name())); err == nil && os.SameFile(opened, file) {
			descriptors = append(descriptors, entry.Name())
		}
	}
	return descriptors
}

// maxProgram bounds a program's name, in bytes.
const maxProgram = 64

// programOf returns how a process is called: its argv[0], or what the kernel calls it.
func programOf(pid int) string {
	line, _ := readStart(fmt.Sprintf("/proc/%d/cmdline", pid))
	name, _, _ := bytes.Cut(line, []byte{0})
	if len(name) == 0 {
		name, _ = readStart(fmt.Sprintf("/proc/%d/comm", pid))
	}
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, filepath.Base(strings.TrimSpace(string(name))))
	if len(text) > maxProgram {
		text = strings.ToValidUTF8(text[:maxProgram], "")
	}
	return strings.Trim(text, "./")
}

// readStart reads the first bytes of a file.
func readStart(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 4096))
}

// isStopped reports whether a process is stopped by a signal or a debugger.
func isStopped(pid int) bool {
	line, _ := readStart(fmt.Sprintf("/proc/%d/stat", pid))
	// 1234 (any text) T …
	at := bytes.LastIndex(line, []byte(") "))
	return at >= 0 && at+2 < len(line) && (line[at+2] == 'T' || line[at+2] == 't')
}
