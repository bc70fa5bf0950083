package handstamp

import (
	"slices"
	"testing"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

func TestChooseMethod(t *testing.T) {
	const none, basic, post = oauth.MethodNone, oauth.MethodBasic, oauth.MethodPost
	for _, test := range []struct {
		name   string
		facts  authMethodInputs
		method string
		source string
		next   []string
		fails  bool
	}{
		{"registered beats the first listed", authMethodInputs{registered: post, secret: true, listed: []string{none, post, basic}}, post, store.MethodRegistered, nil, false},
		{"registered basic, post listed first", authMethodInputs{registered: basic, secret: true, listed: []string{post, basic}}, basic, store.MethodRegistered, nil, false},
		{"registered none, not listed", authMethodInputs{registered: none, listed: []string{post, basic}}, none, store.MethodRegistered, nil, false},
		{"registered none with a secret beside it", authMethodInputs{registered: none, secret: true, listed: []string{none, post}}, none, store.MethodRegistered, []string{post, basic}, false},
		{"registered and contradicted by the list", authMethodInputs{registered: basic, secret: true, listed: []string{post}}, basic, store.MethodRegistered, []string{post}, false},
		{"configured beats registered", authMethodInputs{configured: basic, registered: post, secret: true, listed: []string{post}}, basic, store.MethodConfigured, nil, false},
		{"configured is never second-guessed", authMethodInputs{configured: none, secret: true, listed: []string{post}}, none, store.MethodConfigured, nil, false},
		{"learned stays", authMethodInputs{learned: post, secret: true, listed: []string{basic}}, post, store.MethodLearned, nil, false},
		{"silent response, asked none", authMethodInputs{requested: none, listed: []string{none, post}}, none, store.MethodRequested, nil, false},
		{"silent response with a secret, asked none", authMethodInputs{requested: none, secret: true, listed: []string{none, post, basic}}, basic, store.MethodDefault, []string{post}, false},
		{"silent response without the secret of the method asked for", authMethodInputs{requested: basic, listed: []string{basic}}, none, store.MethodDefault, nil, false},
		{"secret typed in, list omitted", authMethodInputs{secret: true}, basic, store.MethodDefault, []string{post}, false},
		{"secret typed in, none listed first", authMethodInputs{secret: true, listed: []string{none, post}}, post, store.MethodDefault, []string{basic}, false},
		{"secret typed in, both listed", authMethodInputs{secret: true, listed: []string{post, basic}}, basic, store.MethodDefault, []string{post}, false},
		{"id typed in, none not listed", authMethodInputs{listed: []string{basic, post}}, none, store.MethodDefault, nil, false},
		{"registered basic without a secret", authMethodInputs{registered: basic, listed: []string{basic}}, "", "", nil, true},
		{"configured post without a secret", authMethodInputs{configured: post}, "", "", nil, true},
		{"a method nobody here knows", authMethodInputs{registered: "tls_client_auth", secret: true}, "", "", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooseAuthMethod(test.facts)
			if (err != nil) != test.fails {
				t.Fatalf("error %v, want one: %t", err, test.fails)
			}
			if got.method != test.method || got.source != test.source || !slices.Equal(got.next, test.next) {
				t.Errorf("%s (%s), then %v; want %s (%s), then %v", got.method, got.source, got.next, test.method, test.source, test.next)
			}
			if err == nil && got.reason == "" {
				t.Error("no reason given")
			}
		})
	}
}
