package clientkey_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/handstamp/handstamp/clientkey"
)

// A key in a file, or in an environment variable.
func ExampleParse() {
	file := []byte(`{"kty":"EC","crv":"P-256","kid":"2026-07",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`)
	key, err := clientkey.Parse(file, clientkey.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key)
	fmt.Printf("%s\n", key.JWK())
	// Output:
	// ES256 key 2026-07
	// {"use":"sig","kty":"EC","kid":"2026-07","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
}

// A key that a KMS or an HSM holds: anything that implements crypto.Signer.
func ExampleNew() {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // in place of a KMS
	if err != nil {
		log.Fatal(err)
	}
	key, err := clientkey.New(signer, clientkey.Options{ID: "projects/p/keys/k/versions/1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key)
	// Output: ES256 key projects/p/keys/k/versions/1
}

// A new key: the private part for a file that only its user can read, the public part for the
// server.
func ExampleGenerate() {
	key, err := clientkey.Generate("ES256")
	if err != nil {
		log.Fatal(err)
	}
	private, err := key.RevealPrivatePEM()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.27s\n%.9s\n", private, key.JWKS())
	// Output:
	// -----BEGIN PRIVATE KEY-----
	// {"keys":[
}
