package redact

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What a server makes of a secret before it repeats it: in no way of writing bytes as
// numbers, and in no common encoding, eight characters in a row are left.
func TestSecretInAnyEncodingIsRedacted(t *testing.T) {
	const secret = "kW9x/3Gf6+Hj9Kl2~Zx5Cv8=b"
	each := func(format string) string {
		var b strings.Builder
		for i := range len(secret) {
			fmt.Fprintf(&b, format, secret[i])
		}
		return b.String()
	}
	texts := []string{secret, strings.ToUpper(secret), secret[3:14]}
	for _, format := range []string{
		"%%%02X", `\x%02x`, "&#x%x;", "&#x%04X;", "&#%d;", "&#%04d;", "0x%02x, ", `\u%04x`, `\U%08x`, `\u{%x}`, "%02x:", "%02x00", "00%02x",
		"%d, ", "%03d ", `\%06x `, "=%02X", "%c ", "%c-", "%c\x00", "%c\u200b",
	} {
		texts = append(texts, each(format))
	}
	for before := range 6 {
		padded := append(slices.Repeat([]byte("i"), before), secret...)
		texts = append(texts, base32.StdEncoding.EncodeToString(padded), base64.StdEncoding.EncodeToString(padded),
			base64.RawURLEncoding.EncodeToString(padded))
	}
	for _, text := range texts {
		shown := Text("bad "+text+" here", secret)
		if left := strings.ReplaceAll(shown, redacted, ""); len(left) > len("bad  here")+18 || !strings.HasPrefix(shown, "bad ") {
			t.Errorf("%q is shown as %q", text, shown)
		}
	}
}

// Numbers and words of an error that have nothing to do with a secret stay.
func TestNumbersOfAnErrorAreNotRedacted(t *testing.T) {
	const secret = "kW9x/3Gf6+Hj9Kl2~Zx5Cv8=b"
	for _, text := range []string{
		"AADSTS70008: Trace ID: 3f2b5ac1-7d4e-4f0a-9b36-d1c55e9a7f00 Timestamp: 2026-11-28 02:10:07Z", "expired at 1764295200, now 1764295807",
		"faced a bad decade: feedface deadbeef 0123456789abcdef",
	} {
		if shown := Text(text, secret); shown != text {
			t.Errorf("%q is shown as %q", text, shown)
		}
	}
}

// A piece of a secret may be a piece of a word that the protocol has, too.
func TestWordsOfTheProtocolStay(t *testing.T) {
	for secret, text := range map[string]string{
		"secret-PO4NX43GB5KX":  "none, client_secret_post, client_secret_basic",
		"secret-BA4NX43GB5KX":  "client_secret_basic, private_key_jwt",
		"secret-JW4NX43GB5KX":  "client_secret_jwt",
		"access-TO4NX43GB5KX":  `the "access_token" is missing`,
		"refresh-TO4NX43GB5KX": "unsupported grant_type refresh_token",
		"endpoint4NX43GB5KX":   "token_endpoint, authorization_endpoint",

		"test_refresh_token_4NX43GB5KX": `"code": "refresh_due", "refresh_token_rotated"`,
		"my-access-token_4NX43GB5KX":    "access_token_lifetime",
		"client_id:client-4NX43GB5KX":   "client_identifier, client_info",
	} {
		if got := Text(text, secret); got != text {
			t.Errorf("%q became %q", text, got)
		}
		for _, leak := range []string{secret, secret[:len(secret)-4], "client_" + secret, secret + "_post"} {
			if got := Text(leak, secret); strings.Contains(got, "4NX43") {
				t.Errorf("%q became %q", leak, got)
			}
		}
	}
}
