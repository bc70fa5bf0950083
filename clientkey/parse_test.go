package clientkey_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/clientkey"
)

func now() time.Time { return time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC) }

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func pkcs8(t testing.TB, key any) string {
	t.Helper()
	return block("PRIVATE KEY", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key)))
}

func jwk(t testing.TB, signer crypto.Signer, options clientkey.Options) string {
	t.Helper()
	key := must[*clientkey.Key](t)(clientkey.New(signer, options))
	return string(must[[]byte](t)(key.RevealPrivateJWK()))
}

func TestKeyFilesAreRead(t *testing.T) {
	ec, rsa := ecKey(t, elliptic.P256()), rsaKey()
	sec1 := block("EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(ec)))
	certificate := certify(t, ec)
	crt := block("CERTIFICATE", certificate.Raw)
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	for name, c := range map[string]struct {
		data   string
		public crypto.PublicKey
	}{
		"PKCS #8, EC":                 {pkcs8(t, ec), ec.Public()},
		"PKCS #8, RSA":                {pkcs8(t, rsa), rsa.Public()},
		"PKCS #1":                     {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa)), rsa.Public()},
		"SEC 1":                       {sec1, ec.Public()},
		"SEC 1 with parameters":       {parameters + sec1, ec.Public()},
		"certificate first":           {crt + pkcs8(t, ec), ec.Public()},
		"other certificate":           {block("CERTIFICATE", certify(t, rsa).Raw) + pkcs8(t, ec), ec.Public()},
		"text around":                 {"Key of the client\n" + pkcs8(t, ec) + "\nend\n", ec.Public()},
		"Windows":                     {"\ufeff" + strings.ReplaceAll(pkcs8(t, ec), "\n", "\r\n"), ec.Public()},
		"one line, as in .env":        {strings.ReplaceAll(pkcs8(t, ec), "\n", `\n`), ec.Public()},
		"JWK":                         {jwk(t, ec, clientkey.Options{}), ec.Public()},
		"JWK with spaces":             {"\n  " + jwk(t, rsa, clientkey.Options{}) + "\n", rsa.Public()},
		"JWK set":                     {`{"keys":[` + jwk(t, ec, clientkey.Options{}) + `]}`, ec.Public()},
		"JWK set with a public key":   {`{"keys":[` + string(generate(t, "RS256").JWK()) + `,` + jwk(t, ec, clientkey.Options{}) + `]}`, ec.Public()},
		"JWK set with an unknown key": {`{"keys":[{"kty":"XX"},` + jwk(t, ec, clientkey.Options{}) + `]}`, ec.Public()},
	} {
		key, err := clientkey.Parse([]byte(c.data), clientkey.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		authenticate(t, key, c.public)
		if has := key.Certificate() != nil; has != (name == "certificate first") {
			t.Errorf("%s: certificate %v", name, key.Certificate())
		}
	}
}

func TestWhatIsNoPrivateKeyIsExplained(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	public := must[[]byte](t)(x509.MarshalPKIXPublicKey(ec.Public()))
	legacy := &pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x"), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}}
	x25519 := must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))
	p224 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	one, two := jwk(t, ec, clientkey.Options{ID: "one"}), jwk(t, rsaKey(), clientkey.Options{ID: "two"})
	for name, c := range map[string]struct{ data, says string }{
		"empty":                  {" \n", "empty"},
		"text":                   {"c4n4ry", "neither PEM nor a JWK"},
		"DER":                    {string(public), "neither PEM nor a JWK"},
		"encrypted":              {block("ENCRYPTED PRIVATE KEY", []byte("x")), "encrypted: decrypt it first, for example with: openssl pkey"},
		"encrypted, old":         {string(pem.EncodeToMemory(legacy)), "openssl pkey"},
		"OpenSSH":                {block("OPENSSH PRIVATE KEY", []byte("x")), "ssh-keygen -p -m PKCS8"},
		"public PEM":             {block("PUBLIC KEY", public), "public key: the private key is needed"},
		"public PEM, old":        {block("RSA PUBLIC KEY", public), "public key: the private key is needed"},
		"public JWK":             {string(generate(t, "ES256").JWK()), "public key: the private key is needed"},
		"public JWK set":         {string(generate(t, "ES256").JWKS()), "public key: the private key is needed"},
		"certificate":            {block("CERTIFICATE", certify(t, ec).Raw), "certificate: the private key is needed"},
		"other PEM":              {block("DH PARAMETERS", []byte("x")), "no private key"},
		"no PEM":                 {"-----BEGIN PRIVATE KEY-----", "no private key"},
		"damaged PEM":            {block("PRIVATE KEY", []byte("c4n4ry")), `PEM block "PRIVATE KEY" cannot be read`},
		"two private keys":       {pkcs8(t, ec) + pkcs8(t, rsaKey()), "several private keys"},
		"two private JWKs":       {`{"keys":[` + one + `,` + two + `]}`, `choose one by its ID, "one" or "two"`},
		"empty set":              {`{"keys":[]}`, "no private key"},
		"symmetric":              {`{"kty":"oct","k":"c4n4ry"}`, "client_secret_jwt"},
		"JWK for encryption":     {strings.Replace(one, `"use":"sig"`, `"use":"enc"`, 1), `its use is "enc"`},
		"JWK of another curve":   {strings.Replace(one, "P-256", "P-384", 1), "not a valid JWK"},
		"algorithm of other key": {strings.Replace(one, `"alg":"ES256"`, `"alg":"RS256"`, 1), `a P-256 key cannot sign with "RS256": use ES256`},
		"damaged JWK":            {one[:40], "not a JSON object"},
		"X25519":                 {pkcs8(t, x25519), "cannot sign"},
		"P-224":                  {pkcs8(t, p224), "P-224"},
		"large":                  {"{" + strings.Repeat(" ", 1<<20), "too large"},
	} {
		key, err := clientkey.Parse([]byte(c.data), clientkey.Options{})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: %v, %v, want %q", name, key, err, c.says)
		}
		if err != nil && strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: not one line: %v", name, err)
		}
	}
}

func TestNamesOfAJWKAreKept(t *testing.T) {
	file := jwk(t, rsaKey(), clientkey.Options{ID: "2026-07", Algorithm: "PS384"})
	key := must[*clientkey.Key](t)(clientkey.Parse([]byte(file), clientkey.Options{}))
	if key.ID() != "2026-07" || key.Algorithm() != "PS384" {
		t.Errorf("%v", key)
	}
	key = must[*clientkey.Key](t)(clientkey.Parse([]byte(file), clientkey.Options{ID: "mine", Algorithm: "RS256"}))
	if key.ID() != "mine" || key.Algorithm() != "RS256" {
		t.Errorf("options do not go first: %v", key)
	}
	other := jwk(t, ecKey(t, elliptic.P256()), clientkey.Options{ID: "other"})
	key = must[*clientkey.Key](t)(clientkey.Parse([]byte(`{"keys":[`+other+`,`+file+`]}`), clientkey.Options{ID: "2026-07"}))
	if key.ID() != "2026-07" || key.Algorithm() != "PS384" {
		t.Errorf("of two keys, not the one with the ID: %v", key)
	}
}

func TestWrittenKeyIsReadAgain(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES384", "ES512", "EdDSA", "PS256"} {
		key := generate(t, algorithm)
		fromJWK := must[*clientkey.Key](t)(clientkey.Parse(must[[]byte](t)(key.RevealPrivateJWK()), clientkey.Options{}))
		if !bytes.Equal(fromJWK.JWK(), key.JWK()) {
			t.Errorf("%s, JWK: %s, want %s", algorithm, fromJWK.JWK(), key.JWK())
		}
		fromPEM := must[*clientkey.Key](t)(clientkey.Parse(must[[]byte](t)(key.RevealPrivatePEM()), clientkey.Options{Algorithm: algorithm}))
		if !bytes.Equal(fromPEM.JWK(), key.JWK()) {
			t.Errorf("%s, PEM: %s, want %s", algorithm, fromPEM.JWK(), key.JWK())
		}
	}
}

// No way of printing or encoding a key shows a part of the private one.
func TestKeyIsNotShown(t *testing.T) {
	key := generate(t, "ES256")
	d := secretOf(t, key)
	type holder struct {
		Key *clientkey.Key
		V   clientkey.Key
		key *clientkey.Key
		v   clientkey.Key
	}
	h := holder{key, *key, key, *key}
	var shown []string
	for verb := byte('A'); verb <= 'z'; verb++ {
		if verb == 'p' || verb == 'w' {
			continue // fmt calls no method for these
		}
		for _, flags := range []string{"", "+", "#", " "} {
			for _, v := range []any{key, *key, h, &h, []any{key}} {
				shown = append(shown, fmt.Sprintf("%"+flags+string(verb), v))
			}
		}
	}
	for name, encode := range encoders {
		for _, v := range []any{key, *key, map[string]any{"k": key}} {
			data, err := encode(v)
			if err == nil {
				t.Errorf("%s of a key: %s", name, data)
			}
			shown = append(shown, string(data), fmt.Sprint(err))
		}
	}
	if _, err := encoders["json"](key); !errors.Is(err, clientkey.ErrEncoded) {
		t.Errorf("the error of encoding/json: %v", err)
	}
	shown = append(shown, logged(key)...)
	for _, s := range shown {
		for _, form := range []string{base64.RawURLEncoding.EncodeToString(d), fmt.Sprintf("%x", d), fmt.Sprintf("%X", d), fmt.Sprint(d), string(d)} {
			if strings.Contains(s, form) {
				t.Errorf("%q shows the private key", s)
			}
		}
	}
	if want := "ES256 key " + key.ID(); key.String() != want || fmt.Sprintf("%v", *key) != want || !strings.Contains(strings.Join(logged(key), ""), want) {
		t.Errorf("%v, want %s", key, want)
	}
	if got := fmt.Sprintf("%#v %q %v", key, key, (*clientkey.Key)(nil)); got != fmt.Sprintf("clientkey.Key(%q) %q <nil>", key.String(), key.String()) {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(clientkey.Key{}); got != "" {
		t.Errorf("the zero key is %q", got)
	}
}

// What is read can be written, and reads the same again.
func FuzzParse(f *testing.F) {
	ec := ecKey(f, elliptic.P256())
	f.Add([]byte(pkcs8(f, ec)), "", "")
	f.Add([]byte(jwk(f, ec, clientkey.Options{})), "id", "ES256")
	f.Add([]byte(`{"keys":[`+jwk(f, ec, clientkey.Options{ID: "a"})+`]}`), "a", "")
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"), "", "")
	f.Add([]byte(`-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n-----END EC PRIVATE KEY-----`), "", "")
	f.Fuzz(func(t *testing.T, data []byte, id, algorithm string) {
		key, err := clientkey.Parse(data, clientkey.Options{ID: id, Algorithm: algorithm})
		if err != nil {
			return
		}
		file, err := key.RevealPrivateJWK()
		if err != nil {
			t.Fatal(err)
		}
		again, err := clientkey.Parse(file, clientkey.Options{})
		if err != nil || !bytes.Equal(again.JWK(), key.JWK()) {
			t.Errorf("%v reads again as %v, %v", key, again, err)
		}
	})
}
