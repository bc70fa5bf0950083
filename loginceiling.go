package handstamp

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/record"
)

// A server whose tokens never last gets a login for every request, and each login
// looks reasonable by itself. So the automatic ones are counted in the record, over
// all processes and before the browser opens. Those of [Client.Login] are not: the
// user is there. A login that another process has done opened no browser
// here, and is that process's to count.
const (
	// loginWindow is the time in which automatic logins are counted.
	loginWindow = 10 * time.Minute

	// maxAutomaticLogins is how many of them may open a browser in that time, at
	// one issuer.
	maxAutomaticLogins = 3

	// maxAutomaticLoginsTotal is the same for all issuers together: a server may
	// name another one each time.
	maxAutomaticLoginsTotal = 6

	// maxLoginTabs is how often one login opens the browser. More than once is
	// for a rejected resource or scope, another method or another client.
	maxLoginTabs = 3
)

// ceiling returns an error of kind [ErrLoginRequired] if as many automatic logins
// have opened a browser as may.
func (l *logins) ceiling(rec *record.Record, issuer string, now time.Time) error {
	var all, here []time.Time
	for _, login := range recentLogins(rec.AutomaticLogins, now) {
		all = append(all, login.At)
		if sameIssuer(login.Issuer, issuer) {
			here = append(here, login.At)
		}
	}
	var again time.Time // when one more is allowed
	if n := len(here); n >= maxAutomaticLogins {
		again = here[n-maxAutomaticLogins].Add(loginWindow)
	}
	if n := len(all); n >= maxAutomaticLoginsTotal {
		again = later(again, all[n-maxAutomaticLoginsTotal].Add(loginWindow))
	}
	if again.IsZero() {
		return nil
	}
	return &Error{Kind: ErrLoginRequired, Server: l.serverURL, RetryAt: again, Hint: "sign in to " + l.serverURL,
		Message: fmt.Sprintf("requests have opened the browser %d times in %d minutes, and need a login again; none opens by itself before %s",
			len(all), loginWindow/time.Minute, again.Local().Format(time.TimeOnly))}
}

// recentLogins returns the logins that count, the oldest first. One in the future was
// recorded under a clock that ran ahead.
func recentLogins(logins []record.AutomaticLogin, now time.Time) []record.AutomaticLogin {
	logins = slices.DeleteFunc(slices.Clone(logins), func(l record.AutomaticLogin) bool {
		return now.Sub(l.At).Abs() >= loginWindow
	})
	slices.SortStableFunc(logins, func(a, b record.AutomaticLogin) int { return a.At.Compare(b.At) })
	return logins
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// countTab counts a browser that is about to be opened: for this login, and the first
// one of an automatic login in the record.
func (l *loginFlow) countTab(ctx context.Context) error {
	if l.tabs++; l.tabs > maxLoginTabs {
		return &Error{Kind: ErrProtocol, Server: l.serverURL,
			Message: fmt.Sprintf("the authorization server has rejected %d logins in a row, each for another reason", maxLoginTabs)}
	}
	if l.byUser || l.tabs > 1 {
		return nil
	}
	now := time.Now().UTC()
	l.remember(ctx, "an automatic login", func(rec *record.Record) {
		rec.AutomaticLogins = append(recentLogins(rec.AutomaticLogins, now),
			record.AutomaticLogin{At: now, Issuer: l.plan.server.Issuer})
	})
	return nil
}

// atCeiling reports whether the error is that of [logins.ceiling]: no other
// login that is required has a time.
func (e *Error) atCeiling() bool { return !e.RetryAt.IsZero() }
