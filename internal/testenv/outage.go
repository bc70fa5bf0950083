package testenv

import (
	"context"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// Outage is a login that two replicas have, each with a store of its own in one database, at a
// server that ends a login whose refresh token is used twice. Its access token has expired.
type Outage struct {
	*Env
	First, Second *handstamp.Client
}

// NewOutage signs in. open returns the user's store of a further replica.
func NewOutage(t *testing.T, open func() store.Store) *Outage {
	t.Helper()
	o := &Outage{Env: New(t, Personality(t, "rotates-strictly"))}
	for _, c := range []**handstamp.Client{&o.Second, &o.First} {
		o.Store = open()
		*c = o.Session()
		(*c).LoginPolicy = handstamp.LoginNever
	}
	o.MustLogin(o.Session())
	o.Expire()
	o.Lab.Reset()
	return o
}

// TokenResult is what a call of Token has returned.
type TokenResult struct {
	Token *handstamp.Token
	Err   error
}

// Start has a replica get an access token.
func (o *Outage) Start(c *handstamp.Client) <-chan TokenResult {
	results := make(chan TokenResult, 1)
	go func() {
		got, err := c.Token(context.Background(), o.Lab.MCPURL(), handstamp.TokenOptions{})
		results <- TokenResult{got, err}
	}()
	return results
}

// Hold has the first replica refresh, which waits at a point of the authorization server.
func (o *Outage) Hold(point string) (*lab.Gate, <-chan TokenResult) {
	o.T.Helper()
	gate := o.Lab.Hold(point)
	o.T.Cleanup(gate.Release)
	results := o.Start(o.First)
	ctx, cancel := context.WithTimeout(o.T.Context(), Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		o.T.Fatal(err)
	}
	return gate, results
}

// WantSame checks that both replicas have the token of the one refresh.
func (o *Outage) WantSame(first, second TokenResult) {
	o.T.Helper()
	if first.Err != nil || second.Err != nil {
		o.T.Fatalf("the replicas got %v and %v\n%s", first.Err, second.Err, o.Diary())
	}
	if first.Token.Value != second.Token.Value {
		o.T.Error("the replicas have two tokens")
	}
	o.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
	if a := o.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		o.T.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
	o.MustCall(o.First)
	o.MustCall(o.Second)
}
