package loopback

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// owner returns the process that listens on port and its name, or 0 where it
// belongs to another user or namespace.
func owner(port int) (pid int, program string) {
	sockets := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for _, inode := range listening(string(text), port) {
			sockets["socket:["+inode+"]"] = true
		}
	}
	if len(sockets) == 0 {
		return 0, ""
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, ""
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || !sockets[target] {
			continue
		}
		process := filepath.Dir(filepath.Dir(file))
		if pid, err = strconv.Atoi(filepath.Base(process)); err != nil {
			continue
		}
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			return pid, ""
		}
		return pid, visible(string(name))
	}
	return 0, ""
}

// listening returns the inodes of the sockets that listen on port, of a table as
// proc_pid_net(5) describes it.
func listening(table string, port int) (inodes []string) {
	const local, state, inode = 1, 3, 9
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > inode && strings.HasSuffix(fields[local], suffix) &&
			fields[state] == "0A" {
			inodes = append(inodes, fields[inode])
		}
	}
	return inodes
}
