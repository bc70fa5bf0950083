package hosted

import "testing"

func TestPathOfARedirectURI(t *testing.T) {
	const callback = "https://app.example/oauth/callback"
	for _, test := range []struct {
		redirectURI, path string
		want              bool
	}{
		{callback + "/abcdefgh", "/oauth/callback/abcdefgh", true},
		{callback + "/abcdefgh", "/callback/abcdefgh", true}, // behind a proxy
		{callback + "/abcdefgh", "/oauth/callback", false},
		{callback + "/abcdefgh", "/oauth/callback/ijklmnop", false},
		{callback + "/abcdefgh", "/", false},
		{callback, "/oauth/callback/", true},
		{"", "/oauth/callback", true}, // begun by an earlier version
		{"", "/oauth/callback/abcdefgh", false},
	} {
		if got := (&pending{RedirectURI: test.redirectURI}).isAt(test.path, callback); got != test.want {
			t.Errorf("%q is the path of %q: %v", test.path, test.redirectURI, got)
		}
	}
}
