// Package errtype finds errors by type, as errors.AsType of Go 1.26 does: the library builds
// with Go 1.25.
package errtype

import "errors"

// As returns the first error in err's tree that has the type E.
func As[E error](err error) (E, bool) {
	var found E
	ok := errors.As(err, &found)
	return found, ok
}
