// Package pasted reads what a user types at a terminal while a login waits for its
// callback: the URL that a browser on another machine ended at, or that the page
// there shows an error.
package pasted

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxLine bounds a line, in bytes: no URL is longer.
	maxLine = 16 << 10

	// HintDelay is how long a login waits before it shows [Hint].
	HintDelay = 20 * time.Second

	// Hint shows how to register the client again.
	Hint = "If the page shows an error, press r and Enter to register again"
)

// Reader reads lines for logins that may stop waiting. A read that has begun goes on
// when its login has ended, and the next login gets what it brings. Its methods may
// be called concurrently; one login reads at a time.
type Reader struct {
	// Enter is called for an empty line while a login waits. It may be nil, must return soon, and
	// is set before the first Next.
	Enter func()

	in      *bufio.Reader
	turn    chan struct{} // holds one element while a login waits for a line
	pending chan line     // the read that has begun; guarded by turn
	anew    atomic.Bool
}

type line struct {
	text string
	err  error
}

// New returns a Reader of in.
func New(in io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, maxLine), turn: make(chan struct{}, 1)}
}

// Offer sets whether the login that begins can go on with another client.
func (r *Reader) Offer(anew bool) { r.anew.Store(anew) }

// Next returns the next line that is not empty, without surrounding spaces, or
// reports that the user wants the client registered again, where that was offered.
// hint is called once if that takes longer than [HintDelay]. After the end of the
// input Next waits for ctx: the browser may still come back to the listener.
func (r *Reader) Next(ctx context.Context, hint func()) (text string, anew bool, err error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	offered := r.anew.Load()
	if offered {
		timer := time.AfterFunc(HintDelay, hint)
		defer timer.Stop()
	}
	for {
		got, err := r.line(ctx)
		switch {
		case err != nil:
			return "", false, err
		case errors.Is(got.err, bufio.ErrBufferFull):
			return "", false, errors.New("the pasted line is longer than any URL")
		case offered && strings.EqualFold(got.text, "r"):
			return "", true, nil
		case got.text != "":
			return got.text, false, nil
		case got.err != nil:
			<-ctx.Done()
			return "", false, ctx.Err()
		case r.Enter != nil:
			r.Enter()
		}
	}
}

// line waits for the read that has begun, or begins one.
func (r *Reader) line(ctx context.Context) (line, error) {
	if r.pending == nil {
		r.pending = make(chan line, 1)
		go func(lines chan<- line) {
			text, err := r.in.ReadSlice('\n')
			lines <- line{strings.TrimSpace(string(text)), err}
		}(r.pending)
	}
	select {
	case got := <-r.pending:
		r.pending = nil
		return got, nil
	case <-ctx.Done():
		return line{}, ctx.Err()
	}
}
