package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/handstamp/handstamp/secret"
	"github.com/spf13/pflag"
)

// maxSecret bounds a client secret, in bytes.
const maxSecret = 16 << 10

// secretSource names where a client secret comes from. It is never an argument:
// every user of the machine can read those.
type secretSource struct {
	file  string
	env   string
	stdin bool
}

func (s *secretSource) bind(flags *pflag.FlagSet) {
	flags.StringVar(&s.file, "client-secret-file", "", "file that holds the client secret")
	flags.StringVar(&s.env, "client-secret-env", "",
		"environment variable that holds the client secret")
	flags.BoolVar(&s.stdin, "client-secret-stdin", false, "read the client secret from standard input")
}

// given reports whether a flag names a source.
func (s *secretSource) given() bool { return s.file != "" || s.env != "" || s.stdin }

// flag returns the flag that names the source, of those that begin with a name.
func (s *secretSource) flag(name string) string {
	switch {
	case s.file != "":
		return name + "-file"
	case s.env != "":
		return name + "-env"
	}
	return name + "-stdin"
}

// twice reports whether flags name more than one source.
func (s *secretSource) twice() bool {
	return s.file != "" && s.env != "" || s.stdin && (s.file != "" || s.env != "")
}

// read returns the client secret, or "" if no source is given.
func (s *secretSource) read(a *app) (secret.String, error) { return s.readAs(a, "client secret") }

// readAs is read for a secret that errors name.
func (s *secretSource) readAs(a *app, what string) (secret.String, error) {
	switch {
	case s.file != "":
		b, err := readFile(s.file, maxSecret)
		if err != nil {
			return "", usage("the %s file %s cannot be read: %w", what, s.file, err)
		}
		return parseSecret(b, "the "+what+" file "+s.file)
	case s.env != "":
		value, err := a.secretIn(s.env)
		if err == nil && value == "" {
			err = usage("the environment variable %s, which has to hold the %s, is not set",
				s.env, what)
		}
		// Nothing that is started later, such as a browser, has a use for it.
		_ = os.Unsetenv(s.env)
		return value, err
	case s.stdin:
		b, err := a.readInput(maxSecret + 1)
		if err != nil {
			return "", usage("standard input cannot be read: %w", err)
		}
		return parseSecret(b, "standard input")
	}
	return "", nil
}

// secretIn returns the secret in an environment variable; "" if that is not set.
func (a *app) secretIn(variable string) (secret.String, error) {
	value := a.env.get(variable)
	if value == "" {
		return "", nil
	}
	return parseSecret([]byte(value), "the environment variable "+variable)
}

// parseSecret takes off the line end that editors and echo leave, and nothing
// else: RFC 6749, appendix A.2, allows spaces within a secret.
func parseSecret(b []byte, what string) (secret.String, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	var err error
	switch {
	case len(b) == 0:
		err = errors.New("is empty")
	case len(b) > maxSecret:
		err = errors.New("is longer than any secret (16 KiB)")
	case secret.String(b).IsPlaceholder():
		err = fmt.Errorf("holds %q, a placeholder and not a secret", b)
	case bytes.ContainsAny(b, "\r\n"):
		err = errors.New("has more than one line")
	case bytes.ContainsFunc(b, unsafeRune):
		err = errors.New("holds control characters")
	}
	if err != nil {
		return "", usage("%w", fmt.Errorf("%s %w", what, err))
	}
	return secret.String(b), nil
}
