package handstamp

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp/secret"
)

// A long text is searched in parts. Words of the protocol stay what they are wherever it is cut, and a
// secret is found wherever it stands.
func TestPartsOfALongTextHaveWholeWords(t *testing.T) {
	token := secret.String("test_access_token_4f1c77aa90b2d35e")
	for i := range 240 { // around the end of a part, and around the beginning of the next
		at := 16<<10 - 110 + i
		if i >= 120 {
			at -= 512 + 120
		}
		filled := func(text string) string {
			return strings.Repeat("no secret ", at/10) + strings.Repeat("-", at%10) + text + strings.Repeat(" end", 200)
		}
		if containsSecret(filled(`"client_secret_post", "access_token_lifetime", the access token 4f of`), []secret.String{token}) {
			t.Fatalf("words of the protocol at %d are taken for a secret", at)
		}
		if !containsSecret(filled("the token 4f1c77aa90 of"), []secret.String{token}) {
			t.Fatalf("the secret at %d is not found", at)
		}
	}
}
