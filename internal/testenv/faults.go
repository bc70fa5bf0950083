package testenv

import (
	"github.com/handstamp/handstamp/lab"
)

// Trouble is what says nothing about a login.
var Trouble = map[string]lab.Fault{
	"503":               {Kind: lab.FaultStatus, Status: 503},
	"500":               {Kind: lab.FaultStatus, Status: 500, ContentType: "application/json", Body: `{"error":"server_error"}`},
	"429 Retry-After":   {Kind: lab.FaultStatus, Status: 429, RetryAfter: "20"},
	"HTML page":         {Kind: lab.FaultHTML},
	"HTML 403":          {Kind: lab.FaultHTML, Status: 403},
	"JSON, no reason":   {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"request_id":"teapot"}`},
	"cut connection":    {Kind: lab.FaultCutBefore},
	"redirect":          {Kind: lab.FaultRedirect, Location: "http://127.0.0.1:1/"},
	"invalid_grant 503": {Kind: lab.FaultStatus, Status: 503, Body: "invalid_grant"},
}
