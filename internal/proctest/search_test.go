package proctest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// The search finds what it is to find, or its silence would mean nothing.
func TestFindSecret(t *testing.T) {
	for _, secret := range []string{"rt-KQ7XJ4B2M5WZ3LNAYC6TDFHGPE", `se:cr%et+ &="x\y/é<>z`} {
		for name, text := range map[string]string{
			"raw":          "token=" + secret + ".",
			"query":        "a=1&b=" + url.QueryEscape(secret),
			"query, twice": url.QueryEscape("https://x/?b=" + url.QueryEscape(secret)),
			"path":         "/" + url.PathEscape(secret) + "/",
			"hex":          "0x" + hex.EncodeToString([]byte(secret)),
			"HEX":          strings.ToUpper(hex.EncodeToString([]byte(secret))),
			"quoted":       strconv.Quote("is " + secret),
			"base64":       base64.StdEncoding.EncodeToString([]byte(secret)),
			"base64, 1":    base64.StdEncoding.EncodeToString([]byte("x" + secret + "yy")),
			"base64, 2":    base64.URLEncoding.EncodeToString([]byte("id:xy" + secret)),
			"base64, 3":    base64.URLEncoding.EncodeToString([]byte("client:" + secret + "!")),
		} {
			if !Contains(text, secret) || !NewSearcher([]string{"another-secret", secret}).Find(text)[secret] {
				t.Errorf("%q was not found as %s", secret, name)
			}
		}
		text, err := json.Marshal(map[string]string{"x": "a " + secret})
		if err != nil {
			t.Fatal(err)
		}
		if !Contains(string(text), secret) {
			t.Errorf("%q was not found in JSON", secret)
		}
		if Contains("nothing to see here, client_id=client-ABCDEFGHIJKLMNOP, [redacted]", secret) {
			t.Errorf("%q was found where it is not", secret)
		}
	}
	if !Contains("shortened: KQ7XJ4B2M5WZ3LNA… as "+"rt-KQ7XJ4B2M5W", "rt-KQ7XJ4B2M5WZ3LNAYC6TDFHGPE") {
		t.Error("half of a secret was not found")
	}
}
