package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"github.com/handstamp/handstamp/store"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

func generateKey(t *testing.T, algorithm string) *clientkey.Key {
	t.Helper()
	key, err := clientkey.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyed is a server with a user's login whose client authenticates with a key.
func keyed(t *testing.T, key *clientkey.Key, a lab.Assertions) (*testenv.Env, func(*clientkey.Key) *handstamp.Client) {
	t.Helper()
	w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodPrivateKeyJWT}, Assertions: a, NoRegistration: true})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "keyed", JWKS: string(key.JWKS())})
	return w, func(key *clientkey.Key) *handstamp.Client {
		c := w.Session()
		c.Registration = &handstamp.Registration{ClientID: "keyed"}
		c.Key = key
		return c
	}
}

// A session without the key, or with one that does not fit, goes on with a token that is still good,
// and says what it lacks when it has to refresh.
func TestKeyOfLaterSessionDoesNotFit(t *testing.T) {
	key := generateKey(t, "ES256")
	for name, other := range map[string]*clientkey.Key{"none": nil, "of another algorithm": generateKey(t, "EdDSA")} {
		t.Run(name, func(t *testing.T) {
			w, session := keyed(t, key, lab.Assertions{Algorithms: []string{"ES256"}})
			w.MustCall(session(key))
			w.AboutToExpire()
			w.Lab.Reset()
			w.MustCall(session(other))
			w.Expire()
			if err := w.Call(session(other)); !errors.Is(err, handstamp.ErrInvalidConfig) {
				t.Errorf("%v, want ErrInvalidConfig", err)
			}
			w.WantCounts(map[string]int{"token:refresh": 0})
			w.MustCall(session(key))
			w.WantTabs(1)
			if _, err := session(other).Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
				t.Errorf("logout: %v", err)
			}
		})
	}
}

// A rejected key has a cooldown; another key is tried at once.
func TestCooldownOfKey(t *testing.T) {
	key := generateKey(t, "ES256")
	w, session := keyed(t, key, lab.Assertions{})
	w.MustCall(session(key))
	w.Expire()
	w.Lab.Reset()
	wrong := generateKey(t, "ES256")
	for range 3 {
		if err := w.Call(session(wrong)); !errors.Is(err, handstamp.ErrClientRejected) {
			t.Errorf("%v, want ErrClientRejected", err)
		}
	}
	if n := w.Lab.Counts()["token:refresh"]; n > 2 {
		t.Errorf("%d requests with the wrong key", n)
	}
	w.MustCall(session(key))
	t.Log(w.Tabs.Load())
}

// Servers that knew assertions before RFC 7523 was revised take the type and the audience of then.
func TestAssertionAsBefore(t *testing.T) {
	key := generateKey(t, "ES256")
	for name, a := range map[string]lab.Assertions{
		"type":              {Type: "JWT", Audience: lab.AudienceEither},
		"type and audience": {Type: "JWT", Audience: lab.AudienceEndpoint},
		"audience":          {Audience: lab.AudienceEndpoint},
		"revised":           {Type: "client-authentication+jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			w, session := keyed(t, key, a)
			w.MustCall(session(key))
			w.Expire()
			w.Lab.Reset()
			w.MustCall(session(key))
			w.WantCounts(map[string]int{"token:refresh": 1})
			w.WantTabs(1)
		})
	}
}

// The cooldown holds for a client ID metadata document with a key as well.
func TestCooldownOfDocumentWithKey(t *testing.T) {
	published, key := generateKey(t, "ES256"), generateKey(t, "ES256")
	server, err := lab.StartWith(lab.Habits{
		ClientIDMetadata: true, NoRegistration: true, Methods: []string{lab.MethodPrivateKeyJWT}, Grants: []string{lab.GrantClientCredentials},
	}, lab.Options{Fetch: func(_ context.Context, url string) ([]byte, error) {
		if url != documentURL {
			return published.JWKS(), nil
		}
		return fmt.Appendf(nil, `{"client_id":%q,"redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"private_key_jwt",`+
			`"grant_types":["client_credentials"],"jwks_uri":"https://client.example/jwks"}`, documentURL), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w := &testenv.Env{T: t, Lab: server, Store: new(store.Memory)}
	session := func(key *clientkey.Key) *handstamp.Client {
		c := w.Session()
		c.ClientMetadataURL, c.Key, c.Grant = documentURL, key, handstamp.ClientCredentials{}
		return c
	}
	for range 4 {
		if err := w.Call(session(key)); !errors.Is(err, handstamp.ErrClientRejected) {
			t.Errorf("%v, want ErrClientRejected", err)
		}
	}
	if n := w.Lab.Counts()["token:client_credentials"]; n == 0 || n > 2 {
		t.Errorf("%d requests\n%s", n, w.Diary())
	}
	w.MustCall(session(published))
}
