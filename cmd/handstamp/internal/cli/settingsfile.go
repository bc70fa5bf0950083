package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/handstamp/handstamp/store"
)

// settingsName is the folder beside the credentials that has, for each login that was made with
// flags of authSettings, a file with them, so that later sessions need none of the flags.
const settingsName = "settings"

func (a *app) settingsFile(t *target) string {
	name := shortSum([]byte(t.key.Server)) + shortSum([]byte(t.profile))
	return filepath.Join(a.dirs.Credentials, settingsName, name+".json")
}

// savedSettings is the content of a file of settings.
type savedSettings struct {
	Key store.Key `json:"key"`
	authSettings
}

func (t *target) storeKey() store.Key { return store.Key{Server: t.key.Server, Profile: t.profile} }

// saveSettings notes the settings that a login was made with.
func (a *app) saveSettings(t *target) {
	if a.dirs == nil || reflect.DeepEqual(t.keep, a.loadSettings(t)) {
		return
	}
	if t.keep == (authSettings{}) {
		a.forgetSettings(t)
		return
	}
	err := writePrivate(a.settingsFile(t), savedSettings{t.storeKey(), t.keep})
	if err != nil {
		a.notice("the flags of this login cannot be saved: later sessions need them again: " +
			err.Error())
	}
}

// loadSettings returns the settings that the stored login was made with.
func (a *app) loadSettings(t *target) authSettings {
	if a.dirs == nil {
		return authSettings{}
	}
	text, err := readRegular(a.settingsFile(t), maxConfig)
	var s savedSettings
	if err != nil || json.Unmarshal(text, &s) != nil || s.Key != t.storeKey() {
		return authSettings{}
	}
	return s.authSettings
}

// settingsOfMany returns what loadSettings returns, for many targets: it looks once for which of them
// there is a file.
func (a *app) settingsOfMany() func(*target) authSettings {
	if a.dirs == nil {
		return a.loadSettings
	}
	files, err := os.ReadDir(filepath.Join(a.dirs.Credentials, settingsName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a.loadSettings
	}
	saved := make(map[string]bool)
	for _, file := range files {
		saved[file.Name()] = true
	}
	return func(t *target) authSettings {
		if len(saved) == 0 || !saved[filepath.Base(a.settingsFile(t))] {
			return authSettings{}
		}
		return a.loadSettings(t)
	}
}

// forgetSettings removes what was noted, once there is no login any more.
func (a *app) forgetSettings(t *target) {
	if a.dirs == nil {
		return
	}
	_ = os.Remove(a.settingsFile(t))
	_ = os.Remove(filepath.Dir(a.settingsFile(t))) // if it is empty
}
