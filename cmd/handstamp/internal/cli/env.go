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
