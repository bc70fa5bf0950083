package handstamp

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// tee remembers a request body as it goes out, so that it can be sent again. It
// never reads ahead: a body may be a pipe that somebody is still writing to.
type tee struct {
	io.ReadCloser

	mu   sync.Mutex // a transport may read on after it has answered
	sent bytes.Buffer
	done bool // the whole body went out
	gone bool // too large to be remembered
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		if t.sent.Len()+n > maxReplay {
			t.gone = true
			t.sent = bytes.Buffer{}
		} else {
			t.sent.Write(p[:n])
		}
	}
	t.done = t.done || errors.Is(err, io.EOF)
	return n, err
}

// again returns what was sent, if it was everything.
func (t *tee) again() (io.ReadCloser, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || !t.done {
		return nil, false
	}
	return io.NopCloser(bytes.NewReader(t.sent.Bytes())), true
}
