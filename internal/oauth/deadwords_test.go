package oauth

import "testing"

// TestDeadGrantInStillOtherWords: a list, a code where a text belongs, a new login
// that is wanted, and the many words for a refresh token that is gone.
func TestDeadGrantInStillOtherWords(t *testing.T) {
	for status, bodies := range map[int][]string{
		200: {`[{"error":"invalid_grant"}]`},
		400: {
			`[{"error":"invalid_grant"}]`,
			`[{"errorCode":"INVALID_SESSION","message":"Session expired or invalid"}]`,
			"\ufeff" + `{"error":"invalid_grant"}`,
			`{"message":"invalid_grant"}`,
			`{"message":"{\"error\":\"invalid_grant\"}"}`,
			`{"error_description":"invalid_grant: expired"}`,
			`{"error":{"code":400,"message":"INVALID_REFRESH_TOKEN","status":"INVALID_ARGUMENT"}}`,
			`{"error":{"code":400,"message":"TOKEN_EXPIRED"}}`,
			`{"result":"error","info":"Invalid refresh token"}`,
			`{"fault":{"faultstring":"Invalid Refresh Token"}}`,
			`{"error":"interaction_required"}`,
			`{"error":"login_required"}`,
			`{"error":"invalid_request","error_description":"Refresh token has been rotated"}`,
			`{"error":"invalid_request","error_description":"Refresh token was already redeemed"}`,
			`{"error":"invalid_request","error_description":"Refresh token reuse detected"}`,
			`{"error":"invalid_request","error_description":"Could not find refresh token"}`,
			`{"error":"invalid_request","error_description":"Refresh token doesn't exist"}`,
			`{"error":"invalid_request","error_description":"Refresh token doesn’t exist"}`,
			`{"error":"invalid_request","error_description":"Bad refresh token"}`,
			`{"error":"invalid_request","error_description":"Incorrect refresh_token"}`,
			`{"error":"invalid_request","error_description":"refresh_token cannot be verified"}`,
			`{"error":"invalid_request","error_description":"The 'refresh_token' is not valid"}`,
			`{"error":"invalid_request","error_description":"The provided token is no longer valid"}`,
			`{"error":"invalid_request","error_description":"Session has been closed"}`,
			`{"error":"invalid_request","error_description":"no active session"}`,
			`{"error":"invalid_request","error_description":"refresh token mismatch"}`,
		},
		498: {`{"message":"Invalid refresh token"}`},
	} {
		for _, body := range bodies {
			if got := classOf(status, body); got != "grant" {
				t.Errorf("%d %s is %q, want grant", status, body, got)
			}
		}
	}
}

// TestTokenThatIsNoGrant: a text can speak of tokens, codes and sessions that are
// dead, and mean another than the one that was to be redeemed.
func TestTokenThatIsNoGrant(t *testing.T) {
	for status, bodies := range map[int][]string{
		400: {
			`{"error":"unsupported_grant_type","error_description":"grant_type refresh_token is not recognized"}`,
			`{"error":"invalid_dpop_proof","error_description":"The token in the proof has expired"}`,
			`{"error":"invalid_request","error_description":"DPoP token is not valid"}`,
			`{"error":"invalid_request","error_description":"client assertion token expired"}`,
			`{"error":"invalid_request","error_description":"invalid code-verifier"}`,
			`{"error":"invalid_request","error_description":"Invalid country code"}`,
			`{"error":"invalid_request","error_description":"Unknown token format"}`,
			`{"error":"invalid_request","error_description":"malformed token request"}`,
			`{"error":"invalid_request","error_description":"unknown parameter in token request"}`,
			`{"error":"invalid_request","error_description":"refresh_token parameter not found"}`,
			`{"error":"invalid_request","error_description":"Tenant not found for session"}`,
			`{"error":"invalid_request","error_description":"The session store is inactive"}`,
		},
		401: {`{"message":"Invalid bearer token"}`},
		403: {`{"message":"Invalid CSRF token"}`, `{"message":"Captcha token expired"}`, `{"message":"API token is invalid"}`},
		404: {
			`{"message":"POST /oauth/token not found"}`,
			`{"message":"Route POST:/token not found","error":"Not Found","statusCode":404}`,
			`{"error":"unknown_endpoint","error_description":"/session/token not found"}`,
		},
		405: {`{"error":"not_allowed"}`},
	} {
		for _, body := range bodies {
			if got := classOf(status, body); got == "grant" {
				t.Errorf("%d %s is %q", status, body, got)
			}
		}
	}
}

// TestBusyServerRejectsNothing: a server that is overloaded or out of service says
// so with statuses and codes that elsewhere end a login.
func TestBusyServerRejectsNothing(t *testing.T) {
	for status, bodies := range map[int][]string{
		400: {
			`{"error":"invalid_request","error_description":"Too many requests"}`,
			`{"error":"invalid_request","error_description":"too many refresh token requests, session limit ended"}`,
			`{"error":"maintenance","error_description":"Refresh token service is not active"}`,
			`{"error":"ThrottlingException","message":"Rate exceeded"}`,
			`{"error":"quota_exceeded"}`,
			`{"error":"slow_down","error_description":"refresh token already used"}`,
		},
		403: {
			`{"message":"API rate limit exceeded"}`,
			`{"message":"You have exceeded a secondary rate limit"}`,
			`{"error":"forbidden","message":"Scheduled maintenance until 10:00"}`,
			`{"error":"forbidden","message":"Service temporarily unavailable"}`,
		},
		409: {`{"message":"Service Unavailable"}`},
		429: {`{"error":"access_denied"}`, `{"error":"not_allowed","error_description":"too many"}`},
		500: {`{"error":"invalid_token"}`, `{"error":"token_not_found"}`},
		503: {`{"error":"access_denied"}`, `{"error":"not_allowed"}`, `{"error":"session_not_found"}`},
	} {
		for _, body := range bodies {
			if got := classOf(status, body); got != "transient" {
				t.Errorf("%d %s is %q, want transient", status, body, got)
			}
		}
	}
}
