package handstamp_test

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// full returns a value of a struct type in which no field is zero, so that one which gets lost
// shows.
func full(t *testing.T, typ reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(typ).Elem()
	for i := range typ.NumField() {
		switch field := v.Field(i); field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)))
		case []string:
			field.Set(reflect.ValueOf([]string{"http://127.0.0.1/callback"}))
		default:
			field.SetString("value of " + typ.Field(i).Name)
		}
	}
	return v
}

// An application that keeps a registration has one way to save it that works, and the others say
// so when it saves, rather than when a user has given consent in the next session.
func TestRegistrationIsKeptWhole(t *testing.T) {
	r := full(t, reflect.TypeFor[handstamp.Registration]()).Interface().(handstamp.Registration)
	data, err := r.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	var back handstamp.Registration
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("it came back as %+v (%v) from\n%s", back, err, data)
	}
	public := handstamp.Registration{Issuer: "https://as.example", ClientID: "c"}
	if data, err = json.Marshal(public); err != nil {
		t.Errorf("a registration without secrets: %v", err)
	} else if err := json.Unmarshal(data, &back); err != nil {
		t.Errorf("%v\n%s", err, data)
	}
}

func TestSecretsAreNotEncodedUnasked(t *testing.T) {
	const secret = "a-secret-that-nobody-sees"
	r := handstamp.Registration{ClientID: "c", ClientSecret: secret}
	for _, holder := range []any{
		r, &r, []handstamp.Registration{r}, map[string]any{"client": r}, struct{ Client *handstamp.Registration }{&r},
		handstamp.Registration{Response: secret},
		handstamp.ImportedLogin{TokenResponse: secret}, handstamp.ImportedLogin{Registration: r},
		handstamp.Token{Value: secret},
	} {
		for name, encode := range map[string]func(io.Writer) error{
			"json": func(w io.Writer) error { return json.NewEncoder(w).Encode(holder) },
			"xml":  func(w io.Writer) error { return xml.NewEncoder(w).Encode(holder) },
			"gob":  func(w io.Writer) error { return gob.NewEncoder(w).Encode(holder) },
		} {
			var written strings.Builder
			err := encode(&written)
			if err == nil || strings.Contains(written.String(), secret) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s of %T: error %v, written %q", name, holder, err, written.String())
			}
			if name != "json" {
				continue
			}
			if !strings.Contains(err.Error(), "Reveal") {
				t.Errorf("the error does not say what to do: %v", err)
			}
		}
	}
}

// What an older program saved in place of the secret is rejected before any request.
func TestPlaceholderIsNoClientSecret(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	var saved handstamp.Registration
	err := json.Unmarshal([]byte(`{"ClientID":"c","ClientSecret":"[redacted]","TokenEndpointAuthMethod":"client_secret_post"}`), &saved)
	if err == nil {
		t.Errorf("it was read as %+v", saved)
	}
	c := w.session()
	c.Registration = &handstamp.Registration{ClientID: "c", ClientSecret: "[redacted]", TokenEndpointAuthMethod: "client_secret_post"}
	for name, err := range map[string]error{
		"login": func() error {
			_, err := c.Login(context.Background(), w.lab.MCPURL(), handstamp.LoginOptions{})
			return err
		}(),
		"call": w.call(c),
		"adopt": func() error {
			_, err := w.adopt(handstamp.ImportedLogin{Registration: *c.Registration, TokenResponse: `{"access_token":"a"}`}, handstamp.ImportOptions{})
			return err
		}(),
	} {
		if !errors.Is(err, handstamp.ErrInvalidConfig) || !strings.Contains(err.Error(), "RevealJSON") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	w.wantCounts(map[string]int{"mcp": 0, "authorize": 0, "token:code": 0})
}
