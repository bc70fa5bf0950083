package cli

import "slices"

// neededVariables are those without which no browser finds its screen or its
// profile. They hold no secrets, and are kept where a header is made of one.
var neededVariables = []string{
	"APPDATA", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "HOME", "LANG", "LOCALAPPDATA", "LOGNAME",
	"PATH", "SHELL", "SYSTEMROOT",
	"TEMP", "TMP", "TMPDIR", "USER", "USERNAME", "USERPROFILE", "WAYLAND_DISPLAY", "XAUTHORITY",
	"XDG_CONFIG_HOME",
	"XDG_CURRENT_DESKTOP", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
}

// hideVariables keeps variables, by their names, from every process that this one
// starts: what flags and configuration take secrets from. Call it before the
// Client is made.
func (a *app) hideVariables(names ...string) {
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(neededVariables,
			func(n string) bool { return equalName(n, name) }) {
			a.hidden = append(a.hidden, name)
		}
	}
}

// childEnv returns the environment for processes that this one starts on its own
// account: the browser and the helper.
func (a *app) childEnv() environment {
	hidden := append([]string{"HANDSTAMP_CLIENT_SECRET", "HANDSTAMP_ACCESS_TOKEN"}, a.hidden...)
	return append(environment{}, a.env.without(hidden...)...)
}

// storeSecret returns the variable that names the store, if a password is in it: but for the helper,
// no process that this one starts has a use for it.
func (a *app) storeSecret() []string {
	if hasPassword(a.env.get(byVariable)) {
		return []string{byVariable}
	}
	return nil
}
