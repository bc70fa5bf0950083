//go:build !unix

package filestore

import "io/fs"

// A folder in the user's profile is private by the access list that it inherits;
// modes say nothing here.
const hasModes = false

const noFollow = 0

func checkOwner(string, fs.FileInfo) error { return nil }
