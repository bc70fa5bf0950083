package cli

import (
	"errors"
	"path/filepath"

	"github.com/handstamp/handstamp/store/filestore"
)

// folders finds where things are kept.
func (a *app) folders() (filestore.Folders, error) { return findFolders(a.env) }

// findFolders returns the folders that an environment leads to.
func findFolders(env environment) (filestore.Folders, error) {
	f, err := filestore.UserFolders(env.get)
	if missing, ok := errors.AsType[*filestore.HomeError](err); ok {
		return f, &failure{kind: kindStore, hint: "set HANDSTAMP_HOME to a folder",
			message: "there is no folder for credentials, because " + missing.Variable + " is not set"}
	}
	if err != nil {
		return f, &failure{kind: kindStore, err: err}
	}
	return f, nil
}

// storeIn returns the folders of a store that --store names.
func (a *app) storeIn(dir string) filestore.Folders {
	f, _ := a.folders() // a configuration file is not needed
	return filestore.Folders{Config: f.Config, Credentials: filepath.Clean(dir)}
}

// foldersOutput is what status --json prints of the folders.
type foldersOutput struct {
	filestore.Folders
	Locks string `json:"locks"`
}

// shownFolders returns the folders in use, or nil where nothing is kept in any.
func (a *app) shownFolders() *foldersOutput {
	if a.dirs == nil {
		return nil
	}
	return &foldersOutput{*a.dirs, a.dirs.Locks()}
}
