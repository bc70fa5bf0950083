package handstamp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// storedBytes returns all that the store has, as it is.
func storedBytes(t *testing.T, w *testenv.Env) string {
	t.Helper()
	keys, err := w.Store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, key := range keys {
		value, revision, err := w.Store.Get(t.Context(), key)
		fmt.Fprintf(&b, "%s %x %s %v\n", key, value, revision, err)
	}
	return b.String()
}

// older makes the stored access token older than one that was issued just now.
func older(w *testenv.Env) {
	rec := w.Record()
	rec.Grant.ObtainedAt = rec.Grant.ObtainedAt.Add(-time.Minute)
	w.Put(rec)
}

// An inspection changes nothing, and shows what a repair then mends.
func TestInspectAndRepair(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(w *testenv.Env)
		found   func(in *handstamp.Inspection) bool
		done    string // by the repair
		then    handstamp.State
	}{
		"not signed in": {
			func(w *testenv.Env) { w.Store.Delete(t.Context(), w.Record().Key, w.Record().Revision) },
			func(in *handstamp.Inspection) bool {
				return in.Plan.Registers && in.Registration.Sent && in.MCP == nil && in.LoginError == nil
			}, "", handstamp.StateNone,
		},
		"signed in": {
			func(*testenv.Env) {},
			func(in *handstamp.Inspection) bool {
				return in.Refreshable && in.MCP.Version != "" && in.TokenEndpoint.Err == nil && in.Plan.ClientID != ""
			}, "", handstamp.StateValid,
		},
		"expired": {
			(*testenv.Env).Expire,
			func(in *handstamp.Inspection) bool { return in.Refreshable && in.MCP == nil }, "refreshed", handstamp.StateValid,
		},
		"token rejected": {
			func(w *testenv.Env) { w.Lab.RevokeAccessTokens(); older(w) },
			func(in *handstamp.Inspection) bool { return in.MCP.Rejected && in.Refreshable }, "refreshed", handstamp.StateValid,
		},
		"client forgotten": {
			func(w *testenv.Env) { w.Lab.ForgetClients() },
			func(in *handstamp.Inspection) bool { return in.TokenEndpoint.Client && in.TokenEndpoint.Forgotten },
			"marked as unknown", handstamp.StateValid,
		},
		"MCP server in trouble": {
			func(w *testenv.Env) { w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: 503}) },
			func(in *handstamp.Inspection) bool { return in.Response.Status == 503 && in.Status.Usable() }, "", handstamp.StateValid,
		},
		"unreachable": {
			(*testenv.Env).Disconnect,
			func(in *handstamp.Inspection) bool {
				return in.Response == nil && in.ResponseError != nil && in.Status.Usable()
			}, "", handstamp.StateValid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{RegisterMethod: lab.MethodPost})
			w.MustLogin(w.Session())
			c.happens(w)
			before, audit := storedBytes(t, w), w.Lab.Audit()
			client := w.Session()
			in, err := client.Inspect(t.Context(), w.Lab.MCPURL())
			if err != nil {
				t.Fatal(err)
			}
			if storedBytes(t, w) != before || !reflect.DeepEqual(w.Lab.Audit(), audit) {
				t.Error("the inspection changed something")
			}
			if !c.found(in) {
				t.Errorf("the inspection found %+v", in)
			}
			done, err := client.Repair(t.Context(), w.Lab.MCPURL(), in)
			if text := strings.Join(done, ", "); err != nil || !strings.Contains(text, c.done) || (c.done == "") != (text == "") {
				t.Errorf("repaired %q: %v", text, err)
			}
			if st, err := client.Status(t.Context(), w.Lab.MCPURL()); err != nil || st.State != c.then {
				t.Errorf("the state is then %+v: %v", st, err)
			}
		})
	}
}

// publishing is a server whose every text has one text in it, and its URLs another.
func publishing(t *testing.T, hostile, inURL string) string {
	t.Helper()
	handler := http.NewServeMux()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	document := func(members map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(members)
		}
	}
	list := func(first ...string) []string { return append(first, hostile, strings.Repeat(hostile+" ", 50)) }
	handler.HandleFunc("/mcp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="`+s.URL+`/described", scope="`+strings.ReplaceAll(hostile, "\x1b", "")+`"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	handler.HandleFunc("/described", document(map[string]any{
		"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}, "scopes_supported": list(),
	}))
	handler.HandleFunc("/.well-known/oauth-authorization-server", document(map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize/" + inURL, "token_endpoint": s.URL + "/token",
		"registration_endpoint": s.URL + "/register/" + inURL, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": list("none"), "grant_types_supported": list("authorization_code"),
		"scopes_supported": list(),
	}))
	rejected := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]any{"error": hostile, "error_description": hostile})
	}
	handler.HandleFunc("/token", rejected)
	handler.HandleFunc("/", rejected)
	return s.URL + "/mcp"
}

// eachText calls a function with all texts in exported fields, and with those of errors.
func eachText(v reflect.Value, show func(string)) {
	if v.IsValid() && v.CanInterface() {
		if err, ok := v.Interface().(error); ok && !(v.Kind() == reflect.Pointer && v.IsNil()) {
			show(err.Error())
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		show(v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			eachText(v.Elem(), show)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachText(v.Index(i), show)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				eachText(v.Field(i), show)
			}
		}
	}
}

// What servers write into an inspection and into events cannot hide in a terminal, and has no secret
// of the configuration.
func TestInspectionOfAHostileServer(t *testing.T) {
	const secret = "wq8-Zt4.mB1_known-to-both"
	const hostile = "\x1b[31mred\u202eback\u200b" + secret
	for name, inURL := range map[string]string{"URLs that work": url.PathEscape(hostile), "URLs that do not": hostile} {
		t.Run(name, func(t *testing.T) {
			c, l := &handstamp.Client{}, new(listener)
			c.Registration = &handstamp.Registration{ClientID: "by-hand", ClientSecret: secret, TokenEndpointAuthMethod: "client_secret_post"}
			in, err := l.on(c).Inspect(t.Context(), publishing(t, hostile, inURL))
			if err != nil {
				t.Fatal(err)
			}
			if len(in.Servers) != 1 || (in.Plan == nil) != (inURL == hostile) {
				t.Fatalf("the inspection found no more than %+v", in)
			}
			wantPresentable(t, in, l.take())
		})
	}
}

// wantPresentable checks the texts of an inspection and of its events.
func wantPresentable(t *testing.T, in *handstamp.Inspection, events []handstamp.Event) {
	t.Helper()
	var texts []string
	collect := func(text string) { texts = append(texts, text) }
	eachText(reflect.ValueOf(in), collect)
	eachText(reflect.ValueOf(events), collect)
	if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "[redacted]") }) {
		t.Error("nothing of the server's texts is shown")
	}
	for _, text := range texts {
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) || len(text) > 1000 {
			t.Errorf("%d bytes: %.300q", len(text), text)
		}
		if in.ContainsSecret(text) {
			t.Errorf("the secret is in %.300q", text)
		}
	}
}
