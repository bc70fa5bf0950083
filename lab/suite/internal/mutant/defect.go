// Package mutant is a small MCP client that is right, and can be made wrong in
// one way at a time: a defect that the suite does not catch here, it would not catch in
// any client.
//
// It shares no code with any other client. It is right about what the suite
// tests, one process after the other, with one lock for everything; it is no
// example of how to write one.
package mutant

// Defect is a mistake that real clients have made.
type Defect string

// The defects. None is the client as it should be.
const (
	None                Defect = ""
	FirstListed         Defect = "first listed method"
	MethodGuessed       Defect = "every method tried"
	MethodNotStored     Defect = "method not stored"
	EndedSecretUsed     Defect = "secret used past its end"
	SecretDropped       Defect = "secret dropped"
	BasicUnencoded      Defect = "Basic without form-encoding"
	BothMethods         Defect = "both methods at once"
	RetriesAll          Defect = "retry on any error"
	OldRefreshDropped   Defect = "old refresh token dropped"
	RefreshUnlocked     Defect = "refresh outside the lock"
	DeletesUncompared   Defect = "delete without compare"
	NoResourceRefresh   Defect = "resource missing on refresh"
	SlashAdded          Defect = "slash added"
	TroubleMeansLogin   Defect = "5xx leads to a login"
	IssIgnored          Defect = "iss ignored"
	StateUnchecked      Defect = "state not checked"
	PortChanged         Defect = "port changed"
	PortInsisted        Defect = "port insisted on"
	NoPreflight         Defect = "no look before the browser"
	OpensAnything       Defect = "opens any URL"
	SecretsToNewIssuer  Defect = "client sent to another issuer"
	OneGrantRegistered  Defect = "refresh grant not registered"
	OfflineNotRequested Defect = "offline_access not requested"
	LoginUnlocked       Defect = "every process logs in"
	UnionForgotten      Defect = "step-up without what was there"
	BasicPreferred      Defect = "basic registered before post, without the id in the form"
	FormIDForgotten     Defect = "id in the form not stored"
	OneWordForDead      Defect = "a dead grant known by its code only"
	EmptyMeansClient    Defect = "an empty 401 ends the client"
	OneWordForGone      Defect = "a gone client known by its code only"
	ScopeNever          Defect = "refresh never with a scope"
	ScopeAlways         Defect = "refresh with a scope always"
	FreshNotRepeated    Defect = "fresh token not repeated"
	ChallengeTrusted    Defect = "challenge followed anywhere"
	FirstServerOnly     Defect = "first authorization server only"
	FirstDocumentOnly   Defect = "first document only"
	RedirectsIgnored    Defect = "no redirect followed"
	PostBecomesGet      Defect = "POST redirected as GET"
	ListMeansProof      Defect = "DPoP because the authorization server lists it"
	KeyNotStored        Defect = "key not stored"
	SentAsBearer        Defect = "bound token sent as Bearer"
	ProofIDRepeated     Defect = "one jti for every proof"
	NonceIgnored        Defect = "nonce ignored"
	BoundUnread         Defect = "dpop_bound_access_tokens not read"
	NotPushed           Defect = "authorization request not pushed"
	ACRIgnored          Defect = "acr_values ignored"
	ACRForgotten        Defect = "acr_values not stored"
	TokenNotStored      Defect = "a token for each process"
	BrowserAnyway       Defect = "the browser for a client without a user"
	AssertionRepeated   Defect = "one jti for every assertion"
	AudienceOfEndpoint  Defect = "the token endpoint as audience"
	SourceReadOnce      Defect = "the platform's token read once"
	CallerForwarded     Defect = "the caller's token sent to the MCP server"
	CompanyForgotten    Defect = "company login not stored"
	PolledTooFast       Defect = "polls without the interval"
	KeyAtLoginOnly      Defect = "no key at the refresh"
	AliasesIgnored      Defect = "mtls_endpoint_aliases ignored"
)
