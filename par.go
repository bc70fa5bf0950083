package handstamp

import (
	"context"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
)

// push sends the parameters of the authorization request to the server, out of sight of the browser
// (RFC 9126), where the server requires or offers that. What it only offers and does not carry out
// is no reason to end the login.
func (l *loginFlow) push(ctx context.Context, authorize *oauth.AuthorizationRequest) error {
	as := l.plan.server
	if as.PushedAuthorizationRequestEndpoint == "" {
		return nil
	}
	var prover oauth.Prover
	if l.plan.proofs {
		prover = l.proofs
	}
	method := &l.clients.authMethod
	for {
		client := l.config.credentials(method.authForm, l.clients.client, as.TokenEndpoint, as.TokenEndpointAuthSigningAlgValuesSupported)
		uri, err := l.fetcher.PushAuthorization(ctx, as.PushedAuthorizationRequestEndpoint, client, prover, *authorize)
		if err == nil {
			authorize.RequestURI, l.clients.clientProbed = uri, true
			return nil
		}
		if len(method.next) > 0 && mayBlameClient(err) {
			method.authForm, method.next = method.next[0], method.next[1:]
			continue
		}
		rejected, ok := errtype.As[*oauth.Error](err)
		about := ok && (rejected.Class() == oauth.ClassScope || rejected.Class() == oauth.ClassTarget)
		if about || as.RequirePushedAuthorizationRequests {
			return l.authorizationError(ctx, err)
		}
		l.log.Debug("the authorization request could not be pushed and goes through the browser", "error", err)
		return nil
	}
}
