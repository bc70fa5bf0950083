package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/mcpremote"
	"github.com/handstamp/handstamp/store"
)

// distinction is what tells two logins at one server apart, where no profile was named: the
// resource, the headers and the authorization parameters, as they were typed or configured. A
// header that names a variable counts by that name, so that a value which changes needs no new
// login.
type distinction struct {
	Resource string            `json:"resource,omitempty"`
	Params   url.Values        `json:"params,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
}

// suffix returns what is added to the profile's name; "" where nothing is told apart.
func (d distinction) suffix() string {
	if d.Resource == "" && len(d.Params) == 0 && len(d.Headers) == 0 {
		return ""
	}
	text, _ := json.Marshal(d) // of sorted names and texts, which always works
	sum := sha256.Sum256(text)
	return "-" + hex.EncodeToString(sum[:4])
}

// distinction returns what the configuration and the flags of a login say.
func (o *loginOptions) distinction(conf *serverConfig) (distinction, error) {
	params, err := o.authParams(conf)
	if err != nil {
		return distinction{}, err
	}
	d := distinction{Resource: conf.Resource, Params: params}
	if o.resource != "" || o.noResource {
		d.Resource = o.resource
	}
	return d, nil
}

// imported returns what tells a login of mcp-remote's apart, as the flags of the same command
// line would.
func imported(command *mcpremote.Command, conf *serverConfig) (distinction, error) {
	var o loginOptions
	if command == nil {
		return o.distinction(conf)
	}
	o.resource = command.SentResource()
	for name, value := range command.AuthorizeParams {
		o.params = append(o.params, name+"="+value)
	}
	d, err := o.distinction(conf)
	for name, value := range command.Headers {
		d.header(name, value)
	}
	return d, err
}

// header adds a header that is sent to the server.
func (d *distinction) header(name, value string) {
	if d.Headers == nil {
		d.Headers = make(map[string]string)
	}
	d.Headers[http.CanonicalHeaderKey(strings.TrimSpace(name))] = strings.TrimSpace(value)
}

// storedClient returns a Client for a command whose flags can't tell logins apart: where the
// command line names no profile, the only login at the server is meant.
func (a *app) storedClient(ctx context.Context, t *target, policy handstamp.LoginPolicy) (*handstamp.Client, error) {
	c, err := a.client(t, nil, policy)
	if err != nil {
		return nil, err
	}
	if err := a.useStored(ctx, t); err != nil {
		return nil, err
	}
	c.Profile = t.profile
	return c, nil
}

// useStored makes the target that of the only login at its server, if no profile was named.
func (a *app) useStored(ctx context.Context, t *target) error {
	if t.named {
		return nil
	}
	credentials, err := a.openStore()
	if err != nil {
		return err
	}
	wanted, err := store.NewKey(t.url, t.profile)
	if err != nil {
		return nil // the client says what is wrong with it
	}
	keys, err := credentials.List(ctx)
	if err != nil || slices.Contains(keys, wanted) {
		return nil // the client says what is wrong with the store
	}
	others, err := a.otherProfiles(t)
	if err != nil {
		return err
	}
	var profiles []string
	for _, k := range keys {
		if k.Server == wanted.Server && derived(k.Profile, a.baseProfile()) && !slices.Contains(others, k.Profile) {
			profiles = append(profiles, k.Profile)
		}
	}
	switch len(profiles) {
	case 0:
	case 1:
		t.profile, t.found = profiles[0], true
	default:
		return usage("there are %d logins at %s, told apart by the flags that they were made with: name one with --profile %s",
			len(profiles), t.name, strings.Join(profiles, " or --profile "))
	}
	return nil
}

// otherProfiles returns the profiles that are made of what is configured under the other
// aliases, where an alias was named: their logins are not meant.
func (a *app) otherProfiles(t *target) ([]string, error) {
	if a.conf.Servers[t.name] == nil {
		return nil, nil
	}
	var profiles []string
	for alias, conf := range a.conf.Servers {
		if alias == t.name {
			continue
		}
		d, err := new(loginOptions).distinction(conf)
		if err != nil {
			return nil, err
		}
		profiles = append(profiles, a.baseProfile()+d.suffix())
	}
	return profiles, nil
}

// derived reports whether a profile's name was made of base and a suffix.
func derived(profile, base string) bool {
	rest, ok := strings.CutPrefix(profile, base+"-")
	b, err := hex.DecodeString(rest)
	return ok && err == nil && len(b) == 4
}

// remember notes for suggested commands what a login was made for, as far as its record says.
func (t *target) remember(st *handstamp.Status) {
	if t.found && st.Resource != "" && st.Resource != t.url {
		t.login = " --resource " + shellWord(st.Resource)
	}
}
