package browser

import (
	"fmt"
	"strings"
)

// Preferred returns the Opener that a user's environment asks for: the command in
// HANDSTAMP_BROWSER, else that in BROWSER, else the system's. The function getenv
// returns the value of a variable, as os.Getenv does.
//
// It returns an error that is [ErrUnavailable], and says why in plain words, if
// HANDSTAMP_NO_BROWSER is set, if the command cannot be used, or if none is set and
// there is no browser to open: in CI, without a display, in a remote session.
func Preferred(getenv func(string) string) (Opener, error) {
	if isOn(getenv("HANDSTAMP_NO_BROWSER")) {
		return Opener{}, unavailable("HANDSTAMP_NO_BROWSER is set")
	}
	for _, name := range []string{"HANDSTAMP_BROWSER", "BROWSER"} {
		value := getenv(name)
		if value == "" {
			continue
		}
		command, err := ParseCommand(value)
		if err != nil {
			return Opener{}, unavailable(fmt.Sprintf("%s cannot be used: %v", name, err))
		}
		if len(command) > 0 {
			return Opener{Command: command}, nil
		}
	}
	if isOn(getenv("CI")) {
		return Opener{}, unavailable("CI is set")
	}
	return Opener{}, Available()
}

// isOn reports whether a variable that is a switch is on.
func isOn(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "false", "no":
		return false
	}
	return true
}
