package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/mcpremote"
)

// maxProfile bounds the name of a profile, in bytes.
const maxProfile = 64

// profileFlags are what tells two logins at one server apart, where no profile was named: the
// resource, the headers and the authorization parameters, as they were typed or configured. A
// header that names a variable counts by that name, so that a value which changes needs no new
// login.
type profileFlags struct {
	Resource string            `json:"resource,omitempty"`
	Params   url.Values        `json:"params,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
}

// sum returns a hash of the flags in hexadecimal; "" where there are none.
func (f profileFlags) sum() string {
	text, _ := json.Marshal(f) // sorted names and texts, which always works
	if string(text) == "{}" {
		return ""
	}
	return shortSum(text)
}

func shortSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// profile returns the profile for the flags: base, or a name derived from both.
func (f profileFlags) profile(base string) string {
	if sum := f.sum(); sum != "" {
		return derivedPrefix(base) + sum
	}
	return base
}

// derivedPrefix returns what the names derived from base begin with. A long base is shortened,
// with a hash in place of its end.
func derivedPrefix(base string) string {
	const sumLength = len("-1a2b3c4d")
	if len(base) <= maxProfile-sumLength {
		return base + "-"
	}
	return cutText(base, maxProfile-2*sumLength) + "-" + shortSum([]byte(base)) + "-"
}

// derivedSum returns the hash in a profile's name that was derived from base; "" if it was not.
func derivedSum(profile, base string) string {
	sum, ok := strings.CutPrefix(profile, derivedPrefix(base))
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 4 {
		return ""
	}
	return sum
}

// profileFlags returns what the configuration and the flags of a login have.
func (o *loginOptions) profileFlags(conf *serverConfig) (profileFlags, error) {
	params, err := o.authParams(conf)
	if err != nil {
		return profileFlags{}, err
	}
	f := profileFlags{Resource: conf.Resource, Params: params}
	if o.resource != "" || o.noResource {
		f.Resource = o.resource
	}
	return f, nil
}

// importedFlags returns what tells a login of mcp-remote's apart, as the flags of the same
// command line would.
func importedFlags(command *mcpremote.Command, conf *serverConfig) (profileFlags, error) {
	var o loginOptions
	o.resource = command.SentResource()
	for name, value := range command.AuthorizeParams {
		o.params = append(o.params, name+"="+value)
	}
	f, err := o.profileFlags(conf)
	f.addHeaders(headerLines(command.HeaderFile), command.HeaderFlags)
	return f, err
}

// addHeaders adds headers as they were typed, in a file and in flags. A flag replaces the
// header of the file; of one given twice both values count.
func (f *profileFlags) addHeaders(inFile, inFlags []string) {
	typed := typedHeaders(inFile)
	maps.Copy(typed, typedHeaders(inFlags))
	for name, values := range typed {
		if f.Headers == nil {
			f.Headers = make(map[string]string)
		}
		f.Headers[name] = strings.Join(values, "\n")
	}
}

// typedHeaders returns headers as they were typed; headerOptions.read rejects malformed ones.
func typedHeaders(lines []string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		if at := strings.IndexAny(line, "=:"); at > 0 {
			h.Add(strings.TrimSpace(line[:at]), strings.TrimSpace(line[at+1:]))
		}
	}
	return h
}

// shownFlags are profileFlags as users see them: a header's value may be a secret.
type shownFlags struct {
	Resource string     `json:"resource,omitempty"`
	Params   url.Values `json:"params,omitempty"`
	Headers  []string   `json:"headers,omitempty"` // their names
}

func (f profileFlags) shown() *shownFlags {
	if f.sum() == "" {
		return nil
	}
	return &shownFlags{f.Resource, f.Params, slices.Sorted(maps.Keys(f.Headers))}
}

// loginFlags returns the flags of a login as a command line has them.
func (s *shownFlags) loginFlags() string {
	var params []string
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		for _, value := range s.Params[name] {
			params = append(params, name+"="+value)
		}
	}
	return loginFlags(s.Resource, params)
}

// String returns all flags, with dots in place of a header's value.
func (s *shownFlags) String() string {
	text := s.loginFlags()
	for _, name := range s.Headers {
		text += " --header " + name + "=…"
	}
	return strings.TrimSpace(text)
}
