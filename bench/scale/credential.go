//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// A template is the record of a real login, from which those of any number of others are made.
type template struct {
	server  string // the URL that the login is at
	refresh string // the refresh token of the login
	record  *record.Record
	text    []byte // as the library stores it, with markers for what tells logins apart
}

// Markers in a template's text. They are as long as what takes their place.
const (
	numberMarker  = "0123456789"
	accessMarker  = "access-" + numberMarker + "-0123456789abcdefghijklmnopqrstuvwxyz"
	refreshMarker = "refresh-" + numberMarker + "-0123456789abcdefghijklmnopqrstuvwxyz"
)

// signIn signs in at a server and returns the login as a template, whose access token is good until
// a time.
func signIn(ctx context.Context, server *lab.Server, until time.Time) (*template, error) {
	memory := new(store.Memory)
	client := &handstamp.Client{Store: memory, Prompt: handstamp.Prompt{Authorize: authorize}}
	if _, err := client.Login(ctx, server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		return nil, err
	}
	keys, err := memory.List(ctx)
	if err != nil || len(keys) != 1 {
		return nil, errors.Join(err, fmt.Errorf("the login left %d credentials", len(keys)))
	}
	rec, err := record.Get(ctx, memory, keys[0])
	if err != nil {
		return nil, err
	}
	t := &template{server: server.MCPURL(), refresh: rec.Grant.RefreshToken.Reveal(), record: rec}
	rec.Grant.AccessToken = secret.String(accessMarker)
	rec.Grant.ExpiresAt = until.UTC().Round(time.Second)
	t.text, err = record.Encode(rec)
	return t, err
}

// authorize consents in the user's place.
func authorize(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	return lab.Consent(ctx, r.URL)
}

// value returns the stored value of a login at the template's own server.
func (t *template) value(number int) []byte {
	digits := fmt.Sprintf("%0*d", len(numberMarker), number)
	text := t.text
	for _, marker := range []string{accessMarker, refreshMarker} {
		text = bytes.ReplaceAll(text, []byte(marker), []byte(strings.Replace(marker, numberMarker, digits, 1)))
	}
	return text
}

// at returns the key and the value of a login at a server of its own.
func (t *template) at(number int) (store.Key, []byte, error) {
	server := "https://mcp-" + strconv.Itoa(number) + ".example.com/mcp"
	key, err := store.NewKey(server, "")
	if err != nil {
		return key, nil, err
	}
	rec := *t.record
	grant := *rec.Grant
	rec.Key, rec.ServerURL, rec.Grant = key, server, &grant
	value, err := record.Encode(&rec)
	return key, value, err
}
