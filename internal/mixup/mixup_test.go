package mixup

import "testing"

func TestRedirectURI(t *testing.T) {
	const issuer = "https://as.example.com"
	for application, want := range map[string]string{
		"https://app.example.com/oauth/callback":     "https://app.example.com/oauth/callback/qt4gfywlvm6qc2ch",
		"https://app.example.com/oauth/callback/":    "https://app.example.com/oauth/callback/qt4gfywlvm6qc2ch",
		"https://app.example.com/oauth/callback?a=b": "https://app.example.com/oauth/callback/qt4gfywlvm6qc2ch?a=b",
		"https://app.example.com":                    "https://app.example.com/qt4gfywlvm6qc2ch",
	} {
		if got := RedirectURI(WithRedirectURIs(t.Context()), application, issuer); got != want {
			t.Errorf("%s: %s, want %s", application, got, want)
		}
		if got := RedirectURI(t.Context(), application, issuer); got != application {
			t.Errorf("%s: %s in another context", application, got)
		}
	}
}
