package cli

import (
	"net/http"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
)

// bound reports whether a token is worth nothing without a proof of possession (RFC 9449).
func bound(t *handstamp.Token) bool { return strings.EqualFold(t.Type, "DPoP") }

// boundError returns the error for the use of a token that is bound to a key as if it were not.
func boundError(t *target) error {
	e := protocolError("the token of %s is bound to a key (DPoP): "+
		"each request needs a proof of its own", t.name)
	command := strings.Replace(t.command("token"), "token ", "token --proof METHOD ", 1)
	return &advised{err: e, server: t.url, command: command}
}

// checkProof finds a wrong value of --proof.
func (k *tokenCommand) checkProof() error {
	method := strings.Trim(k.proof, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")
	switch {
	case k.proof != "" && method != "":
		return usage("--proof is the method of a request, such as POST, and not %q", k.proof)
	case k.proof != "" && !slices.Contains([]string{"", "header", "headers-json"}, k.format):
		return usage("--proof prints headers: --format is header or headers-json with it")
	}
	return nil
}

// printProof prints the headers of one request to a URL: the token and, if it is bound to a key,
// the proof of possession.
func (k *tokenCommand) printProof(url string, t *handstamp.Token) error {
	req, err := http.NewRequest(strings.ToUpper(k.proof), url, nil)
	if err != nil {
		return usage("--proof: %w", err)
	}
	if err := t.SetHeaders(req); err != nil {
		return err
	}
	headers := map[string]string{"Authorization": req.Header.Get("Authorization")}
	if proof := req.Header.Get("DPoP"); proof != "" {
		headers["DPoP"] = proof
	}
	if k.format == "headers-json" || k.format == "" && k.global.json {
		return k.out.json(headers, false)
	}
	text := "Authorization: " + headers["Authorization"] + "\n"
	if headers["DPoP"] != "" {
		text += "DPoP: " + headers["DPoP"] + "\n"
	}
	return k.out.data([]byte(text))
}
