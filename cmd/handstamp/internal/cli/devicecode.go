package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/handstamp/handstamp"
)

// showCode returns the [handstamp.Prompt.ShowCode] of a login on another device.
func (a *app) showCode(t *target) func(context.Context, handstamp.DeviceAuthorization) {
	return func(ctx context.Context, d handstamp.DeviceAuthorization) {
		if a.global.json {
			_ = a.err.json(map[string]any{"login": map[string]any{
				"server": d.ServerURL, "issuer": d.Issuer, "user_code": d.UserCode,
				"verification_uri":          d.VerificationURI,
				"verification_uri_complete": d.VerificationURIComplete,
				"expires_at":                d.ExpiresAt.UTC().Format(time.RFC3339),
			}}, false)
			return
		}
		a.err.line("Sign in to %s at %s", t.name, d.Issuer)
		a.err.note("", "On any device, open this page and enter the code:")
		a.err.raw("\n  " + clean(d.VerificationURI) + "\n  " + clean(d.UserCode) + "\n")
		a.showQRCode(cmp.Or(d.VerificationURIComplete, d.VerificationURI))
		a.err.note("", "The code is valid for %s", span(time.Until(d.ExpiresAt)))
		a.waiting.begin(ctx, a.err, d.ExpiresAt)
	}
}
