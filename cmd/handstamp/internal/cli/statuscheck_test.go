package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The page of a gateway in trouble, or of one that rejects the token, is not that of a host without an MCP
// server.
func TestNoServer(t *testing.T) {
	const page, xml = "text/html; charset=utf-8", "application/xml"
	for _, tc := range []struct {
		status int
		ctype  string
		want   bool
	}{
		{404, xml, true}, {410, "", true}, {200, page, true}, {200, "TEXT/HTML", true}, {405, page, true},
		{404, "application/json", false}, // with a message in it
		{200, xml, false}, {405, "", false},
		{502, page, false}, {503, page, false}, {429, page, false}, {401, page, false}, {403, page, false}, {408, page, false},
	} {
		t.Run(fmt.Sprint(tc.status, tc.ctype), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.ctype)
				w.WriteHeader(tc.status)
				if tc.ctype == "application/json" {
					fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no session"}}`)
				}
			}))
			defer server.Close()
			resp, isMCP, err := send(context.Background(), server.Client(), http.MethodPost, server.URL, "{}")
			if err != nil || noServer(resp, isMCP) != tc.want {
				t.Errorf("noServer %t, %v", !tc.want, err)
			}
		})
	}
}
