package oauth

import "context"

// KeySet fetches the JWK set of an issuer, from the jwks_uri of its metadata (RFC 8414 section 2).
func (f *Fetcher) KeySet(ctx context.Context, uri string) ([]byte, error) {
	if _, err := parseEndpoint("the jwks_uri", uri); err != nil {
		return nil, err
	}
	a, err := f.document(ctx, PurposeKeys, uri)
	if err == nil {
		err = documentError(a)
	}
	if err != nil {
		return nil, err
	}
	return a.body, nil
}
