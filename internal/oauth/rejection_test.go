package oauth

import (
	"strings"
	"testing"
)

// tokenRejection is the response by which an authorization server rejects a request.
type tokenRejection struct {
	status int
	body   string
}

// wantClass checks what the rejections are taken for.
func wantClass(t *testing.T, want string, all []tokenRejection) {
	t.Helper()
	for _, r := range all {
		if got := classOf(r.status, r.body); got != want {
			t.Errorf("%d %s is %q, want %s", r.status, r.body, got, want)
		}
	}
}

// TestRejectionNamesTheGrant: servers report a dead refresh token in many words and places,
// and with many statuses.
func TestRejectionNamesTheGrant(t *testing.T) {
	wantClass(t, "grant", []tokenRejection{
		{400, `{"error":"invalid_grant"}`},
		{403, `{"error":"INVALID_GRANT"}`},
		{401, `{"error":"InvalidGrant"}`},
		{400, `{"error":"invalid-grant"}`},
		{400, `{"code":"InvalidGrantError"}`},
		{400, `{"error":"urn:example:oauth:invalid_grant"}`},
		{404, `{"error":"invalid_grant"}`},
		{400, `{"error":"invalid_request","error_description":"refresh_token is invalid"}`},
		{400, `{"error":"invalid_request","error_description":"session not found"}`},
		{400, `{"error":"invalid_request","error_description":"The refresh token provided has been revoked."}`},
		{400, `{"error":"invalid_request","error_description":"Token expired"}`},
		{400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`},
		{401, `{"error":"Unauthorized","message":"Invalid refresh token"}`},
		{401, `{"error":"Invalid refresh token"}`},
		{400, `{"detail":{"error":"invalid_grant","error_description":"x"}}`},
		{400, `{"detail":"Invalid or expired refresh token"}`},
		{400, `{"error":{"code":"invalid_grant","message":"x"}}`},
		{400, `{"error":{"type":"invalid_grant"}}`},
		{401, `{"error":{"code":401,"status":"UNAUTHENTICATED","message":"Refresh token expired"}}`},
		{400, `{"errors":[{"code":"refresh_token_expired"}]}`},
		{400, `{"errors":["Refresh token not found"]}`},
		{400, `{"data":{"error":{"errorCode":"invalid_grant"}}}`},
		{403, `{"error":"access_denied"}`},
		{400, `{"error":"expired_token"}`},
		{400, `{"error":"not_allowed","error_description":"x"}`},
		{401, `{"error":"invalid_token"}`},
		{400, `{"error":"session_terminated"}`},
		{422, `{"message":"The refresh token does not exist"}`},
		{500, `{"error":"invalid_grant"}`},
		{200, `{"status":"BAD_REFRESH_TOKEN"}`},
		{400, `error=invalid_grant&error_description=x`},
		{400, `error=invalid_request&error_description=Refresh+token+is+no+longer+valid`},
	})
}

// TestRejectionNamesTheClient and nothing else.
func TestRejectionNamesTheClient(t *testing.T) {
	wantClass(t, "client", []tokenRejection{
		{401, `{"error":"invalid_client"}`},
		{400, `{"error":"INVALID_CLIENT"}`},
		{401, `{"error":"unauthorized_client","error_description":"Invalid client_id"}`},
		{401, `{"detail":{"error":"invalid_client"}}`},
		{422, `{"message":"Required parameter: client_secret"}`},
		{400, `{"error":"invalid_request","error_description":"Missing client_id"}`},
		{401, `{"error":"Client not found"}`},
	})
}

// TestRejectionNamesNothing: an authorization server has rejected the request and
// given no reason that tells grant from client.
func TestRejectionNamesNothing(t *testing.T) {
	wantClass(t, "other", []tokenRejection{
		{400, ``}, {401, ``}, {403, ``}, {409, ``}, {422, " \n"},
		{401, `{"error":"unauthorized"}`},
		{401, `{"error":"Unauthorized","message":"Unauthorized"}`},
		{400, `{"message":"Bad Request"}`},
		{400, `{"status":"error"}`},
		{422, `{"detail":[{"loc":["body","audience"],"msg":"Field required","type":"missing"}]}`},
		{400, `{"error":"invalid_request","error_description":"Missing required parameter: refresh_token"}`},
		{400, `{"error":"unsupported_grant_type","error_description":"Unknown grant type"}`},
		{400, `{"error":"invalid_request","error_description":"Unknown parameter: token_format"}`},
		{400, `{"code":"oops"}`},
	})
}

// TestRejectionOfAGateway: responses that come from no authorization server, and codes in a
// wrong place.
func TestRejectionOfAGateway(t *testing.T) {
	wantClass(t, "transient", []tokenRejection{
		{400, `<html>Invalid refresh token`}, {401, `<!doctype html>`}, {403, `Request blocked`},
		{403, `{"request_id":"x","ray":"y"}`}, {400, `[]`}, {400, `"invalid_grant"`},
		{404, ``}, {404, `{"message":"Not Found"}`}, {405, `{"error":"method_not_allowed"}`}, {410, ``},
		{402, `{"message":"pay"}`}, {415, `{"error":"unsupported_media_type"}`},
		{429, `{"error":"too_many_requests"}`}, {503, `{"message":"Invalid state of the session store"}`},
		{500, `{"error":"invalid_client"}`}, {200, `{"status":"ok"}`},
	})
}

func TestWantsScope(t *testing.T) {
	for text, want := range map[string]bool{
		"invalid_request: AADSTS90009: Application is requesting a token for itself.":                   true,
		"invalid_request: AADSTS900144: The request body must contain the following parameter: 'scope'": true,
		"invalid_scope: ": true,
		"invalid_request: The scope parameter is required": true,
		"invalid_request: refresh_token is required":       false,
		"invalid_grant: ": false,
	} {
		code, description, _ := strings.Cut(text, ": ")
		if got := (&Error{Code: code, Description: description, Status: 400}).WantsScope(); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// classOf returns the class of a token endpoint's response.
func classOf(status int, body string) string {
	_, err := ParseTokenResponse(responseOf(status, "", body))
	got := errorKind(false, err)
	return got[strings.LastIndexByte(got, ' ')+1:]
}
