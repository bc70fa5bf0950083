package oauth

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestClass(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  Error
		want Class
	}{
		{"standard grant", Error{Code: "invalid_grant", Status: 400}, ClassGrant},
		{"a grant error with a wrong status", Error{Code: "invalid_grant", Status: 500}, ClassGrant},
		{"GitHub's refresh token", Error{Code: "bad_refresh_token", Status: 200}, ClassGrant},
		{"Supabase's refresh token", Error{Code: "refresh_token_not_found", Status: 400}, ClassGrant},
		{"Atlassian's refresh token", Error{Code: "unauthorized_client", Description: "refresh_token is invalid", Status: 403}, ClassGrant},
		{"standard client", Error{Code: "invalid_client", Status: 401}, ClassClient},
		{"client without the right to a grant", Error{Code: "unauthorized_client", Description: "grant type not allowed", Status: 400}, ClassClient},
		{"GitHub's client", Error{Code: "incorrect_client_credentials", Status: 200}, ClassClient},
		{"two methods at once", Error{Code: "invalid_request", Description: "must not use multiple authentication methods", Status: 400}, ClassClient},
		{"another bad request", Error{Code: "invalid_request", Description: "missing code_verifier", Status: 400}, ClassOther},
		{"a missing refresh token is not a dead one", Error{Code: "invalid_request", Description: "refresh_token is missing or invalid", Status: 400}, ClassOther},
		{"empty body 400 names nothing", Error{Status: 400}, ClassOther},
		{"empty body 401 names nothing", Error{Status: 401}, ClassOther},
		{"empty body 403 names nothing", Error{Status: 403}, ClassOther},
		{"empty body 422 names nothing", Error{Status: 422}, ClassOther},
		{"empty body 404", Error{Status: 404}, ClassOther},
		{"Supabase's missing secret", Error{Status: 422, Description: "Required parameter: client_secret"}, ClassClient},
		{"other text", Error{Status: 422, Description: "Required parameter: code"}, ClassOther},
		{"client error of an overloaded proxy", Error{Code: "invalid_client", Status: 503}, ClassTransient},
		{"client error with 429", Error{Code: "invalid_client", Status: 429}, ClassTransient},
		{"scope", Error{Code: "invalid_scope", Status: 400}, ClassScope},
		{"target", Error{Code: "invalid_target", Status: 400}, ClassTarget},
		{"Entra ID's target", Error{Code: "invalid_request", Description: "AADSTS9010010: the resource parameter", Status: 400}, ClassTarget},
		{"Entra ID's older target", Error{Code: "invalid_resource", Description: "AADSTS901002: x", Status: 400}, ClassTarget},
		{"unavailable", Error{Code: "temporarily_unavailable", Status: 400}, ClassTransient},
		{"slow down", Error{Code: "slow_down", Status: 400}, ClassTransient},
		{"server error through the browser", Error{Code: "server_error"}, ClassTransient},
		{"unknown code with 500", Error{Code: "oops", Status: 500}, ClassTransient},
		{"unknown code", Error{Code: "oops", Status: 400}, ClassOther},
		{"denied", Error{Code: "access_denied"}, ClassOther},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.err.Class(); got != tc.want {
				t.Errorf("Class() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestErrorTexts(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&Error{Code: "invalid_grant", Description: "Grant not found", Status: 400, Endpoint: "token"}, `oauth: the token endpoint returned invalid_grant: "Grant not found"`},
		{&Error{Code: "x", Status: 200, Endpoint: "token"}, `oauth: the token endpoint returned x (status 200)`},
		{&Error{Status: 401, Endpoint: "token"}, `oauth: the token endpoint returned status 401`},
		{&Error{Code: "a\x1b[31mb", Description: "c\nd"}, `oauth: the authorization server returned ab: "c d"`},
		{&TransientError{Status: 503, Reason: "an HTML page"}, `oauth: an HTML page (status 503)`},
		{&TransientError{Reason: "no response", Err: io.EOF}, `oauth: no response: EOF`},
		{&ProtocolError{Message: "no", Spec: "RFC 1"}, `oauth: no (RFC 1)`},
		{&SendError{Err: io.EOF}, `oauth: request not sent: EOF`},
		{&SendError{Sent: true, Err: io.EOF}, `oauth: no response to a request that may have arrived: EOF`},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("Error() = %q, want %q", got, tc.want)
		}
	}
	if !errors.Is(&Error{Code: "access_denied", Status: 400}, &Error{Code: "access_denied"}) {
		t.Error("errors.Is does not match by code")
	}
	if errors.Is(&Error{Code: "access_denied"}, &Error{Code: "invalid_grant"}) {
		t.Error("errors.Is matches another code")
	}
	if !errors.Is(&SendError{Err: io.EOF}, io.EOF) {
		t.Error("errors.Is does not see the cause")
	}
}

func TestSanitize(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "Grant not found", "Grant not found"},
		{"other scripts stay", "Ошибка 認証", "Ошибка 認証"},
		{"lines", "a\r\nb\tc", "a b c"},
		{"spaces at the ends", "  a  ", "a"},
		{"colour", "a\x1b[1;31mb\x1b[0mc", "abc"},
		{"eight-bit CSI", "a\u009b31mb", "ab"},
		{"window title", "a\x1b]0;evil\ab", "ab"},
		{"window title ended by ST", "a\x1b]0;evil\x1b\\b", "ab"},
		{"unterminated string", "a\x1b]0;evil", "a"},
		{"unterminated CSI", "a\x1b[31", "a"},
		{"escape at the end", "a\x1b", "a"},
		{"C1", "a\u0085b", "a b"},
		{"bidi override", "abc\u202etxt.exe", "abc txt.exe"},
		{"zero width", "a\u200bb\ufeffc", "a b c"},
		{"invalid UTF-8", "a\xff\xfeb", "a b"},
		{"NUL", "a\x00b", "a b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Sanitize(tc.in); got != tc.want {
				t.Errorf("Sanitize(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
	if got := Sanitize(strings.Repeat("ä", 1000)); len(got) > maxText || !strings.HasSuffix(got, "…") {
		t.Errorf("a long text became %d bytes, want at most %d that end with an ellipsis", len(got), maxText)
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("a\x1b[31mb\u202e\u009b\xff")
	f.Fuzz(func(t *testing.T, in string) {
		got := Sanitize(in)
		if len(got) > maxText || !utf8.ValidString(got) {
			t.Fatalf("%q: %d bytes, valid UTF-8 %v", in, len(got), utf8.ValidString(got))
		}
		for _, r := range got {
			if r != ' ' && !visible(r) {
				t.Fatalf("%q: %U is left", in, r)
			}
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tc := range []struct {
		name, retry, date string
		want              time.Duration
	}{
		{"absent", "", "", 0},
		{"seconds", "30", "", 30 * time.Second},
		{"zero", "0", "", time.Second},
		{"negative", "-5", "", time.Second},
		{"a fraction", "1.5", "", 1500 * time.Millisecond},
		{"ten years", "315360000", "", 15 * time.Minute},
		{"beyond any integer", "99999999999999999999", "", 15 * time.Minute},
		{"garbage", "soon", "", 0},
		{"not a number", "NaN", "", 0},
		{"date", at(time.Minute), "", time.Minute},
		{"date in the past", at(-time.Minute), "", time.Second},
		{"date in ten years", at(10 * 365 * 24 * time.Hour), "", 15 * time.Minute},
		{"date by a clock an hour ahead", at(time.Hour + time.Minute), at(time.Hour), time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			h.Set("Retry-After", tc.retry)
			h.Set("Date", tc.date)
			if got := retryAfter(h, now); got != tc.want {
				t.Errorf("retryAfter = %v, want %v", got, tc.want)
			}
		})
	}
}
