package lab

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Habits are the ways in which a server behaves. The zero value is a correct server: it lists
// what it enforces, rotates refresh tokens strictly, and sends iss.
//
// Habits can be written as JSON; durations are then strings such as "30s".
type Habits struct {
	// Name is shown on pages and in failures. It changes nothing.
	Name string `json:"name,omitempty"`

	// Registration and client authentication.

	// Methods is token_endpoint_auth_methods_supported, in this order. Empty
	// means none, client_secret_post, client_secret_basic.
	Methods []string `json:"methods,omitempty"`
	// OmitMethods leaves the member out, which RFC 8414 section 2 reads as
	// client_secret_basic.
	OmitMethods bool `json:"omit_methods,omitempty"`
	// RegisterMethod is the method that dynamic registration registers, whatever was requested.
	// Empty means the requested one, or client_secret_basic (RFC 7591 section 2).
	RegisterMethod string `json:"register_method,omitempty"`
	// RegisterSilent leaves token_endpoint_auth_method out of the response.
	RegisterSilent bool `json:"register_silent,omitempty"`
	// RegisterSecret decides whether the response has a secret, whatever the
	// method. Nil means that the method decides.
	RegisterSecret *bool `json:"register_secret,omitempty"`
	// EnforceMethod is what the token endpoint takes instead of the registered
	// method; MethodAny takes either place of the secret.
	EnforceMethod string `json:"enforce_method,omitempty"`
	// SecretAlphabet is added to every id and secret, to hold characters that
	// Basic has to form-encode (RFC 6749 section 2.3.1), such as "%+ :/&=é".
	SecretAlphabet string `json:"secret_alphabet,omitempty"`
	// SecretLifetime ends registered secrets. Zero means that they do not
	// expire; a negative one is over when it is issued.
	SecretLifetime time.Duration `json:"secret_lifetime,omitempty"`
	// RejectRepeatedID rejects a client_id in the body beside Basic, except in a pushed authorization
	// request, which has to have one.
	RejectRepeatedID bool `json:"reject_repeated_id,omitempty"`
	// FormClientID looks the client up by the form's client_id, and rejects Basic
	// without it.
	FormClientID bool `json:"form_client_id,omitempty"`
	// RevokeWantsSecret wants the member client_secret at the revocation endpoint,
	// even if it is empty; the token endpoint ignores an empty one.
	RevokeWantsSecret bool `json:"revoke_wants_secret,omitempty"`
	// InvalidClientStatus is the status of a failed client authentication. Zero
	// means 401.
	InvalidClientStatus int `json:"invalid_client_status,omitempty"`
	// InvalidClientShape is its body: empty for an OAuth error, ShapeEmpty for
	// nothing at all, ShapeJSON for JSON that is no OAuth error.
	InvalidClientShape string `json:"invalid_client_shape,omitempty"`
	// CodeUsedOnBadClient makes the authorization code invalid when the client authentication
	// fails.
	CodeUsedOnBadClient bool `json:"code_used_on_bad_client,omitempty"`
	// RefreshUsedOnBadClient makes the refresh token invalid likewise.
	RefreshUsedOnBadClient bool `json:"refresh_used_on_bad_client,omitempty"`
	// NoRegistration has no registration endpoint.
	NoRegistration bool `json:"no_registration,omitempty"`
	// ClosedRegistration has one that rejects every request: [RegistrationAllowlist],
	// [RegistrationOff]. Empty means that every client is registered.
	ClosedRegistration string `json:"closed_registration,omitempty"`
	// RejectRegistrations reject what a registration may not have; the first that
	// applies responds.
	RejectRegistrations []RegistrationRule `json:"reject_registrations,omitempty"`
	// UnknownClientStatus is the status with which the authorization endpoint
	// meets a client that it does not know. Zero means 400, with a page; 422 has
	// JSON instead.
	UnknownClientStatus int `json:"unknown_client_status,omitempty"`
	// UnknownClientCode is the error code of the token endpoint for such a client. Empty means
	// invalid_client.
	UnknownClientCode string `json:"unknown_client_code,omitempty"`
	// UnknownClientBody is the body of that response, as JSON, with status 401.
	// Empty means an OAuth error.
	UnknownClientBody string `json:"unknown_client_body,omitempty"`
	// ManageClients gives registrations a registration_client_uri that takes GET, PUT and DELETE
	// (RFC 7592).
	ManageClients bool `json:"manage_clients,omitempty"`
	// Registrations is what a registration must have, and how it is managed.
	Registrations Registrations `json:"registrations,omitzero"`
	// ClientIDMetadata accepts the URL of a client ID metadata document as
	// client_id.
	ClientIDMetadata bool `json:"client_id_metadata,omitempty"`
	// Assertions is how JWTs that authenticate clients are checked.
	Assertions Assertions `json:"assertions,omitzero"`
	// MTLS is what is done with client certificates.
	MTLS MTLS `json:"mtls,omitzero"`
	// Grants are the grant types that the token endpoint takes in addition to authorization_code and
	// refresh_token: those of the Grant constants.
	Grants []string `json:"grants,omitempty"`
	// GrantsEnforced rejects a refresh by a client that did not register the
	// refresh_token grant, and gives it no refresh token.
	GrantsEnforced bool `json:"grants_enforced,omitempty"`

	// Authorization.

	// Consent is what the authorization endpoint does: [ConsentAuto] (the zero value) redirects
	// at once, [ConsentPage] shows a page with one button, [ConsentPost] too, but its redirect
	// keeps the button's POST, [ConsentDeny] redirects with access_denied, [ConsentPage400] never
	// redirects.
	Consent string `json:"consent,omitempty"`
	// Iss is one of the Iss constants; empty means IssOn.
	Iss string `json:"iss,omitempty"`
	// PAR is what the server does with pushed authorization requests: nothing, [PAROffered],
	// [PARRequired].
	PAR string `json:"par,omitempty"`
	// DetailTypes is authorization_details_types_supported (RFC 9396); others are rejected.
	DetailTypes []string `json:"detail_types,omitempty"`
	// StepUp is the user authentication that the MCP server requires.
	StepUp StepUp `json:"step_up,omitzero"`
	// Device is how the device authorization grant works.
	Device Device `json:"device,omitzero"`
	// OpenID issues ID tokens for the scope openid, has a userinfo endpoint, and has the metadata at
	// the issuer's /.well-known/openid-configuration too.
	OpenID bool `json:"openid,omitempty"`
	// OmitPKCE leaves code_challenge_methods_supported out.
	OmitPKCE bool `json:"omit_pkce,omitempty"`
	// RedirectExact compares redirect URIs byte by byte. Otherwise a loopback
	// redirect may have any port (RFC 8252 section 7.3).
	RedirectExact bool `json:"redirect_exact,omitempty"`

	// Tokens.

	// AccessTokenLifetime is how long access tokens work; expires_in is the same in seconds,
	// rounded up. Zero means an hour.
	AccessTokenLifetime time.Duration `json:"access_token_lifetime,omitempty"`
	// ExpiresIn is the form of expires_in in the response: one of the Expires constants; empty
	// means [ExpiresNumber].
	ExpiresIn string `json:"expires_in,omitempty"`
	// AccessTokenJWT makes access tokens JWTs with an exp claim.
	AccessTokenJWT bool `json:"access_token_jwt,omitempty"`
	// Rotation is one of the Rotate constants; empty means RotateStrict.
	Rotation string `json:"rotation,omitempty"`
	// Grace is how long RotateGrace, RotateGraceAccess and RotateSame accept a
	// used refresh token again.
	Grace time.Duration `json:"grace,omitempty"`
	// DeadGrant is the error code for a dead refresh token. Empty means
	// invalid_grant.
	DeadGrant string `json:"dead_grant,omitempty"`
	// DeadGrantStatus is the status of that response. Zero means 400.
	DeadGrantStatus int `json:"dead_grant_status,omitempty"`
	// DeadGrantBody is its body, as JSON: empty for an OAuth error, ShapeEmpty for
	// nothing at all.
	DeadGrantBody string `json:"dead_grant_body,omitempty"`
	// RefreshScope is what a refresh does with the scope parameter:
	// [RefreshScopeAccepted] (the zero value), [RefreshScopeRequired], [RefreshScopeRejected].
	RefreshScope string `json:"refresh_scope,omitempty"`
	// TokenDelay is how long after its issue the MCP server rejects an access
	// token. It passes by the server's clock.
	TokenDelay time.Duration `json:"token_delay,omitempty"`
	// FormResponses makes the token endpoint respond form-encoded.
	FormResponses bool `json:"form_responses,omitempty"`
	// ErrorMember is where the token endpoint's JSON has its error code. Empty
	// means error; ErrorCode is error_code, beside a number and a message.
	ErrorMember string `json:"error_member,omitempty"`
	// ErrorsIn200 makes the token endpoint return errors with status 200.
	ErrorsIn200 bool `json:"errors_in_200,omitempty"`

	// DPoP is what the servers do with proofs of possession.
	DPoP DPoP `json:"dpop,omitzero"`

	// Discovery.

	// IssuerPath is the path of the issuer, such as "/tenant"; empty means none.
	IssuerPath string `json:"issuer_path,omitempty"`
	// IssuerSlash is where the issuer ends in a slash: SlashNowhere (the zero
	// value), SlashMetadata, SlashResource, SlashBoth.
	IssuerSlash string `json:"issuer_slash,omitempty"`
	// MetadataIssuer replaces the issuer in the metadata.
	MetadataIssuer string `json:"metadata_issuer,omitempty"`
	// Endpoints replaces members of the server's metadata, by name. ORIGIN in a
	// value stands for the authorization server's origin.
	Endpoints map[string]string `json:"endpoints,omitempty"`
	// ServerForm is where the server's metadata is: one of the Server constants;
	// empty means ServerRFC8414.
	ServerForm string `json:"server_form,omitempty"`
	// ResourceForm is where the resource's metadata is: one of the Resource
	// constants; empty means the path-inserted place, named in the challenge.
	ResourceForm string `json:"resource_form,omitempty"`
	// ResourceName is the resource member of that metadata: NameOrigin,
	// NameQuery, NameSlash, or a literal; empty means the MCP server's URL.
	ResourceName string `json:"resource_name,omitempty"`
	// Resource is how the server treats the resource parameter (RFC 8707):
	// [ResourceChecked] (the zero value), [ResourceRequired], [ResourceRejected].
	Resource string `json:"resource,omitempty"`
	// OneOrigin puts the authorization server on the MCP server's origin.
	OneOrigin bool `json:"one_origin,omitempty"`
	// ListedBefore are issuers that the resource metadata names before the
	// server's own; ORIGIN stands for the server's origin.
	ListedBefore []string `json:"listed_before,omitempty"`
	// ChallengeMetadata is what the challenge names as resource_metadata instead
	// of the place where that is.
	ChallengeMetadata string `json:"challenge_metadata,omitempty"`
	// SplitMetadata leaves registration and PKCE to a second document, the
	// OpenID one, beside that of RFC 8414.
	SplitMetadata bool `json:"split_metadata,omitempty"`
	// SlashRedirect is the status with which the MCP server and the endpoints for
	// tokens and registration redirect to the same path with a slash at its end,
	// where they are. Zero means no redirect.
	SlashRedirect int `json:"slash_redirect,omitempty"`
	// MCPPath is the path of the MCP server. Empty means "/mcp".
	MCPPath string `json:"mcp_path,omitempty"`

	// Scopes.

	// ScopesSupported is listed in both metadata documents; offline_access beside
	// it in the server's.
	ScopesSupported []string `json:"scopes_supported,omitempty"`
	// ChallengeScope is the scope of the 401's challenge.
	ChallengeScope string `json:"challenge_scope,omitempty"`
	// EntryScope is required for every MCP request; the response is otherwise 403
	// insufficient_scope.
	EntryScope string `json:"entry_scope,omitempty"`
	// RequiredScope is required for tools/call; the response is otherwise 403 insufficient_scope.
	RequiredScope string `json:"required_scope,omitempty"`
	// NeverGrant names scopes that are never granted.
	NeverGrant []string `json:"never_grant,omitempty"`
	// Offline is the habit around refresh tokens: OfflineIgnored (the zero
	// value), OfflineListed, OfflineConsent, OfflineForbidden, OfflineParameter,
	// OfflineNotAllowed.
	Offline string `json:"offline,omitempty"`
	// LazyAuth wants a token for tools/call only.
	LazyAuth bool `json:"lazy_auth,omitempty"`
}

// Token endpoint authentication methods.
const (
	MethodNone  = "none"
	MethodPost  = "client_secret_post"
	MethodBasic = "client_secret_basic"
	// MethodPrivateKeyJWT and MethodSecretJWT are assertions (RFC 7523 section 2.2).
	MethodPrivateKeyJWT = "private_key_jwt"
	MethodSecretJWT     = "client_secret_jwt"
	// MethodAny is for Habits.EnforceMethod only: Basic or body.
	MethodAny = "any"
)

// Values of Habits.InvalidClientShape; ShapeEmpty is one of DeadGrantBody too.
const (
	ShapeEmpty = "empty"
	ShapeJSON  = "json"
)

// Values of Habits.Consent.
const (
	ConsentAuto    = ""
	ConsentPage    = "page"
	ConsentPost    = "post"
	ConsentDeny    = "deny"
	ConsentPage400 = "page400"
)

// Values of Habits.Iss: the rows of RFC 9207 section 2.4.
const (
	IssOn         = "on"         // announced and sent
	IssOff        = "off"        // neither
	IssWrong      = "wrong"      // announced, another issuer sent
	IssMissing    = "missing"    // announced, not sent
	IssUnexpected = "unexpected" // sent, not announced
	IssStray      = "stray"      // another issuer sent, not announced
)

// Values of Habits.ExpiresIn.
const (
	ExpiresNumber  = "number"
	ExpiresString  = "string"
	ExpiresOmitted = "omitted"
	ExpiresZero    = "zero"
)

// Values of [Habits.Rotation]: how a refresh replaces the refresh token, and what happens when the
// used one is sent again.
const (
	RotateStrict      = "strict"       // the whole family is revoked
	RotateStrictKeep  = "strict-keep"  // rejected, the family lives
	RotateGrace       = "grace"        // a new pair again during Grace, then strict
	RotateGraceAccess = "grace-access" // only an access token during Grace, then strict
	RotateSame        = "same"         // the same successor during Grace, then strict
	RotateUntilUsed   = "until-used"   // valid until the successor is used, then rejected
	RotateNone        = "none"         // not rotated, the response has no refresh token
	RotateRepeat      = "repeat"       // not rotated, the response repeats it
)

// Values of Habits.IssuerSlash.
const (
	SlashNowhere  = ""
	SlashMetadata = "metadata"
	SlashResource = "resource"
	SlashBoth     = "both"
)

// Values of Habits.ServerForm.
const (
	ServerRFC8414    = "rfc8414"
	ServerOIDCInsert = "oidc-insert"
	ServerOIDCAppend = "oidc-append"
	ServerNone       = "none" // no metadata: endpoints at their default paths
)

// Values of Habits.ResourceForm.
const (
	ResourcePath   = "path"   // path-inserted, not named in the challenge
	ResourceRoot   = "root"   // at the root, not named in the challenge
	ResourceHeader = "header" // at a place that only the challenge names
	ResourceNone   = "none"   // no metadata
)

// Values of Habits.ResourceName, in addition to literal strings.
const (
	NameOrigin = "origin" // the bare origin
	NameQuery  = "query"  // the MCP URL with a query
	NameSlash  = "slash"  // the MCP URL with a slash more
)

// Values of Habits.Resource.
const (
	// ResourceChecked rejects another resource, and accepts a missing parameter.
	ResourceChecked = ""
	// ResourceRequired wants the metadata's own bytes on every leg; otherwise
	// invalid_target, and a refresh token becomes invalid.
	ResourceRequired = "required-equal"
	// ResourceRejected rejects any resource parameter.
	ResourceRejected = "rejected"
)

// Values of Habits.Offline.
const (
	// OfflineIgnored gives refresh tokens whatever the scope.
	OfflineIgnored = ""
	// OfflineListed lists offline_access, and gives refresh tokens for it only.
	OfflineListed = "listed"
	// OfflineConsent is OfflineListed, but for an authorization request without
	// prompt=consent the scope is ignored (OpenID Connect Core, section 11).
	OfflineConsent = "consent"
	// OfflineForbidden lists offline_access, and rejects requests for it.
	OfflineForbidden = "forbidden"
	// OfflineParameter does not know offline_access, and gives a refresh token
	// for access_type=offline: at the user's first consent to a client, and
	// after that only with prompt=consent.
	OfflineParameter = "parameter"
	// OfflineNotAllowed lists offline_access, lets the user consent to it, and
	// rejects the code exchange with not_allowed. Refresh tokens come without it.
	OfflineNotAllowed = "not-allowed"
)

// Values of [Habits.ClosedRegistration].
const (
	RegistrationAllowlist = "allowlist" // 403, in plain text
	RegistrationOff       = "off"       // 400, dynamic_client_registration_disabled
)

// Values of Habits.RefreshScope.
const (
	RefreshScopeAccepted = ""         // it may be there, and be narrower than what was granted
	RefreshScopeRequired = "required" // without it the refresh token is of no use
	RefreshScopeRejected = "rejected" // it must not be there
)

// ErrorCode is a value of Habits.ErrorMember.
const ErrorCode = "error_code"

// check reports the first value that no server could have.
func (h Habits) check() error {
	for _, field := range []struct {
		name, value string
		allowed     []string
	}{
		{"register_method", h.RegisterMethod, []string{"", MethodNone, MethodPost, MethodBasic}},
		{"enforce_method", h.EnforceMethod, []string{"", MethodNone, MethodPost, MethodBasic, MethodAny}},
		{"invalid_client_shape", h.InvalidClientShape, []string{"", ShapeEmpty, ShapeJSON}},
		{"consent", h.Consent, []string{ConsentAuto, ConsentPage, ConsentPost, ConsentDeny, ConsentPage400}},
		{"iss", h.Iss, []string{"", IssOn, IssOff, IssWrong, IssMissing, IssUnexpected, IssStray}},
		{"expires_in", h.ExpiresIn, []string{"", ExpiresNumber, ExpiresString, ExpiresOmitted, ExpiresZero}},
		{"rotation", h.Rotation, []string{"", RotateStrict, RotateStrictKeep, RotateGrace, RotateGraceAccess, RotateSame, RotateUntilUsed, RotateNone, RotateRepeat}},
		{"issuer_slash", h.IssuerSlash, []string{SlashNowhere, SlashMetadata, SlashResource, SlashBoth}},
		{"server_form", h.ServerForm, []string{"", ServerRFC8414, ServerOIDCInsert, ServerOIDCAppend, ServerNone}},
		{"resource_form", h.ResourceForm, []string{"", ResourcePath, ResourceRoot, ResourceHeader, ResourceNone}},
		{"resource", h.Resource, []string{ResourceChecked, ResourceRequired, ResourceRejected}},
		{"offline", h.Offline, []string{OfflineIgnored, OfflineListed, OfflineConsent, OfflineForbidden, OfflineParameter, OfflineNotAllowed}},
		{"closed_registration", h.ClosedRegistration, []string{"", RegistrationAllowlist, RegistrationOff}},
		{"refresh_scope", h.RefreshScope, []string{RefreshScopeAccepted, RefreshScopeRequired, RefreshScopeRejected}},
		{"assertions.audience", h.Assertions.Audience, []string{AudienceIssuer, AudienceEither, AudienceEndpoint}},
		{"dpop.resource", h.DPoP.Resource, []string{"", DPoPOffered, DPoPRequired, DPoPChallenged, DPoPSilent}},
		{"par", h.PAR, []string{"", PAROffered, PARRequired}},
		{"error_member", h.ErrorMember, []string{"", ErrorCode}},
	} {
		if !slices.Contains(field.allowed, field.value) {
			return fmt.Errorf("lab: %s cannot be %q", field.name, field.value)
		}
	}
	for _, grant := range h.Grants {
		if builtin := grant == "authorization_code" || grant == "refresh_token"; builtin || grantNames[grant] == "" {
			return fmt.Errorf("lab: grants cannot have %q", grant)
		}
	}
	for _, rule := range h.RejectRegistrations {
		if err := rule.check(); err != nil {
			return err
		}
	}
	for name, body := range map[string]string{"dead_grant_body": h.DeadGrantBody, "unknown_client_body": h.UnknownClientBody} {
		if body != "" && body != ShapeEmpty && !json.Valid([]byte(body)) {
			return fmt.Errorf("lab: %s is not JSON", name)
		}
	}
	for name, path := range map[string]string{"issuer_path": h.IssuerPath, "mcp_path": h.MCPPath} {
		if path != "" && (path[0] != '/' || path[len(path)-1] == '/') {
			return fmt.Errorf("lab: %s %q must begin with a slash and not end with one", name, path)
		}
	}
	return nil
}
