package loopback

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// owner returns the process that listens on port and its name, or 0 where it
// belongs to another user or namespace.
func owner(port int) (pid int, program string) {
	sockets := make(map[string]bool)
	for _, inode := range listening(socketTable(), port) {
		sockets["socket:["+inode+"]"] = true
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

// The columns of a table of sockets, as proc_pid_net(5) describes it.
const (
	columnLocal  = 1
	columnRemote = 2
	columnState  = 3
	columnUID    = 7
	columnInode  = 9
)

// socketTable returns the tables of TCP sockets, as far as they can be read.
func socketTable() string {
	var table []byte
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(file) // the kernel may lack one
		table = append(table, text...)
	}
	return string(table)
}

// listening returns the inodes of the sockets of a table that listen on port.
func listening(table string, port int) (inodes []string) {
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > columnInode && strings.HasSuffix(fields[columnLocal], suffix) &&
			fields[columnState] == "0A" {
			inodes = append(inodes, fields[columnInode])
		}
	}
	return inodes
}

// IsOtherUser reports whether the client of a connection on this machine is known to be a program of
// another user, root excepted. Client and server are addresses with ports. It is not known where the
// system does not list the connection, as that of a browser outside of a virtual machine.
func IsOtherUser(client, server string) bool {
	from, err := netip.ParseAddrPort(client)
	if err != nil {
		return false
	}
	to, err := netip.ParseAddrPort(server)
	return err == nil && isOtherUser(socketTable(), from, to, os.Getuid())
}

// isOtherUser is IsOtherUser by a table, for a user. A socket that its program has closed has no
// inode, and with some kernels the uid 0: nothing reads its response.
func isOtherUser(table string, client, server netip.AddrPort, user int) bool {
	local, remote := inTable(client), inTable(server)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > columnInode && strings.HasSuffix(fields[columnLocal], local) &&
			strings.HasSuffix(fields[columnRemote], remote) {
			uid := fields[columnUID]
			return fields[columnInode] == "0" || uid != "0" && uid != strconv.Itoa(user)
		}
	}
	return false
}

// inTable returns how a table has an address; an IPv4 address at an IPv6 socket ends in it.
func inTable(a netip.AddrPort) string {
	var text strings.Builder
	for word := range slices.Chunk(a.Addr().Unmap().AsSlice(), 4) {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(word))
	}
	return fmt.Sprintf("%s:%04X", text.String(), a.Port())
}
