package cli

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/lab"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdKey writes a private key to a file: key ALGORITHM FILE.
func cmdKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: key ALGORITHM FILE")
	}
	key, err := clientkey.Generate(args[0])
	ts.Check(err)
	pem, err := key.RevealPrivatePEM()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), pem, 0o600))
}

// decideDevice decides on the device code of a login that runs in the background.
func decideDevice(ts *testscript.TestScript, server *lab.Server, approve bool) {
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, code := range server.DeviceCodes() {
			if approve {
				ts.Check(server.ApproveDevice(code))
			} else {
				ts.Check(server.DenyDevice(code))
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("no device code waits for a user")
		}
	}
}

// writeWorkloadToken writes a token of a platform that the server trusts from now on.
func writeWorkloadToken(ts *testscript.TestScript, server *lab.Server, file string) {
	const platform = "https://platform.test"
	key, err := clientkey.Generate("ES256")
	ts.Check(err)
	server.TrustIssuer(platform, string(key.JWKS()))
	claims := jose.AssertionClaims{ClientID: platform, Audience: server.Issuer()}
	token, err := jose.Assertion(key, key.Algorithm(), claims, time.Now())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(token.Reveal()+"\n"), 0o600))
}

// startCompany starts an identity provider that the server trusts.
func startCompany(ts *testscript.TestScript, w *scriptWorld) {
	company, err := lab.Start(lab.Habits{OpenID: true, Grants: []string{lab.GrantTokenExchange, lab.GrantDeviceCode},
		Device:         lab.Device{Interval: 1},
		NoRegistration: true, OmitPKCE: true, Methods: []string{lab.MethodBasic}})
	ts.Check(err)
	w.company = company
	company.SetAccount("ana@company.test")
	company.RegisterClient(lab.ConfiguredClient{ID: "at-company", Secret: "correct-horse"})
	w.server.RegisterClient(lab.ConfiguredClient{ID: "at-server", Secret: "battery-staple"})
	w.server.TrustIssuer(company.Issuer(), company.JWKS())
	company.AllowExchange(w.server.Issuer(), "at-server")
	ts.Setenv("COMPANY", company.Issuer())
}

// writeCertificate registers a client that authenticates with a certificate of the server's own
// authority, and writes all three files.
func writeCertificate(ts *testscript.TestScript, server *lab.Server, name string) {
	pair, err := server.IssueCertificate(name)
	ts.Check(err)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	ts.Check(err)
	for file, text := range map[string][]byte{
		name + ".pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		name + ".key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"ca.pem":      server.CertificatePEM(),
	} {
		ts.Check(os.WriteFile(ts.MkAbs(file), text, 0o600))
	}
	server.RegisterClient(lab.ConfiguredClient{ID: name, Method: lab.MethodTLS, SubjectDN: "CN=" + name})
}
