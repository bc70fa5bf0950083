package cli

import (
	"runtime"
	"slices"
	"strings"
)

// environment is the environment variables of a run, as os.Environ gives them.
type environment []string

// get returns a variable's value, or "". As in every system, the last of
// several equal names counts.
func (e environment) get(name string) string {
	for _, kv := range slices.Backward(e) {
		k, v, ok := strings.Cut(kv, "=")
		if ok && equalName(k, name) {
			return v
		}
	}
	return ""
}

// isSet reports whether a switch such as CI is on: set, and not to "0" or
// "false".
func (e environment) isSet(name string) bool {
	switch strings.ToLower(e.get(name)) {
	case "", "0", "false", "no":
		return false
	}
	return true
}

// without returns a copy that lacks the names.
func (e environment) without(names ...string) environment {
	return slices.DeleteFunc(slices.Clone(e), func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(names, func(n string) bool { return equalName(k, n) })
	})
}

// with returns a copy in which name has the value.
func (e environment) with(name, value string) environment {
	return append(e.without(name), name+"="+value)
}

// equalName compares names as the system does: Windows ignores their case.
func equalName(a, b string) bool {
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}
