package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/handstamp/handstamp/store"
)

// profilesName is the folder beside the credentials that has, for each derived profile, a file
// with the flags that it was derived from. The file's name is their hash, so that processes
// that write it at the same time write the same.
const profilesName = "profiles"

func (a *app) flagsFile(sum string) string {
	return filepath.Join(a.dirs.Credentials, profilesName, sum+".json")
}

// saveFlags notes what a derived profile stands for, for status. It is no reason to fail.
func (a *app) saveFlags(t *target) {
	sum := t.flags.sum()
	if t.named || sum == "" || a.dirs == nil || a.loadFlags(sum) != nil {
		return
	}
	if err := writePrivate(a.flagsFile(sum), t.flags.shown()); err != nil {
		a.logger("profile").Debug("the flags of a profile cannot be saved",
			"profile", t.profile, "err", err)
	}
}

// writePrivate writes a file as JSON that its user alone may read, in one step.
func writePrivate(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeWhole(path, text, 0o600)
}

// loadFlags returns the flags with a hash; nil if they are not known.
func (a *app) loadFlags(sum string) *shownFlags {
	if sum == "" || a.dirs == nil {
		return nil
	}
	text, err := readRegular(a.flagsFile(sum), maxConfig)
	var s shownFlags
	if err != nil || json.Unmarshal(text, &s) != nil {
		return nil
	}
	return &s
}

// forgetFlags removes what was noted for a profile, once no stored login has it.
func (a *app) forgetFlags(ctx context.Context, profile string, in store.Store) {
	sum := derivedSum(profile, a.baseProfile())
	if sum == "" || a.dirs == nil {
		return
	}
	left, err := in.List(ctx)
	same := func(k store.Key) bool { return derivedSum(k.Profile, a.baseProfile()) == sum }
	if err != nil || slices.ContainsFunc(left, same) {
		return
	}
	_ = os.Remove(a.flagsFile(sum))
	_ = os.Remove(filepath.Dir(a.flagsFile(sum))) // if it is empty
}
