package cli

import "path/filepath"

// folders is where things are kept. No folder is made by looking for it.
type folders struct {
	config      string // config.json
	credentials string // one file a credential
	locks       string
	spare       string // for a credential that does not fit its folder any more; may be ""
}

// findFolders returns the folders of a system by the rules of its platform:
// the XDG base directories, "Application Support" on macOS, AppData on Windows.
// HANDSTAMP_HOME puts everything below one folder instead.
func findFolders(env environment, goos string) (folders, error) {
	if home := env.get("HANDSTAMP_HOME"); home != "" {
		home, err := filepath.Abs(home)
		if err != nil {
			return folders{}, &failure{kind: kindStore, message: "HANDSTAMP_HOME cannot be made an absolute path", err: err}
		}
		return below(home, home), nil
	}
	home := env.get("HOME")
	switch goos {
	case "windows":
		roaming, local := env.get("AppData"), env.get("LocalAppData")
		if roaming == "" || local == "" {
			return folders{}, errNoHome("AppData and LocalAppData")
		}
		return below(filepath.Join(roaming, "handstamp"), filepath.Join(local, "handstamp")), nil
	case "darwin":
		if home == "" {
			return folders{}, errNoHome("HOME")
		}
		support := filepath.Join(home, "Library", "Application Support", "handstamp")
		return below(support, support), nil
	}
	base := func(name string, fallback ...string) string {
		// The XDG specification: a relative path is invalid and to be ignored.
		if dir := env.get(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, "handstamp")
		}
		if home == "" {
			return ""
		}
		return filepath.Join(append(append([]string{home}, fallback...), "handstamp")...)
	}
	f := folders{
		config:      base("XDG_CONFIG_HOME", ".config"),
		credentials: base("XDG_DATA_HOME", ".local", "share"),
		locks:       base("XDG_STATE_HOME", ".local", "state"),
	}
	if f.config == "" || f.credentials == "" || f.locks == "" {
		return folders{}, errNoHome("HOME")
	}
	f.locks = filepath.Join(f.locks, "locks")
	if dir := env.get("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		f.spare = filepath.Join(dir, "handstamp")
	}
	return f, nil
}

// below lays the folders out under one for configuration and one for state.
func below(config, state string) folders {
	return folders{
		config:      config,
		credentials: filepath.Join(state, "credentials"),
		locks:       filepath.Join(state, "locks"),
	}
}

func errNoHome(variable string) error {
	return &failure{kind: kindStore, message: "there is no folder for credentials, because " + variable + " is not set",
		hint: "set HANDSTAMP_HOME to a folder"}
}
