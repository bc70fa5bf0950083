package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Arrangement is what an administrator gives to a client. Its names are those that
// [Arrangement.Write] documents.
type Arrangement struct {
	// Company is the company's identity provider with [WayEnterprise], else nil.
	Company *Server

	server *Server
	setup  Setup
	values map[string]string
	files  map[string][]byte // by name, without _file

	mu     sync.Mutex // guards issued
	issued []string   // the tokens for Secrets, newest last
}

// clientOfSetup is the client that Arrange registers, and the one at the company.
const (
	clientOfSetup    = "lab-client"
	clientOfCompany  = "lab-client-of-the-company"
	platformOfSetup  = "https://platform.lab.test"
	serviceOfSetup   = "https://service.lab.test"
	accountOfCompany = "ana@company.lab.test"
)

// platformLife is how long the tokens of a platform, and those of a caller, are good.
const platformLife = time.Hour

// Arrange registers the client of a setup, or makes the server trust who vouches for it. The caller
// closes the Arrangement.
func (s *Server) Arrange(setup Setup) (*Arrangement, error) {
	if err := setup.check(); err != nil {
		return nil, err
	}
	a := &Arrangement{server: s, setup: setup, files: make(map[string][]byte), values: map[string]string{
		"way": setup.Way, "issuer": s.Issuer(),
	}}
	if ca := s.CertificatePEM(); ca != nil {
		a.files["ca"] = ca
	}
	if setup.Way != WayWorkload || setup.Method != "" {
		if err := a.register(); err != nil {
			return nil, err
		}
	}
	switch setup.Way {
	case WayWorkload, WayTokenExchange:
		return a, a.Reissue()
	case WayEnterprise:
		return a, a.startCompany()
	}
	return a, nil
}

// Close ends the company's identity provider.
func (a *Arrangement) Close() {
	if a != nil && a.Company != nil {
		a.Company.Close()
	}
}

// register registers the client at the server.
func (a *Arrangement) register() error {
	c := ConfiguredClient{ID: clientOfSetup, Method: a.setup.Method}
	if c.Method == "" {
		c.Method = MethodNone
	}
	switch c.Method {
	case MethodBasic, MethodPost, MethodSecretJWT:
		c.Secret = rand.Text()
		a.files["client_secret"] = []byte(c.Secret + "\n")
	case MethodPrivateKeyJWT:
		key := newECKey()
		c.JWKS = jwksOf(key)
		a.files["key"] = privatePEM(key)
	case MethodTLS:
		pair, err := a.server.IssueCertificate(clientOfSetup)
		if err != nil {
			return err
		}
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if !ok {
			return errors.New("lab: the certificate's key is of another kind")
		}
		c.SubjectDN = "CN=" + clientOfSetup
		a.files["certificate"] = pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
		a.files["certificate_key"] = privatePEM(key)
	}
	a.values["client_id"], a.values["method"] = c.ID, c.Method
	a.server.RegisterClient(c)
	return nil
}

// Reissue makes the platform, or the caller, have another token, signed with a new key; the server
// rejects the one before. It does nothing with other ways. The file has the new token after the
// next [Arrangement.Write].
func (a *Arrangement) Reissue() error {
	issuer := platformOfSetup
	switch a.setup.Way {
	case WayWorkload:
	case WayTokenExchange:
		issuer = serviceOfSetup
	default:
		return nil
	}
	key, now := newECKey(), a.server.clock.now()
	token := signES256(key, map[string]any{
		"iss": issuer, "sub": "nightly-report", "aud": a.server.Issuer(), "jti": newID(""),
		"iat": now.Unix(), "exp": now.Add(platformLife).Unix(),
	})
	a.server.TrustIssuer(issuer, jwksOf(key))
	a.files["token"] = []byte(token + "\n")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued = append(a.issued, token)
	return nil
}

// Tokens returns the tokens that the platform or the caller has had. No MCP server may see one.
func (a *Arrangement) Tokens() []string {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.issued...)
}

// startCompany starts an identity provider that the server trusts.
func (a *Arrangement) startCompany() (err error) {
	a.Company, err = Start(Habits{
		Name: "company", OpenID: true, Grants: []string{GrantTokenExchange}, NoRegistration: true,
		Methods: []string{MethodBasic},
	})
	if err != nil {
		return err
	}
	c := ConfiguredClient{ID: clientOfCompany, Secret: rand.Text()}
	a.Company.RegisterClient(c)
	a.Company.SetAccount(accountOfCompany)
	a.Company.AllowExchange(a.server.Issuer(), clientOfSetup)
	a.server.TrustIssuer(a.Company.Issuer(), a.Company.JWKS())
	a.values["company_issuer"], a.values["company_client_id"] = a.Company.Issuer(), c.ID
	a.files["company_client_secret"] = []byte(c.Secret + "\n")
	return nil
}

// Write writes the files into a folder and returns what the client gets, by name:
//
//	way                     one of the Way constants
//	issuer                  of the authorization server
//	client_id, method       the client that is registered, and how it authenticates
//	client_secret_file      its secret
//	key_file                its private key for private_key_jwt: PKCS #8, PEM, ES256
//	certificate_file, certificate_key_file  its certificate, PEM
//	ca_file                 the certificate authority of the servers, PEM, if they speak HTTPS
//	token_file              the platform's token, or that of the caller
//	company_issuer, company_client_id, company_client_secret_file  the login at the company
func (a *Arrangement) Write(dir string) (map[string]string, error) {
	given := make(map[string]string)
	for name, value := range a.values {
		given[name] = value
	}
	for name, content := range a.files {
		file := filepath.Join(dir, name)
		// A client that reads the file meanwhile gets the old content or the new one.
		if err := os.WriteFile(file+".new", content, 0o600); err != nil {
			return nil, err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return nil, err
		}
		given[name+"_file"] = file
	}
	return given, nil
}

func newECKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // rand.Reader does not fail
	}
	return key
}

func privatePEM(key *ecdsa.PrivateKey) []byte {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // the key is ours
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// jwksOf is the JWK set of the public key of key.
func jwksOf(key *ecdsa.PrivateKey) string {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err) // the key is ours
	}
	encode := base64.RawURLEncoding.EncodeToString
	k := jwk{
		Kty: "EC", Crv: "P-256", Alg: AlgES256, Use: "sig",
		X: encode(point[1:33]), Y: encode(point[33:]),
	}
	k.Kid = k.thumbprint()
	raw, err := json.Marshal(map[string][]jwk{"keys": {k}})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// signES256 makes a JWT.
func signES256(key *ecdsa.PrivateKey, claims map[string]any) string {
	text := encodeJSON(jwtHeader{Alg: AlgES256, Typ: "JWT"}) + "." + encodeJSON(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err) // the key is ours
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
