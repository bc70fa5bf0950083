package browser

import (
	"errors"
	"fmt"
	"strings"
)

// Preferred returns the [Opener] that the user's environment selects: the command in
// HANDSTAMP_BROWSER, else that in BROWSER, else the system's opener. getenv returns the value of a
// variable, as [os.Getenv] does. Nothing is started.
//
// It returns an error with a reason for the user if HANDSTAMP_NO_BROWSER is set, if the command
// cannot be used, or if none is set and no browser can be opened: in CI, without a display, in a
// remote session.
func Preferred(getenv func(string) string) (Opener, error) {
	if isOn(getenv("HANDSTAMP_NO_BROWSER")) {
		return Opener{}, errors.New("HANDSTAMP_NO_BROWSER is set")
	}
	for _, name := range []string{"HANDSTAMP_BROWSER", "BROWSER"} {
		value := getenv(name)
		if value == "" {
			continue
		}
		command, err := parseCommand(value)
		if err != nil {
			return Opener{}, fmt.Errorf("%s cannot be used: %w", name, err)
		}
		if len(command) > 0 {
			return Opener{Command: command}, nil
		}
	}
	if isOn(getenv("CI")) {
		return Opener{}, errors.New("CI is set")
	}
	return Opener{}, available()
}

// isOn reports whether a variable that is a switch is on.
func isOn(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "false", "no":
		return false
	}
	return true
}
