package clientkey

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/jose"
)

// maxBytes bounds what Parse reads.
const maxBytes = 1 << 20

var (
	errPublic = errors.New("this is a public key: the private key is needed, " +
		"with which the client signs; the server needs only the public one")
	errEncrypted = errors.New("the private key is encrypted: decrypt it first, " +
		"for example with: openssl pkey -in encrypted.pem -out key.pem")
	errOpenSSH = errors.New("this is a private key in OpenSSH's format: convert a copy, " +
		"for example with: ssh-keygen -p -m PKCS8 -f key")
	errSeveral = errors.New("there are several private keys: leave one of them")
	errNone    = errors.New("there is no private key in it")
	errUnknown = errors.New("this is neither PEM nor a JWK")
)

// Parse returns the private key that data holds: PEM (PKCS #8, PKCS #1 or SEC 1, beside which
// certificates may stand), a JWK, or a JWK set with one private key, or several of which
// options.ID names one. Key ID and algorithm of a JWK are kept. In PEM from an environment
// variable, line ends may be written as \n. No error shows any part of the key.
func Parse(data []byte, options Options) (*Key, error) {
	k, err := parse(data, options)
	if err != nil {
		return nil, fmt.Errorf("client key: %w", err)
	}
	return k, nil
}

func parse(data []byte, options Options) (*Key, error) {
	if len(data) > maxBytes {
		return nil, errors.New("it is too large for a key")
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	switch {
	case bytes.HasPrefix(data, []byte("{")):
		return parseJSON(data, options)
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return parsePEM(data, options)
	case len(data) == 0:
		return nil, errors.New("it is empty")
	}
	return nil, errUnknown
}

func parseJSON(data []byte, options Options) (*Key, error) {
	keys, err := jose.ParseKeys(data)
	if errors.Is(err, jose.ErrSymmetric) {
		return nil, fmt.Errorf("%w: with one, use client_secret_jwt", err)
	}
	if err != nil {
		return nil, err
	}
	key, err := choose(keys, options.ID)
	if err != nil {
		return nil, err
	}
	if key.Use != "" && key.Use != "sig" {
		return nil, fmt.Errorf("the JWK is not for signing: its use is %q", key.Use)
	}
	if options.ID == "" {
		options.ID = key.ID
	}
	if options.Algorithm == "" {
		options.Algorithm = key.Algorithm
	}
	if options.Certificate == nil && len(key.Certificates) > 0 {
		options.Certificate = key.Certificates[0]
	}
	return newKey(key.Signer, options)
}

// choose returns the private key of a JWK or a JWK set: the one with the ID, if there are several.
func choose(keys []jose.Key, id string) (jose.Key, error) {
	var private []jose.Key
	for _, key := range keys {
		if key.Signer != nil {
			private = append(private, key)
		}
	}
	switch {
	case len(private) == 1:
		return private[0], nil
	case len(private) == 0 && len(keys) > 0:
		return jose.Key{}, errPublic
	case len(private) == 0:
		return jose.Key{}, errNone
	}
	var ids []string
	for _, key := range private {
		if id != "" && key.ID == id {
			return key, nil
		}
		ids = append(ids, fmt.Sprintf("%q", key.ID))
	}
	return jose.Key{}, fmt.Errorf("there are several private keys: choose one by its ID, %s",
		strings.Join(ids, " or "))
}

func parsePEM(data []byte, options Options) (*Key, error) {
	if !bytes.ContainsRune(data, '\n') {
		data = bytes.ReplaceAll(data, []byte(`\n`), []byte("\n"))
	}
	var signer crypto.Signer
	var certificates []*x509.Certificate
	var public bool
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
				certificates = append(certificates, certificate)
			}
		case strings.HasSuffix(block.Type, "PUBLIC KEY"):
			public = true
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if signer != nil {
				return nil, errSeveral
			}
			var err error
			if signer, err = parseBlock(block); err != nil {
				return nil, err
			}
		}
	}
	if signer == nil {
		return nil, noPrivateKey(public, len(certificates) > 0)
	}
	own := slices.IndexFunc(certificates, func(c *x509.Certificate) bool {
		return certifies(c, signer.Public())
	})
	if options.Certificate == nil && own >= 0 {
		options.Certificate = certificates[own]
	}
	return newKey(signer, options)
}

func noPrivateKey(public, certificate bool) error {
	switch {
	case public:
		return errPublic
	case certificate:
		return errors.New("this is a certificate: the private key is needed")
	}
	return errNone
}

func parseBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY",
		strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errEncrypted
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errOpenSSH
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("the PEM block %q cannot be read: %w", block.Type, err)
	}
	if signer, ok := key.(crypto.Signer); ok {
		return signer, nil
	}
	return nil, jose.CheckPublic(key)
}
