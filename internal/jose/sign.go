package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// errSignature is the error of a signer that returns what is not a signature of its key.
var errSignature = errors.New("the signer returned an invalid ECDSA signature")

// sign signs input with an algorithm of RFC 7518, section 3, that fits the key.
func sign(signer crypto.Signer, algorithm string, input []byte) ([]byte, error) {
	public := signer.Public()
	if !slices.Contains(Algorithms(public), algorithm) {
		return nil, fmt.Errorf("the key cannot sign with %s", algorithm)
	}
	if _, ok := public.(ed25519.PublicKey); ok {
		return signer.Sign(rand.Reader, input, crypto.Hash(0))
	}
	hash := hashOf(algorithm)
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	var options crypto.SignerOpts = hash
	if algorithm[0] == 'P' {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := signer.Sign(rand.Reader, digest, options)
	if err != nil {
		return nil, err
	}
	if key, ok := public.(*ecdsa.PublicKey); ok {
		return rawECDSA(signature, (key.Params().BitSize+7)/8)
	}
	return signature, nil
}

// hashOf returns the hash function that the digits of an algorithm name.
func hashOf(algorithm string) crypto.Hash {
	switch algorithm[len(algorithm)-3:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	return crypto.SHA256
}

// rawECDSA turns an ASN.1 signature, SEQUENCE of INTEGER r and INTEGER s, into r and s of size
// bytes each (RFC 7518, section 3.4). It allocates less than encoding/asn1.
func rawECDSA(der []byte, size int) ([]byte, error) {
	body, rest, ok := derValue(der, 0x30)
	if !ok || len(rest) > 0 {
		return nil, errSignature
	}
	raw := make([]byte, 2*size)
	for _, half := range [][]byte{raw[:size], raw[size:]} {
		var integer []byte
		if integer, body, ok = derValue(body, 0x02); !ok {
			return nil, errSignature
		}
		for len(integer) > 0 && integer[0] == 0 {
			integer = integer[1:]
		}
		if len(integer) > size {
			return nil, errSignature
		}
		copy(half[size-len(integer):], integer)
	}
	if len(body) > 0 {
		return nil, errSignature
	}
	return raw, nil
}

// derValue splits the first DER value, which must have the tag, from the rest. Lengths of more
// than 255 bytes are in no ECDSA signature.
func derValue(der []byte, tag byte) (value, rest []byte, ok bool) {
	if len(der) < 2 || der[0] != tag {
		return nil, nil, false
	}
	length, der := int(der[1]), der[2:]
	if length == 0x81 && len(der) > 0 {
		length, der = int(der[0]), der[1:]
	} else if length > 0x7f {
		return nil, nil, false
	}
	if len(der) < length {
		return nil, nil, false
	}
	return der[:length], der[length:], true
}

// newID returns the value of a jti: 128 random bits.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// compact is the JWS compact serialization (RFC 7515, section 7.1) of an encoded header and a
// payload.
func compact(
	header string, payload []byte, sign func(input []byte) ([]byte, error),
) (string, error) {
	encoding := base64.RawURLEncoding
	size := len(header) + 1 + encoding.EncodedLen(len(payload))
	token := make([]byte, 0, size+1+encoding.EncodedLen(66*2))
	token = append(append(token, header...), '.')
	token = encoding.AppendEncode(token, payload)
	signature, err := sign(token)
	if err != nil {
		return "", err
	}
	return string(encoding.AppendEncode(append(token, '.'), signature)), nil
}
