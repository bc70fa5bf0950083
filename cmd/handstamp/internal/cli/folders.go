package cli

import (
	"errors"

	"github.com/handstamp/handstamp/store/filestore"
)

// findFolders returns the folders that an environment leads to.
func findFolders(env environment) (filestore.Folders, error) {
	f, err := filestore.UserFolders(env.get)
	if missing, ok := errors.AsType[*filestore.HomeError](err); ok {
		err = &failure{kind: kindStore, hint: "set HANDSTAMP_HOME to a folder",
			message: "there is no folder for credentials, because " + missing.Variable + " is not set"}
	} else if err != nil {
		err = &failure{kind: kindStore, err: err}
	}
	return f, err
}

// foldersOutput is what status --json prints of the folders.
type foldersOutput struct {
	filestore.Folders
	Locks string `json:"locks"`
}

// shownFolders returns the folders in use, or nil where nothing is kept in any.
func (a *app) shownFolders() *foldersOutput {
	if a.opened == nil || a.opened.folders == nil {
		return nil
	}
	return &foldersOutput{*a.opened.folders, a.opened.folders.Locks()}
}
