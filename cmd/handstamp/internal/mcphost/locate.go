package mcphost

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Machine is where paths are looked for: a system, its environment and a project.
type Machine struct {
	OS     string // as runtime.GOOS
	Getenv func(name string) string
	Work   string // the project's folder; empty: none
}

// Here returns the machine that this process runs on.
func Here(getenv func(string) string, work string) Machine {
	return Machine{OS: runtime.GOOS, Getenv: getenv, Work: work}
}

// Location is where a host keeps its servers on a machine.
type Location struct {
	File      string   // to write to; it may be missing. Empty: there is none
	Old       []string // files of earlier versions that exist
	Installed bool     // the host has left a trace: a file, or a folder of its own
}

// Locate finds a host's user file.
func (m Machine) Locate(h *Host) Location {
	var l Location
	candidates := m.candidates(h)
	for _, file := range candidates {
		if exists(file) {
			l.File = cmp.Or(l.File, file)
			l.Installed = true
		}
	}
	if l.File == "" && len(candidates) > 0 {
		l.File = candidates[0]
	}
	for _, pattern := range h.Old {
		if file := m.expand(pattern); file != "" && exists(file) && file != l.File {
			l.Old = append(l.Old, file)
		}
	}
	l.Installed = l.Installed || len(l.Old) > 0 || m.hasFolder(candidates)
	return l
}

// hasFolder reports whether the folder of a file is there that no other program would have made.
func (m Machine) hasFolder(files []string) bool {
	common := []string{m.home(), m.config(), filepath.Join(m.home(), ".config")}
	for _, file := range files {
		folder := filepath.Dir(file)
		if !slices.Contains(common, folder) && exists(folder) {
			return true
		}
	}
	return false
}

// Project returns the host's file in the project's folder, or "".
func (m Machine) Project(h *Host) string {
	if h.Project == "" || m.Work == "" {
		return ""
	}
	return filepath.Join(m.Work, filepath.FromSlash(h.Project))
}

// Files returns all files in which hosts may keep servers: the user's, and those of the project.
// Most are not there on any one machine.
func (m Machine) Files() (user, project []string) {
	for _, h := range All() {
		user = append(user, m.candidates(h)...)
		for _, pattern := range h.Old {
			if path := m.expand(pattern); path != "" {
				user = append(user, path)
			}
		}
		if path := m.Project(h); path != "" {
			project = append(project, path)
		}
	}
	slices.Sort(user)
	slices.Sort(project)
	return slices.Compact(user), slices.Compact(project)
}

// candidates returns the paths of a host's file with variables put in.
func (m Machine) candidates(h *Host) (paths []string) {
	patterns := h.Linux
	switch m.OS {
	case "darwin":
		patterns = h.MacOS
	case "windows":
		patterns = h.Windows
	}
	owner := ""
	for _, pattern := range patterns {
		first, _, _ := strings.Cut(pattern, "/")
		path := m.expand(pattern)
		if path == "" || owner != "" && first != owner {
			continue
		}
		if strings.HasPrefix(first, "$") && !slices.Contains(shared, first) {
			owner = first
		}
		paths = append(paths, anyName(path)...)
	}
	return paths
}

// anyName returns the paths that one with a star may stand for: of the folders that exist.
func anyName(path string) []string {
	star := strings.IndexByte(path, '*')
	if star < 0 {
		return []string{path}
	}
	end := len(path)
	if i := strings.IndexRune(path[star:], filepath.Separator); i >= 0 {
		end = star + i
	}
	folders, _ := filepath.Glob(path[:end])
	for i := range folders {
		folders[i] += path[end:]
	}
	return folders
}

// shared are the beginnings of paths that do not belong to one host, and so decide nothing.
var shared = []string{"~", "$CONFIG", "$LOCALAPPDATA", "$XDG_CONFIG_HOME"}

// expand returns the path that a pattern stands for, "" if what it begins with is not known.
func (m Machine) expand(pattern string) string {
	first, rest, _ := strings.Cut(pattern, "/")
	base := ""
	switch first {
	case "~":
		base = m.home()
	case "$CONFIG":
		base = m.config()
	default:
		base = m.Getenv(strings.TrimPrefix(first, "$"))
	}
	if base == "" || !filepath.IsAbs(base) {
		return ""
	}
	return filepath.Join(base, filepath.FromSlash(rest))
}

func (m Machine) home() string {
	if m.OS == "windows" {
		if profile := m.Getenv("USERPROFILE"); profile != "" {
			return profile
		}
	}
	return m.Getenv("HOME")
}

func (m Machine) config() string {
	switch m.OS {
	case "windows":
		return m.Getenv("APPDATA")
	case "darwin":
		if home := m.home(); home != "" {
			return filepath.Join(home, "Library", "Application Support")
		}
	default:
		if dir := m.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
			return dir
		}
		if home := m.home(); home != "" {
			return filepath.Join(home, ".config")
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// secretName finds the variables that some hosts do not pass on.
var secretName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)TOKEN|SECRET|PASSWORD|KEY|AUTH|CREDENTIAL|PRIVATE|CERT`)
})

// MayBeSecret reports whether what has this name may be a secret.
func MayBeSecret(name string) bool { return secretName().MatchString(name) }

// basics are the variables that the official SDKs pass on to the servers that they start.
var basics = map[string]bool{
	"HOME": true, "LOGNAME": true, "PATH": true, "SHELL": true, "TERM": true, "USER": true,
	"APPDATA": true, "HOMEDRIVE": true, "HOMEPATH": true, "LOCALAPPDATA": true,
	"PROCESSOR_ARCHITECTURE": true, "SYSTEMDRIVE": true, "SYSTEMROOT": true, "TEMP": true,
	"USERNAME": true, "USERPROFILE": true, "PROGRAMFILES": true,
}

// Bare returns what of an environment, as os.Environ returns one, is sure to reach a server
// that a host starts.
func (i Inheritance) Bare(environ []string) []string {
	var bare []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name)
		pass := basics[name]
		switch i {
		case PathOnly:
			pass = name == "PATH" || name == "SYSTEMROOT" // without which nothing runs on Windows
		case WithoutSecrets:
			pass = !secretName().MatchString(name) && !(strings.Contains(value, "://") && strings.Contains(value, "@"))
		}
		if pass {
			bare = append(bare, kv)
		}
	}
	return bare
}
