package handstamp

import (
	"context"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
)

// push sends the parameters of the authorization request to the server, out of sight of the browser
// (RFC 9126), where the server requires or offers that. What it only offers and does not carry out
// is no reason to end the login.
func (l codeLogin) push(ctx context.Context, authorize *oauth.AuthorizationRequest) error {
	as := l.plan.server
	l.pushes()
	if as.PushedAuthorizationRequestEndpoint == "" {
		return nil
	}
	var prover oauth.Prover
	if l.prover != nil {
		prover = l.prover
	}
	err := l.clients.authenticate(func(client oauth.Authenticator) (err error) {
		authorize.RequestURI, err = l.fetcher.PushAuthorization(ctx, as.PushedAuthorizationRequestEndpoint, client, prover, *authorize)
		return err
	})
	if err == nil {
		l.clients.clientProbed = true
		return nil
	}
	rejected, ok := errtype.As[*oauth.Error](err)
	about := ok && (rejected.Class() == oauth.ClassScope || rejected.Class() == oauth.ClassTarget)
	if about || as.RequirePushedAuthorizationRequests {
		return l.authorizationError(ctx, err)
	}
	l.events.fail(StepAuthorization, err, "the authorization request could not be pushed and goes through the browser")
	return nil
}
