package filestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
)

// Folders are the folders of a user. [UserFolders] finds them.
type Folders struct {
	// Config has the command's configuration, config.json.
	Config string `json:"config,omitempty"`

	// Credentials has one file for each credential, and the lock files. It is Options.Dir.
	Credentials string `json:"credentials"`

	// Spare is Options.SpareDir; empty if there is none.
	Spare string `json:"spare,omitempty"`

	ignored error // why the runtime folder that the environment names is not used
}

// Locks returns the folder of the lock files. It belongs to the folder of the credentials, so
// that all who open that folder use the same locks.
func (f Folders) Locks() string { return filepath.Join(f.Credentials, locksName) }

// User opens the files of the user who runs the program: the store that the handstamp command
// calls "file". A program that opens it shares the user's logins with the command and with every
// other program that does, at the same time too. The folders are those of [UserFolders];
// options.Dir and options.SpareDir are not looked at.
//
// Where the system has a keyring, the command seals new logins with a key in that, and a program
// does not see them here: "handstamp store migrate file" moves them. User calls options.Warn if the
// command's configuration names another store.
func User(options Options) (*Store, error) {
	folders, err := UserFolders(os.Getenv)
	if err != nil {
		return nil, err
	}
	s, err := folders.Open(options)
	if err == nil && folders.commandUsesOther() {
		s.warnOnce("The handstamp command keeps its logins in another store, where this program does not see them. " +
			"Run: handstamp store migrate file")
	}
	return s, err
}

// commandUsesOther reports whether the command's configuration names another store than the files.
func (f Folders) commandUsesOther() bool {
	name := filepath.Join(f.Config, "config.json")
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return false
	}
	text, err := os.ReadFile(name)
	var config struct{ Store string }
	if err != nil || json.Unmarshal(text, &config) != nil {
		return false
	}
	return config.Store != "" && config.Store != "auto" && config.Store != "file"
}

// Open opens the store in the folders, like [Open]. options.Dir and options.SpareDir are not
// looked at. If the environment names a runtime folder that is not safe to use, Open calls
// options.Warn once.
func (f Folders) Open(options Options) (*Store, error) {
	options.Dir, options.SpareDir = f.Credentials, f.Spare
	if options.Warn == nil {
		options.Warn = func(message string) { slog.Warn(message) }
	}
	s, err := Open(options)
	if err == nil && f.ignored != nil {
		s.warnOnce(f.ignored.Error())
	}
	return s, err
}

// UserFolders returns the folders of a user by the rules of the platform: the XDG base
// directories; "Application Support" on macOS; AppData and LocalAppData on Windows.
// HANDSTAMP_HOME puts everything below one folder instead. getenv is os.Getenv or the like. No
// folder is made.
//
// The spare folder is in XDG_RUNTIME_DIR, if that is the user's own and closed to others. One
// that was inherited from another user, as with su and sudo -E, is ignored. Without one it is in
// /run/user/UID, if that is there: what an MCP host starts often has no XDG_RUNTIME_DIR, and must
// find what a command at a terminal has stored.
func UserFolders(getenv func(name string) string) (Folders, error) {
	return userFolders(getenv, runtime.GOOS, fmt.Sprintf("/run/user/%d", os.Geteuid()))
}

// HomeError reports that the environment does not tell where the user's folders are.
type HomeError struct {
	Variable string // what is not set
}

// Error names the variable and the way out.
func (e *HomeError) Error() string {
	return "there is no folder for credentials, because " + e.Variable + " is not set; set HANDSTAMP_HOME to a folder"
}

// userFolders is UserFolders on any system. usual is the runtime folder of a user whose environment
// names none.
func userFolders(getenv func(string) string, goos, usual string) (Folders, error) {
	if home := getenv("HANDSTAMP_HOME"); home != "" {
		home, err := filepath.Abs(home)
		if err != nil {
			return Folders{}, fmt.Errorf("HANDSTAMP_HOME cannot be made an absolute path: %w", err)
		}
		return below(home, home), nil
	}
	home := getenv("HOME")
	switch goos {
	case "windows":
		roaming, local := getenv("AppData"), getenv("LocalAppData")
		if roaming == "" || local == "" {
			return Folders{}, &HomeError{"AppData and LocalAppData"}
		}
		return below(filepath.Join(roaming, "handstamp"), filepath.Join(local, "handstamp")), nil
	case "darwin":
		if home == "" {
			return Folders{}, &HomeError{"HOME"}
		}
		support := filepath.Join(home, "Library", "Application Support", "handstamp")
		return below(support, support), nil
	}
	return xdgFolders(getenv, home, usual)
}

// xdgFolders returns the folders of the XDG specification, for which a relative path is as good as
// none.
func xdgFolders(getenv func(string) string, home, usual string) (Folders, error) {
	config, data := getenv("XDG_CONFIG_HOME"), getenv("XDG_DATA_HOME")
	if home == "" && !(filepath.IsAbs(config) && filepath.IsAbs(data)) {
		return Folders{}, &HomeError{"HOME"}
	}
	if !filepath.IsAbs(config) {
		config = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(data) {
		data = filepath.Join(home, ".local", "share")
	}
	f := Folders{Config: filepath.Join(config, "handstamp"), Credentials: filepath.Join(data, "handstamp")}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		f.Spare, f.ignored = spareIn(dir)
	}
	if f.Spare == "" {
		f.Spare, _ = spareIn(usual) // which the user did not name
	}
	return f, nil
}

// below lays the folders out under one for configuration and one for state.
func below(config, state string) Folders {
	return Folders{Config: config, Credentials: filepath.Join(state, "credentials")}
}

// spareIn returns the spare folder in a runtime folder, or why there can be none; neither if
// the runtime folder does not exist.
func spareIn(runtimeDir string) (string, error) {
	problem := checkRuntimeDir(runtimeDir)
	if problem == "absent" {
		return "", nil
	}
	spare := filepath.Join(runtimeDir, "handstamp")
	if problem == "" {
		if err := inFolder(spare, false, usable); err != nil && !notThere(err) {
			problem = fmt.Sprintf("cannot be used (%v)", err)
		}
	}
	if problem != "" {
		return "", errors.New("XDG_RUNTIME_DIR is ignored: " + runtimeDir + " " + problem + ".")
	}
	return spare, nil
}

// checkRuntimeDir says what keeps a runtime folder from being used, as the XDG specification
// demands: it is the user's own, and only the user can write into it.
func checkRuntimeDir(dir string) (problem string) {
	info, err := os.Lstat(dir)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if checkOwner(dir, info) != nil {
			return "is a symbolic link of another user"
		}
		info, err = os.Stat(dir)
	}
	switch {
	case notThere(err):
		return "absent"
	case err != nil:
		return fmt.Sprintf("cannot be read (%v)", errors.Unwrap(err))
	case !info.IsDir():
		return "is no folder"
	case checkOwner(dir, info) != nil:
		return "belongs to another user"
	case hasModes && info.Mode().Perm()&0o022 != 0:
		return fmt.Sprintf("can be written by other users (mode %04o)", info.Mode().Perm())
	case hasModes && info.Mode().Perm()&0o700 != 0o700:
		return fmt.Sprintf("is closed to its owner (mode %04o)", info.Mode().Perm())
	}
	return ""
}
