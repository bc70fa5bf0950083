package handstamp

import (
	"slices"
	"testing"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

func TestChooseMethod(t *testing.T) {
	const none, basic, post = oauth.MethodNone, oauth.MethodBasic, oauth.MethodPost
	const basicID = basic + "+id"
	list := func(methods ...string) []string { return methods }
	for _, test := range []struct {
		name   string
		inputs authMethodInputs
		method string
		source string
		next   []string
		fails  bool
	}{
		{"registered beats the first listed", authMethodInputs{registered: post, secret: true, listed: list(none, post, basic)},
			post, record.MethodRegistered, list(basic, basicID), false},
		{"registered basic, post listed first", authMethodInputs{registered: basic, secret: true, listed: list(post, basic)},
			basic, record.MethodRegistered, list(basicID, post), false},
		{"registered, and it has worked", authMethodInputs{registered: basic, proven: true, secret: true, listed: list(post)},
			basic, record.MethodRegistered, nil, false},
		{"registered none, not listed", authMethodInputs{registered: none, listed: list(post, basic)}, none, record.MethodRegistered, nil, false},
		{"registered none with a secret beside it", authMethodInputs{registered: none, secret: true, listed: list(none, post)},
			none, record.MethodRegistered, list(post, basic, basicID), false},
		{"registered and contradicted by the list", authMethodInputs{registered: basic, secret: true, listed: list(post)},
			basic, record.MethodRegistered, list(basicID, post), false},
		{"configured beats registered", authMethodInputs{configured: post, registered: basic, secret: true, listed: list(basic)},
			post, record.MethodConfigured, nil, false},
		{"configured is never second-guessed", authMethodInputs{configured: none, secret: true, listed: list(post)}, none, record.MethodConfigured, nil, false},
		{"configured basic may need the id in the form", authMethodInputs{configured: basic, secret: true, listed: list(post)},
			basic, record.MethodConfigured, list(basicID), false},
		{"learned stays", authMethodInputs{learned: post, proven: true, secret: true, listed: list(basic)}, post, record.MethodLearned, nil, false},
		{"learned with the id in the form", authMethodInputs{learned: basic, formID: true, proven: true, secret: true, listed: list(basic)},
			basicID, record.MethodLearned, nil, false},
		{"silent response, requested none", authMethodInputs{requested: none, listed: list(none, post)}, none, record.MethodRequested, nil, false},
		{"silent response with a secret, requested none", authMethodInputs{requested: none, secret: true, listed: list(none, post, basic)},
			basic, record.MethodDefault, list(basicID, post), false},
		{"silent response without the secret of the requested method", authMethodInputs{requested: basic, listed: list(basic)}, none, record.MethodDefault, nil, false},
		{"secret typed in, list omitted", authMethodInputs{secret: true}, basic, record.MethodDefault, list(basicID, post), false},
		{"secret typed in, none listed first", authMethodInputs{secret: true, listed: list(none, post)}, post, record.MethodDefault, list(basic, basicID), false},
		{"secret typed in, both listed", authMethodInputs{secret: true, listed: list(post, basic)}, basic, record.MethodDefault, list(basicID, post), false},
		{"id typed in, none not listed", authMethodInputs{listed: list(basic, post)}, none, record.MethodDefault, nil, false},
		{"registered basic without a secret", authMethodInputs{registered: basic, listed: list(basic)}, "", "", nil, true},
		{"configured post without a secret", authMethodInputs{configured: post}, "", "", nil, true},
		{"an unknown method", authMethodInputs{registered: "tls_client_auth", secret: true}, "", "", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooseAuthMethod(test.inputs)
			if (err != nil) != test.fails {
				t.Fatalf("error %v, want one: %t", err, test.fails)
			}
			if err != nil {
				return
			}
			var next []string
			for _, form := range got.next {
				next = append(next, formName(form))
			}
			if formName(got.authForm) != test.method || got.source != test.source || !slices.Equal(next, test.next) {
				t.Errorf("%s (%s), then %v; want %s (%s), then %v", formName(got.authForm), got.source, next, test.method, test.source, test.next)
			}
			if err == nil && got.reason == "" {
				t.Error("no reason given")
			}
		})
	}
}

func formName(f authForm) string {
	if f.formID {
		return f.method + "+id"
	}
	return f.method
}
