package store

import (
	"fmt"
	"strings"

	"github.com/handstamp/handstamp/internal/errtype"
)

// BusyError reports that a wait for a lock ended before the lock was free. It wraps the
// context's error, so that errors.Is finds context.DeadlineExceeded.
type BusyError struct {
	Path string // the lock file; empty if the lock is no file

	// PID is the process that holds the lock, 0 where the system does not tell. Program is how
	// it is called, without its arguments, which may hold secrets of its own. Stopped reports
	// that it was suspended, as SIGSTOP does.
	PID     int
	Program string
	Stopped bool

	Err error // the context's error
}

// Error names the holder as far as it is known.
func (e *BusyError) Error() string {
	text := e.Holder() + " holds the lock"
	if e.Path != "" {
		text += " " + e.Path
	}
	if e.Stopped {
		text += " and is stopped"
	}
	return text
}

// Holder returns who holds the lock, as the subject of a sentence.
func (e *BusyError) Holder() string {
	switch {
	case e.PID == 0:
		return "another process"
	case e.Program == "":
		return fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("process %d (%s)", e.PID, e.Program)
}

// Hint says what the user can do about the holder.
func (e *BusyError) Hint() string {
	var hints []string
	switch {
	case e.PID == 0:
		return "end the process that holds it, then try again"
	case e.Stopped:
		hints = append(hints, fmt.Sprintf("let it go on (kill -CONT %d)", e.PID))
		fallthrough
	default:
		hints = append(hints, fmt.Sprintf("end it (kill %d)", e.PID))
	}
	return strings.Join(hints, " or ") + ", then try again"
}

// Unwrap returns the context's error.
func (e *BusyError) Unwrap() error { return e.Err }

// Busy returns the BusyError in err's tree, or nil.
func Busy(err error) *BusyError {
	busy, _ := errtype.As[*BusyError](err)
	return busy
}
