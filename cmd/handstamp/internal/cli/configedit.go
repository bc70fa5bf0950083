package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// putAlias writes a server into the configuration.
func (a *app) putAlias(ctx context.Context, alias string, s *serverConfig) error {
	return a.editAlias(ctx, alias, s, func(text []byte) ([]byte, error) {
		return splice.Put(splice.JSON, text, []string{"servers"}, alias, configObject(s))
	})
}

// deleteAlias takes a server out of the configuration.
func (a *app) deleteAlias(ctx context.Context, alias string) error {
	return a.editAlias(ctx, alias, nil, func(text []byte) ([]byte, error) {
		return splice.Remove(splice.JSON, text, []string{"servers"}, alias, 0)
	})
}

// editAlias has a name stand for s, unless another process has had it stand for something else since this
// one has read the configuration.
func (a *app) editAlias(
	ctx context.Context, alias string, s *serverConfig, change func([]byte) ([]byte, error),
) error {
	conf, err := a.loadConfig()
	if err != nil {
		return err
	}
	seen := conf.Servers[alias]
	return a.editConfig(ctx, func(text []byte) ([]byte, error) {
		now := new(config)
		if len(text) > 0 {
			if now, err = parseConfig(text); err != nil {
				return nil, usage("%w", err)
			}
		}
		switch is := now.Servers[alias]; {
		case sameConfig(is, s):
			return text, nil
		case !sameConfig(is, seen):
			return nil, &failure{kind: kindOther, hint: "run this again",
				message: "another process has changed what " + alias + " stands for"}
		}
		return change(text)
	})
}

// byteOrderMark is what some editors put before a text.
var byteOrderMark = []byte("\ufeff")

// editConfig changes the configuration, and nothing in it but what change does. Of several
// processes each changes what the one before has made of it.
func (a *app) editConfig(ctx context.Context, change func([]byte) ([]byte, error)) error {
	dirs, err := findFolders(a.env)
	if err != nil {
		return err
	}
	editor, err := a.editor(false)
	if err != nil {
		return err
	}
	path := filepath.Join(dirs.Config, "config.json")
	err = os.MkdirAll(dirs.Config, 0o700)
	if err == nil {
		err = editor.Rewrite(ctx, path, func(text []byte) ([]byte, error) {
			after, err := change(text)
			if err != nil {
				return nil, err
			}
			if len(after) > maxConfig {
				return nil, fmt.Errorf("it would be larger than %d KiB", maxConfig>>10)
			}
			conf, err := parseConfig(after)
			if err != nil {
				return nil, usage("%w", err)
			}
			a.conf = conf
			return after, nil
		})
	}
	if _, ok := errors.AsType[*failure](err); ok || err == nil {
		return err
	}
	return &failure{kind: kindOther, err: withoutPath(err),
		message: "the configuration " + path + " cannot be changed"}
}

// configObject returns a server's configuration as the file has it.
func configObject(s *serverConfig) splice.Object {
	text, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	_, _ = d.Token() // the brace
	var object splice.Object
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil
		}
		object = append(object, splice.Member{Name: fmt.Sprint(name), Value: value})
	}
	return object
}

// configHeaders returns headers as the configuration has them. What may be a secret is not
// written down.
func configHeaders(lines []string) (map[string]string, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	headers := make(map[string]string)
	for _, line := range lines {
		at := strings.IndexAny(line, "=:")
		if at <= 0 {
			return nil, usage("--header takes NAME=VALUE")
		}
		name := http.CanonicalHeaderKey(strings.TrimSpace(line[:at]))
		value := strings.TrimSpace(line[at+1:])
		if literalSecret(name, value) {
			e := usage("the value of %s may be a secret, which does not belong in the configuration", name)
			e.hint = "put it into an environment variable, and write --header '" + name + "=${VARIABLE}'"
			return nil, e
		}
		headers[name] = value
	}
	return headers, (&serverConfig{Headers: headers}).checkHeaders()
}

// literalSecret reports whether a header's value may be a secret as it stands: its name sounds like
// one, or it has the form of credentials. Beside a variable, there is little more than a scheme.
func literalSecret(name, value string) bool {
	rest := variable.Get().ReplaceAllString(value, "")
	digits := strings.ContainsAny(rest, "0123456789")
	if rest != value && (len(rest) <= maxBeside || !digits) {
		return false
	}
	return mcphost.MayBeSecret(name) || strings.EqualFold(name, "Cookie") ||
		withSchemeWord.Get().MatchString(rest) ||
		randomWord.Get().MatchString(rest) && digits &&
			strings.ContainsFunc(rest, unicode.IsLetter) && !uuid.Get().MatchString(rest)
}

// maxBeside is how many bytes with digits may be beside a variable, whatever they are.
const maxBeside = 12

var (
	withSchemeWord = lazyregexp.New(`(?i)^(bearer|basic|digest|token|apikey) +[^ ]`)
	randomWord     = lazyregexp.New(`^[A-Za-z0-9_.~+/=-]{24,}$`)
	uuid           = lazyregexp.New(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// checkHeaders finds headers that cannot be sent.
func (s *serverConfig) checkHeaders() error {
	for name, value := range s.Headers {
		// Variables are looked up when the header is sent.
		value = variable.Get().ReplaceAllString(value, "")
		if err := addHeader(make(http.Header), name+": "+value, "headers", &app{}); err != nil {
			return err
		}
	}
	return nil
}
