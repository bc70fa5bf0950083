package handstamp

import (
	"fmt"
	"time"
)

// maxClockDifference is how far two clocks may differ without a word: servers tolerate about as
// much in the dates of assertions, proofs and id tokens.
const maxClockDifference = time.Minute

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
