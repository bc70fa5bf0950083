//go:build !unix

package suite

import "errors"

// listen needs a shell and a named pipe.
func (p *user) listen(string) (string, error) {
	return "", errors.New("suite: a client that is a process can be tested on Unix only")
}
