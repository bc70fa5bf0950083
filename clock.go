package handstamp

import (
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
)

// maxClockDifference is how far two clocks may differ without a word: servers tolerate about as
// much in the dates of assertions, proofs and id tokens.
const maxClockDifference = time.Minute

// clockFlaw returns a clause about this machine's clock if a rejection may be about a date that was
// signed for the request, that of a client assertion or of a proof, and "" otherwise.
func (t *tokenRequest) clockFlaw(rejected *oauth.Error) string {
	asserted := oauth.UsesAssertion(t.form.method) && rejected.Class() == oauth.ClassClient
	proved := t.redeem.Prover != nil && rejected.WantsProof()
	if !asserted && !proved {
		return ""
	}
	return clockNote(rejected.ClockAhead)
}

// wrongClock returns the error of a request that was rejected because of this machine's clock.
func (f errorFactory) wrongClock(issuer, note string, rejected *oauth.Error) *Error {
	return &Error{Kind: ErrClientRejected, Server: f.serverURL, Code: rejected.Code, Err: rejected,
		Message: oauth.Sanitize(issuer) + " rejects what this machine has signed",
		Hint:    note + ": set it, then try again"}
}

// clockNote returns a clause about this machine's clock if the Date of a server's response differs
// from it by more than a minute, and "" otherwise.
func clockNote(serverAhead time.Duration) string {
	direction := "behind"
	if serverAhead < 0 {
		serverAhead, direction = -serverAhead, "ahead of"
	}
	if serverAhead <= maxClockDifference {
		return ""
	}
	n, unit := int(serverAhead.Round(time.Minute)/time.Minute), "minute"
	switch {
	case n >= 2*24*60:
		n, unit = n/(24*60), "day"
	case n >= 2*60:
		n, unit = n/60, "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("the clock of this machine is %d %s %s the server's", n, unit, direction)
}
