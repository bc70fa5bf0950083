package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// storedClient returns a Client for a command whose flags can't tell logins apart: where the
// command line names no profile, the only login at the server is meant.
func (a *app) storedClient(
	ctx context.Context, t *target, policy handstamp.LoginPolicy,
) (*handstamp.Client, error) {
	c, err := a.client(t, &loginOptions{}, policy)
	if err != nil || t.named {
		return c, err
	}
	// The usual case needs no list, which takes long where there are many logins.
	if mayHave(ctx, c.Store, t.key) {
		return c, nil // which reports the store's error
	}
	keys, err := keysAt(ctx, c.Store, t.key.Server)
	if err != nil {
		return c, nil
	}
	others := a.otherProfiles(t)
	var profiles []string
	for _, k := range keys {
		if derivedSum(k.Profile, a.baseProfile()) != "" && !slices.Contains(others, k.Profile) {
			profiles = append(profiles, k.Profile)
		}
	}
	switch len(profiles) {
	case 0:
	case 1:
		a.setStored(t, profiles[0])
		c.Profile = t.profile
		return c, a.authenticate(c, t, &loginOptions{})
	default:
		return nil, a.severalLogins(t, profiles)
	}
	return c, nil
}

// mayHave reports whether there is anything under a key, damaged or not.
func mayHave(ctx context.Context, in store.Store, key store.Key) bool {
	get := in.Get
	if p, ok := in.(store.Peeker); ok {
		get = p.Peek // the one who uses it repairs it, and reports that
	}
	_, _, err := get(ctx, key)
	return !errors.Is(err, store.ErrNotFound)
}

// keysAt returns the keys of the logins at a server, sorted.
func keysAt(ctx context.Context, in store.Store, server string) ([]store.Key, error) {
	var keys []store.Key
	rest, err := store.Scan(ctx, in, server, func(key store.Key, _ []byte, _ store.Revision) {
		keys = append(keys, key)
	})
	return slices.SortedFunc(slices.Values(append(keys, rest...)), store.Key.Compare), err
}

// setStored gives a target the profile of a stored login, with its flags if it is a derived one.
func (a *app) setStored(t *target, profile string) {
	sum := derivedSum(profile, a.baseProfile())
	t.profile, t.derived, t.stored = profile, sum != "", a.loadFlags(sum)
}

// severalLogins returns the error for a server with several logins.
func (a *app) severalLogins(t *target, profiles []string) error {
	var choices []string
	for _, profile := range profiles {
		choice := "--profile " + shellWord(profile)
		if flags := a.loadFlags(derivedSum(profile, a.baseProfile())); flags != nil {
			choice += " (" + flags.String() + ")"
		}
		choices = append(choices, choice)
	}
	e := usage("there are %d logins at %s", len(profiles), t.name)
	e.hint = "name one with " + list(choices, "or")
	return e
}

// otherProfiles returns the profiles that are derived from what is configured under the other
// aliases, where an alias was named: their logins are not meant.
func (a *app) otherProfiles(t *target) []string {
	if a.conf.Servers[t.name] == nil {
		return nil
	}
	var profiles []string
	for alias, conf := range a.conf.Servers {
		if alias == t.name {
			continue
		}
		f, _ := new(loginOptions).profileFlags(conf) // only flags can be wrong
		profiles = append(profiles, f.profile(a.baseProfile()))
	}
	return profiles
}
