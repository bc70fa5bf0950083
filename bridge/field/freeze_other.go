//go:build !unix

package main

import (
	"errors"
	"os"
)

// freeze stops a process until thaw.
func freeze(*os.Process) error { return errors.ErrUnsupported }

func thaw(*os.Process) error { return errors.ErrUnsupported }
