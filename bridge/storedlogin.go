package bridge

import "time"

// longestRejected bounds the pauses, which double, between tries with a stored login that the
// server rejects: what is wrong there only the user or the server's operator can change.
const longestRejected = 10 * time.Minute

// storedLogin decides when the sign-in placeholder tries a stored login that looks good.
type storedLogin struct {
	stored bool // one was there at the last look
	tries  int  // of this one
}

// due reports whether to try now, so long after the last try failed. A login that has appeared
// since the last look is tried at once.
func (w *storedLogin) due(stored bool, after time.Duration) bool {
	appeared := stored && !w.stored
	w.stored = stored
	if appeared {
		w.tries = 0
	} else if !stored || after < min(watchInterval<<min(w.tries, 10), longestRejected) {
		return false
	}
	w.tries++
	return true
}
