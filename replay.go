package handstamp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// replayBuffer remembers a request body as it goes out, so that it can be sent again. It
// never reads ahead: a body may be a pipe that is still written to.
type replayBuffer struct {
	io.ReadCloser

	mu   sync.Mutex // a transport may read on after it has returned
	sent bytes.Buffer
	done bool // the whole body went out
	gone bool // too large to be remembered
}

func (t *replayBuffer) Read(p []byte) (int, error) {
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
func (t *replayBuffer) again() (io.ReadCloser, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || !t.done {
		return nil, false
	}
	return io.NopCloser(bytes.NewReader(t.sent.Bytes())), true
}

// maxReplay is the most of a request body that is kept to be sent again, in
// bytes, where the request has no GetBody.
const maxReplay = 1 << 20

// drainTime bounds the wait for the rest of a response that is not used.
const drainTime = 200 * time.Millisecond

// drainAndClose reads a response that is not used, so that its connection can be used
// again; one whose end is long in coming loses its connection instead.
func drainAndClose(resp *http.Response) {
	read := make(chan struct{})
	go func() {
		io.CopyN(io.Discard, resp.Body, 16<<10)
		close(read)
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-read:
	case <-timer.C:
	}
	resp.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// replayBody is a request body that can be sent again.
type replayBody struct {
	req *http.Request
	tee *replayBuffer // what went out, where the request has no GetBody
}

func newReplayBody(req *http.Request) replayBody {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return replayBody{req: req}
	}
	return replayBody{req: req, tee: &replayBuffer{ReadCloser: req.Body}}
}

// first returns the body to send the first time.
func (r replayBody) first() io.ReadCloser {
	if r.tee != nil {
		return r.tee
	}
	return r.req.Body
}

// again returns the body to send another time, if there is one.
func (r replayBody) again() (io.ReadCloser, bool) {
	switch {
	case r.tee != nil:
		return r.tee.again()
	case r.req.GetBody != nil:
		body, err := r.req.GetBody()
		return body, err == nil
	}
	return r.req.Body, true
}
