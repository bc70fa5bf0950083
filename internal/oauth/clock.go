package oauth

import (
	"net/http"
	"time"
)

// ClockDifference returns by how much the clock of the server is ahead of this machine's, from the
// Date header; 0 if there is none.
func (a *RawResponse) ClockDifference() time.Duration {
	return clockDifference(a.Header, a.ReceivedAt)
}

func clockDifference(h http.Header, received time.Time) time.Duration {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return at.Sub(received)
}
