package loopback

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// A browser that follows a 307 of the consent page posts its form again, to the
// redirect URI. It is the response all the same, and what the user typed is not
// looked at.
func TestPostedCallback(t *testing.T) {
	const form = "Content-Type: application/x-www-form-urlencoded"
	typed := "user=me&password=hunter2&" + strings.Repeat("x", 4<<10)
	for name, c := range map[string]struct {
		query   string
		body    string
		headers []string
		status  int
	}{
		"query":                  {query: "?code=c&state=good", status: 200},
		"query and form":         {query: "?code=c&state=good", body: typed, headers: []string{form}, status: 200},
		"query and a false form": {query: "?code=c&state=good", body: "state=forged&code=x&error=no", headers: []string{form}, status: 200},
		"null origin":            {query: "?code=c&state=good", headers: []string{"Origin: null"}, status: 200},
		"its own origin": {query: "?code=c&state=good", status: 200,
			headers: []string{"Origin: https://as.example", "Sec-Fetch-Mode: navigate"}},
		"form only":               {body: "code=c&state=good", headers: []string{form}, status: 200},
		"form with a charset":     {body: "code=c&state=good", headers: []string{form + "; charset=UTF-8"}, status: 200},
		"another origin":          {query: "?code=c&state=good", headers: []string{"Origin: https://evil.example"}, status: 403},
		"two origins":             {query: "?code=c&state=good", headers: []string{"Origin: https://as.example", "Origin: https://evil.example"}, status: 403},
		"script":                  {query: "?code=c&state=good", headers: []string{"Origin: https://as.example", "Sec-Fetch-Mode: cors"}, status: 403},
		"error without a state":   {query: "?error=access_denied", body: "state=good&code=c", headers: []string{form}, status: 400},
		"forged":                  {query: "?code=c&state=forged", body: "state=good", headers: []string{form}, status: 400},
		"state twice":             {query: "?code=c&state=good&state=good", body: "state=good", headers: []string{form}, status: 400},
		"form, state twice":       {body: "code=c&state=good&state=forged", headers: []string{form}, status: 400},
		"no form":                 {body: "code=c&state=good", headers: []string{"Content-Type: text/plain"}, status: 400},
		"JSON":                    {body: `{"code":"c","state":"good"}`, headers: []string{"Content-Type: application/json"}, status: 400},
		"a form that is too long": {body: "code=c&state=good&x=" + strings.Repeat("x", maxBody), headers: []string{form}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			l, j := listen(t, Options{FormOrigin: "https://as.example"})
			text := request{method: "POST", target: l.path + c.query, headers: append(c.headers, fmt.Sprintf("Content-Length: %d", len(c.body)))}.text(l)
			responses := make(chan responseOf, 1)
			go func() {
				a, err := exchange(address(l), text+c.body, "POST")
				if err != nil {
					t.Error(err)
				}
				responses <- a
			}()
			if c.status != 200 {
				if a := <-responses; a.status != c.status {
					t.Errorf("status %d, want %d", a.status, c.status)
				}
				if c.status == 403 && j.count() != 0 {
					t.Error("Accept was called")
				}
				succeed(t, l)
				return
			}
			params, err := wait(t, l)
			if err != nil || params.Get("code") != "c" || params.Has("password") {
				t.Errorf("%v, %v", params, err)
			}
			l.Finish(Page{})
			if a := <-responses; a.status != 200 || !strings.Contains(a.body, "You are signed in") {
				t.Errorf("status %d\n%s", a.status, a.body)
			}
		})
	}
}

// An error without a state ends nothing, and the page names it.
func TestErrorWithoutState(t *testing.T) {
	j := new(stateChecker)
	l, _ := listen(t, Options{Accept: func(params url.Values) error {
		if !params.Has("state") && params.Has("error") {
			return &UnboundError{Code: params.Get("error")}
		}
		return j.accept(params)
	}})
	for _, q := range []string{"?error=access_denied", "?error=%3Cscript%3Ealert(1)%3C/script%3E"} {
		a := send(t, l, request{target: l.path + q})
		checkPage(t, a.status, a.header, a.body)
		code, _ := url.QueryUnescape(strings.TrimPrefix(q, "?error="))
		if a.status != 400 || !strings.Contains(a.body, "reported an error") || strings.Contains(a.body, code) != (code == "access_denied") {
			t.Errorf("%s: status %d\n%s", q, a.status, a.body)
		}
	}
	if !errors.Is(&UnboundError{}, ErrIgnore) {
		t.Error("an UnboundError is no ErrIgnore")
	}
	succeed(t, l)
}

// The last page names what the user signed in to, and where to go on.
func TestPageNamesApplicationAndServer(t *testing.T) {
	for _, c := range []struct {
		page Page
		want []string
	}{
		{Page{}, []string{"You are signed in to mcp.example/&lt;x&gt;.", "go back to The &lt;App&gt;."}},
		{Page{Err: errors.New("it was denied")}, []string{"Sign-in to mcp.example/&lt;x&gt; failed", "It was denied", "go back to The &lt;App&gt;."}},
	} {
		l, _ := listen(t, Options{Application: "The <App>", Server: "mcp.example/<x>"})
		responses := later(t, l, request{target: l.path + "?code=c&state=good"})
		if _, err := wait(t, l); err != nil {
			t.Fatal(err)
		}
		l.Finish(c.page)
		a := <-responses
		checkPage(t, a.status, a.header, a.body)
		for _, want := range c.want {
			if !strings.Contains(a.body, want) {
				t.Errorf("the page lacks %q:\n%s", want, a.body)
			}
		}
	}
}

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
