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

// A long secret has the digits of many times in its bytes, as numbers: "abcq" is 97 98 99 113, and
// "abcd" 61626364.
func TestTimesAreNotRedacted(t *testing.T) {
	const secret = "kW9x-abcq-Hj9K-abcd-Zx5C-YWJj-v8b"
	for _, text := range []string{
		"2026-11-29T05:10:24.979899113Z", "2026-11-29T09:07:09.899113004Z", "at 97989911.3, then",
		"2026-11-29T05:10:24.616263640Z", "2026-11-29T06:16:26.364000001Z", "port 61626, 3640 ms", "61626364",
	} {
		if shown := Text(text, secret); shown != text {
			t.Errorf("%q is shown as %q", text, shown)
		}
	}
}

// Eight bytes of a secret are removed as numbers, too, and all of a shorter one.
func TestNumbersOfASecretAreRedacted(t *testing.T) {
	for secret, text := range map[string]string{
		"kW9x-abcq-Hj9K-abcd-Zx5C": "6162637 12d486a394b",
		"kW9x-abcq-Hj9K~abcd~Zx5C": "97 98 99 113 45 72 106 57",
		"pass":                     "70617373",
		"passw":                    "112 97 115 115 119",
		"p\x00\x01\x02s":           "7000010273",
		"password":                 "70617373776f7264",
		"12345670":                 "3132333435363730",
		"p0p0p0p0p0p0":             "703070307030703070307030",
		"p@ P0`p@ P0`p":            "70%40%20%50%30%60%70%40%20%50%30%60%70",
	} {
		if shown := Text("it is "+text, secret); shown != "it is "+redacted {
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
		"an-access-token_4NX43GB5KX":    "the access token 4n of a user", // as much as this is by chance
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
