package oauth

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Exchange is a request and its response as they may be shown: without the body of the response,
// and with [Redacted] in place of everything that may be secret. A redirect that is followed makes
// two of them.
type Exchange struct {
	Purpose    string // what the request is for: "the token endpoint"
	Method     string
	URL        string // without query and fragment
	AuthMethod string // how the client authenticated; "" if it did not

	Params   []Field // of the query, the form or the registration; sorted by name
	Header   []Field // of the request
	Response []Field // headers of the response

	Sent     time.Time
	Duration time.Duration
	Status   int    // 0 if there was no response
	Code     string // the OAuth error code of the response
	Err      error  // why there was none
}

// What the requests are for.
const (
	PurposeResource     = "the resource metadata"
	PurposeServer       = "the authorization server's metadata"
	PurposeKeys         = "the server's keys"
	PurposeRegistration = "the registration"
	PurposePush         = "the pushed authorization request endpoint"
	PurposeDevice       = "the device authorization endpoint"
	PurposeToken        = "the token endpoint"
	PurposeRevocation   = "the revocation endpoint"
	PurposeUser         = "the userinfo endpoint"
)

// Field is a name and a value.
type Field struct{ Name, Value string }

// Redacted stands for a value that may be secret.
const Redacted = "[redacted]"

// shownParams are the parameters and the members of a registration whose values are shown, beside
// [publicParams].
var shownParams = []string{
	"access_type", "acr_values", "application_type", "client_name", "client_uri",
	"code_challenge_method", "dpop_bound_access_tokens", "grant_types", "max_age", "prompt",
	"redirect_uris", "response_type", "response_types", "token_endpoint_auth_method",
}

// IsShown reports whether the value of a request parameter may be shown.
func IsShown(name string) bool {
	return slices.Contains(publicParams, name) || slices.Contains(shownParams, name)
}

// observation is an exchange under way. The methods of a nil observation do nothing: no function
// listens.
type observation struct {
	Exchange
	fetcher *Fetcher
	req     *http.Request
}

// observe begins an exchange.
func (f *Fetcher) observe(about Exchange, req *http.Request) *observation {
	if f.Observe == nil {
		return nil
	}
	about.Sent = time.Now()
	return &observation{Exchange: about, fetcher: f, req: req}
}

// end reports the exchange. Without a response a is nil and err says why.
func (o *observation) end(a *response, err error) {
	if o == nil {
		return
	}
	o.Err = err
	o.Duration = time.Since(o.Sent)
	params := paramsOf(o.req)
	o.Params = ShownParams(params)
	maps.DeleteFunc(params, func(name string, _ []string) bool { return IsShown(name) })
	hidden := o.fetcher.addKnownSecrets(redactorOf(params, o.req.Header))
	hidden = append(hidden, o.req.Header["Dpop"]...)
	if a != nil {
		hidden = a.describe(&o.Exchange, hidden)
	}
	o.finish(o.req, hidden)
	o.fetcher.Observe(o.Exchange)
}

// describe adds a response to the exchange, and returns the redactor with its secrets added.
func (a *response) describe(x *Exchange, hidden redactor) redactor {
	read := *a
	read.redactor = hidden
	r := read.reply("observed")
	hidden = hidden.withResponse(r.members)
	for _, name := range []string{"code", "device_code", "request_uri", "user_code"} {
		hidden = append(hidden, r.members.text(name))
	}
	x.Status, x.Response = a.status, shownHeader(a.header)
	found := r.rejection()
	if err, ok := errtype.As[*Error](r.errorMember()); ok || a.status/100 != 2 {
		if !ok {
			err = r.error(found.code, "")
		}
		x.Code = Sanitize(hidden.redact(err.Code))
	}
	return hidden
}

// finish removes what is secret from the exchange.
func (x *Exchange) finish(req *http.Request, hidden redactor) {
	clean := func(text string) string { return Sanitize(hidden.redact(text)) }
	x.Method, x.URL = req.Method, clean(origin(req.URL)+req.URL.EscapedPath())
	for _, name := range []string{"Authorization", "Dpop"} {
		if value := req.Header.Get(name); value != "" {
			scheme, _, more := strings.Cut(value, " ")
			if !more {
				x.Header = append(x.Header, Field{"DPoP", Redacted})
				continue
			}
			x.Header = append(x.Header, Field{name, Sanitize(scheme) + " " + Redacted})
		}
	}
	for _, fields := range [][]Field{x.Params, x.Response} {
		for i, f := range fields {
			if f.Value != Redacted {
				fields[i].Value = clean(f.Value)
			}
			fields[i].Name = clean(f.Name)
		}
	}
	if x.Err != nil {
		x.Err = hidden.redactError(x.Err)
	}
}

// shownHeader returns the headers of a response that matter.
func shownHeader(h http.Header) (fields []Field) {
	for _, name := range []string{
		"Content-Type", "WWW-Authenticate", "Retry-After", "Location", "DPoP-Nonce",
	} {
		value := strings.Join(h.Values(name), ", ")
		if value == "" {
			continue
		}
		switch name {
		case "DPoP-Nonce":
			value = Redacted
		case "Location":
			value, _, _ = strings.Cut(value, "?")
			value, _, _ = strings.Cut(value, "#")
		}
		fields = append(fields, Field{name, value})
	}
	return fields
}

// paramsOf returns the parameters of a request that this package made: of the query, of the form,
// or the members of a registration.
func paramsOf(req *http.Request) url.Values {
	body, _ := req.Body.(*requestBody)
	switch {
	case body == nil:
		return req.URL.Query()
	case strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		form, _ := url.ParseQuery(string(body.data))
		return form
	}
	o, err := readObject(body.data)
	if err != nil {
		return nil
	}
	members := make(url.Values, len(o.members))
	for _, m := range o.members {
		if members[m.name] = o.list(m.name); members[m.name] == nil {
			members.Set(m.name, textOf(m.value))
		}
	}
	return members
}

// ShownParams returns parameters as they may be shown, sorted by name.
func ShownParams(params url.Values) []Field {
	fields := make([]Field, 0, len(params))
	for name, values := range params {
		value := Redacted
		if IsShown(name) {
			value = strings.Join(values, " ")
		}
		fields = append(fields, Field{name, value})
	}
	slices.SortFunc(fields, func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	return fields
}

// Observed returns a request that no [Fetcher] sent, with its response or the error in its place.
// The secrets are those that the response may repeat, beside what the request itself carries.
func Observed(x Exchange, req *http.Request, resp *http.Response, secrets []Secret) Exchange {
	x.Duration = time.Since(x.Sent)
	hidden := redactorOf(nil, req.Header).withSecrets(secrets)
	hidden = append(hidden, req.Header["Dpop"]...)
	x.Params = ShownParams(req.URL.Query())
	if resp != nil {
		x.Status, x.Response = resp.StatusCode, shownHeader(resp.Header)
		x.Code = Sanitize(hidden.redact(ParseBearerChallenge(resp.Header).Error))
	}
	x.finish(req, hidden)
	return x
}

// methodOf returns how a client authenticates; "" if there is none.
func methodOf(client Authenticator) string {
	if c, ok := client.(ClientCredentials); ok {
		return c.Method
	}
	return ""
}
