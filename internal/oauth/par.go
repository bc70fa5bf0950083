package oauth

import (
	"context"
	"net/url"
)

// maxRequestURI bounds a request_uri, in bytes.
const maxRequestURI = 2 << 10

// PushAuthorization sends the parameters of an authorization request to the server (RFC 9126
// section 2.1) and returns the request_uri that stands for them. It returns an [*Error], a
// [*TransientError], a [*SendError], or a [*ProtocolError] for an endpoint or a response that must
// not be used.
func (f *Fetcher) PushAuthorization(ctx context.Context, endpoint string, client Authenticator,
	prover Prover, r AuthorizationRequest) (string, error) {
	form := url.Values{}
	if err := r.params(form); err != nil {
		return "", err
	}
	if c, ok := client.(ClientCredentials); ok {
		c.FormID = true // client_id is a parameter of the authorization request
		client = c
	}
	a, err := f.postProved(ctx, PurposePush, endpoint, client, prover, form, maxToken)
	if err != nil {
		return "", err
	}
	reply := a.reply("pushed authorization request")
	if a.status/100 != 2 {
		return "", reply.failure()
	}
	if err := reply.errorMember(); err != nil {
		return "", err
	}
	uri := reply.members.text("request_uri")
	if uri == "" || len(uri) > maxRequestURI {
		return "", protocolErrorf("RFC 9126 section 2.2", "the response to the pushed authorization request has no request_uri")
	}
	return uri, nil
}
