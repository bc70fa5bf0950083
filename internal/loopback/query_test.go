package loopback

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestParseQuery(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want url.Values // nil: rejected
	}{
		{"", url.Values{}},
		{"&&", url.Values{}},
		{"code=a%2Bb+c&state=x%3D", url.Values{"code": {"a+b c"}, "state": {"x="}}},
		{"code=a=b&state", url.Values{"code": {"a=b"}, "state": {""}}},
		{"state=x&error_description=50% off; or not&x=1&x=2", url.Values{"state": {"x"}, "x": {"1", "2"}}},
		{"state=x&error_description=off; or not", url.Values{"state": {"x"}, "error_description": {"off; or not"}}},
		{"state=x&%zz=1", url.Values{"state": {"x"}}},
		{"state=x&state=x", nil},
		{"state=x&st%61te=x", nil},
		{"state=x&state", nil},
		{"code=a&code=b", nil},
		{"iss=a&iss=a", nil},
		{"error=a&error=a", nil},
		{"response=a&response=a", nil},
		{"state=%zz", nil},
		{"c%6fde=%", nil},
	} {
		got, err := parseQuery(c.raw)
		if (err == nil) != (c.want != nil) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.raw, got, err, c.want)
		}
	}
}

// FuzzParseQuery compares with net/url wherever that has no objection.
func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"", "code=a&state=b", "state=a&state=b", "a=%zz&state=b", "a;b=c", "state=%", "x=1&x=2", "=&=", "%73tate=x&state=y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseQuery(raw)
		for _, name := range protected {
			if len(got[name]) > 1 {
				t.Fatalf("%d values of %s", len(got[name]), name)
			}
		}
		want, problem := url.ParseQuery(raw)
		if problem != nil || strings.Contains(raw, ";") {
			return
		}
		repeated := false
		for _, name := range protected {
			repeated = repeated || len(want[name]) > 1
		}
		if repeated != (err != nil) || !repeated && !reflect.DeepEqual(got, want) {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	})
}
