package mutant

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// tokenResponse is a successful token response.
type tokenResponse struct {
	access, refresh, scope, idToken string
}

// rejectedError is an error response of the token endpoint.
type rejectedError struct {
	code   string
	client bool // it is about the client
	silent bool // it names nothing
	scope  bool // a refresh has to name the scope
}

func (e *rejectedError) Error() string { return "the token endpoint rejects the request: " + e.code }

// transientError is a failure that is not about the grant or the client.
type transientError struct {
	why  string
	lost bool // the request may have been carried out
}

func (e *transientError) Error() string { return "the token endpoint does not respond: " + e.why }

// token sends a token request, and again where a defect has it so.
func (c *Client) token(ctx context.Context, st *state, method string,
	form map[string]string) (tokenResponse, error) {
	token, err := c.tokenOnce(ctx, st, method, form)
	if err != nil && c.Defect == RetriesAll {
		return c.tokenOnce(ctx, st, method, form)
	}
	return token, err
}

func (c *Client) tokenOnce(ctx context.Context, st *state, method string,
	form map[string]string) (tokenResponse, error) {
	values := make(url.Values)
	for name, value := range form {
		values.Set(name, value)
	}
	id, secret, header := st.Client.ID, st.Client.Secret, ""
	if method == "client_secret_basic" || c.Defect == BothMethods && secret != "" {
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		if c.Defect == BasicUnencoded {
			pair = id + ":" + secret
		}
		header = "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	}
	if method == "private_key_jwt" {
		assertion, err := c.assertion(st)
		if err != nil {
			return tokenResponse{}, err
		}
		values.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		values.Set("client_assertion", assertion)
	}
	if id != "" && method != "client_secret_basic" || c.Defect == BothMethods || st.Client.FormID {
		values.Set("client_id", id)
	}
	if method == "client_secret_post" || c.Defect == BothMethods && secret != "" {
		values.Set("client_secret", secret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, st.TokenEndpoint,
		strings.NewReader(values.Encode()))
	if err != nil {
		return tokenResponse{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	response, err := c.send(r, st, "")
	if err != nil {
		return tokenResponse{}, &transientError{err.Error(), true}
	}
	defer response.Body.Close()
	raw, err := read(response)
	if err != nil {
		return tokenResponse{}, &transientError{err.Error(), true}
	}
	return c.parseToken(response, raw)
}

// parseToken reads a token response in JSON or a form. An error in the body counts whatever the
// status.
func (c *Client) parseToken(response *http.Response, raw []byte) (tokenResponse, error) {
	document := parseDocument(response, raw)
	text := func(name string) string {
		s, _ := document[name].(string)
		return s
	}
	code := text("error")
	if code == "" {
		code = text("error_code")
	}
	status := response.StatusCode
	if err := c.tokenError(code, raw, document != nil && status/100 == 4); err != nil {
		return tokenResponse{}, err
	}
	switch {
	case status/100 == 2 && text("access_token") != "":
		return tokenResponse{text("access_token"), text("refresh_token"), text("scope"), text("id_token")}, nil
	case status == http.StatusUnauthorized && len(raw) == 0:
		return tokenResponse{}, &rejectedError{code: "no code", client: true, silent: true}
	case status == http.StatusUnauthorized || status == http.StatusUnprocessableEntity &&
		document != nil:
		return tokenResponse{}, rejection("no code", raw, true)
	}
	return tokenResponse{}, &transientError{fmt.Sprintf("status %d", status), false}
}

// parseDocument returns the members of a JSON object or a form, nil for anything else.
func parseDocument(response *http.Response, raw []byte) map[string]any {
	var document map[string]any
	if json.Unmarshal(raw, &document) == nil {
		return document
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil ||
		!strings.HasPrefix(response.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil
	}
	document = make(map[string]any)
	for name := range form {
		document[name] = form.Get(name)
	}
	return document
}

// tokenError returns the error that a body names with a code or, in a response with a status of
// 4xx, in another way; nil if it names none.
func (c *Client) tokenError(code string, raw []byte, rejected bool) error {
	switch {
	case code == "invalid_client":
		return rejection(code, raw, true)
	case code == "temporarily_unavailable" || code == "server_error":
		return &transientError{code, false}
	case rejected && dead(raw) && c.Defect != OneWordForDead:
		return rejection("invalid_grant", raw, false)
	case code == "unauthorized" && c.Defect == OneWordForGone:
		return &transientError{code, false}
	case code == "unauthorized":
		return rejection(code, raw, true)
	case code == "" || c.Defect == OneWordForDead && code != "invalid_grant":
		return nil
	}
	return rejection(code, raw, false)
}

// rejection returns the error for a code.
func rejection(code string, raw []byte, client bool) error {
	return &rejectedError{code: code, client: client, scope: strings.Contains(string(raw), "AADSTS90009")}
}

// dead reports whether an error names the refresh token or the grant, wherever and
// however it is spelt.
func dead(raw []byte) bool {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, string(raw))
	return strings.Contains(letters, "invalidgrant") || strings.Contains(letters, "refreshtoken")
}
