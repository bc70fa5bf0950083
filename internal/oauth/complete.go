package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
)

// findServerMetadata searches the places for an authorization server's metadata. If issuer is
// "", it is not compared. The first document is used; members that it lacks come from later ones
// with the same issuer. Servers publish an RFC 8414 document beside an older OpenID one, and put
// PKCE or registration into only one of them.
func (f *Fetcher) findServerMetadata(ctx context.Context, places []string,
	issuer string) (*ServerMetadata, error) {
	var base []byte            // the documents so far, as one
	var form string            // of the first
	var usable *ServerMetadata // base parsed, if it is complete enough
	var lacking error          // why it is not
	m, err := search(ctx, f, PurposeServer, places, func(place string, body []byte) (*ServerMetadata, error) {
		raw := body
		if base != nil {
			var ok bool
			if raw, ok = complete(base, body); !ok {
				return nil, ErrNoMetadata
			}
		} else {
			form = formOf(place)
		}
		m, err := ParseServerMetadata(raw, issuer, form)
		var broken *ProtocolError
		switch {
		case err == nil:
			base, usable = raw, m
			if m.RegistrationEndpoint == "" || m.CodeChallengeMethodsSupported == nil {
				return nil, ErrNoMetadata // another place may have it
			}
			return m, nil
		case errors.As(err, &broken) && broken.Missing != "":
			if lacking == nil {
				lacking = err
			}
			if broken.Missing != "issuer" {
				base = raw
			}
			return nil, ErrNoMetadata
		case base != nil:
			return nil, ErrNoMetadata // a mistake there takes nothing away from what was found
		}
		return nil, err
	})
	switch {
	case m != nil:
		return m, nil
	case usable != nil:
		return usable, nil
	case lacking != nil && errors.Is(err, ErrNoMetadata):
		return nil, lacking
	}
	return nil, err
}

// complete returns the metadata document base with the members that it lacks from more. It
// reports false if more is not another document of the same issuer.
func complete(base, more []byte) (json.RawMessage, bool) {
	have, err := readDocument(base)
	if err != nil {
		return nil, false
	}
	other, err := readDocument(more)
	if err != nil || have.text("issuer") == "" ||
		!SameButSlash(have.text("issuer"), other.text("issuer")) {
		return nil, false
	}
	members := other.asMap()
	for _, m := range have.members {
		if !isBlank(m.value) || members[m.name] == nil {
			members[m.name] = m.value
		}
	}
	raw, err := writeObject(members)
	return raw, err == nil
}

// writeObject writes a JSON object with its members as they are, in the order of their names.
func writeObject(members map[string]json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(members); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
