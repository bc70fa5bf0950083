package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"testing"
)

// Signatures that an RFC publishes and that do not depend on chance are made again.
func TestSignaturesAreThoseOfTheRFCs(t *testing.T) {
	for _, c := range []struct{ section, jwk, algorithm, header, payload, signature string }{
		{"RFC 7515, appendix A.2", rfc7515RSA, "RS256", "eyJhbGciOiJSUzI1NiJ9", rfc7515Payload,
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
		{"RFC 8037, appendix A.4", rfc8037Ed, "EdDSA", "eyJhbGciOiJFZERTQSJ9", "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
			"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
	} {
		key := parse(t, c.jwk)
		token, err := compact(c.header, decode(t, c.payload), func(input []byte) ([]byte, error) {
			return sign(key.Signer, c.algorithm, input)
		})
		if want := c.header + "." + c.payload + "." + c.signature; err != nil || token != want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.section, err, token, want)
		}
	}
}

func TestSignaturesVerify(t *testing.T) {
	for _, algorithm := range []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
	} {
		key := generate(t, algorithm)
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + algorithm + `"}`))
		for range 20 { // r or s is short in one of 128
			token, err := compact(header, []byte(`{"a":1}`), func(input []byte) ([]byte, error) {
				return sign(key, algorithm, input)
			})
			if err != nil {
				t.Fatal(algorithm, err)
			}
			if _, claims := verified(t, token, algorithm, key.Public()); claims["a"] != 1.0 {
				t.Errorf("%s: claims %v", algorithm, claims)
			}
			if key, ok := key.(*rsa.PrivateKey); ok && key.Size() != 256 {
				t.Errorf("%s: %d bytes", algorithm, key.Size())
			}
		}
	}
}

func TestWrongAlgorithmIsNotSigned(t *testing.T) {
	for made, asked := range map[string][]string{
		"ES256": {"ES384", "RS256", "HS256", "none", ""},
		"RS256": {"ES256", "HS256", "RS1"},
		"EdDSA": {"ES256", "EdDSA "},
	} {
		for _, algorithm := range asked {
			if signature, err := sign(generate(t, made), algorithm, []byte("x")); err == nil {
				t.Errorf("a key for %s signs with %q: %x", made, algorithm, signature)
			}
		}
	}
}

// oddSigner is an HSM with trouble.
type oddSigner struct {
	crypto.Signer
	signature []byte
	err       error
}

func (s oddSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return s.signature, s.err
}

func TestSignerInTrouble(t *testing.T) {
	key := generate(t, "ES256")
	gone := errors.New("the HSM is unplugged")
	if _, err := sign(oddSigner{key, nil, gone}, "ES256", []byte("x")); !errors.Is(err, gone) {
		t.Errorf("the signer's error is lost: %v", err)
	}
	der, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for name, signature := range map[string][]byte{
		"none": nil, "raw": make([]byte, 64), "cut": der[:len(der)-1], "more": append(bytes.Clone(der), 0),
		"one integer": {0x30, 3, 2, 1, 1}, "long": {0x30, 0x82, 0, 1, 2},
		"larger than the curve": append([]byte{0x30, 38, 2, 33, 1}, append(make([]byte, 32), 2, 1, 1)...),
	} {
		if raw, err := sign(oddSigner{key, signature, nil}, "ES256", []byte("x")); !errors.Is(err, errSignature) {
			t.Errorf("%s: %x, %v", name, raw, err)
		}
	}
}

// What encoding/asn1 takes for a signature, and is one in size, comes out as it has it.
func FuzzRawECDSA(f *testing.F) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		der, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Add([]byte{0x30, 0x81, 6, 2, 1, 1, 2, 1, 0xff})
	f.Fuzz(func(t *testing.T, der []byte) {
		const size = 66
		raw, err := rawECDSA(der, size)
		var want struct{ R, S *big.Int }
		rest, wantErr := asn1.Unmarshal(der, &want)
		if err != nil || wantErr != nil || len(rest) > 0 || want.R.Sign() < 0 || want.S.Sign() < 0 {
			return
		}
		if want.R.Cmp(new(big.Int).SetBytes(raw[:size])) != 0 || want.S.Cmp(new(big.Int).SetBytes(raw[size:])) != 0 {
			t.Errorf("%x is %x", der, raw)
		}
	})
}
