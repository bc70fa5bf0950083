package clientkey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/gob"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"log/slog"
	"testing"

	"github.com/handstamp/handstamp/clientkey"
)

var encoders = map[string]func(v any) ([]byte, error){
	"json": json.Marshal,
	"xml":  xml.Marshal,
	"gob": func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	},
}

// logged returns what the handlers of slog write of v.
func logged(v any) []string {
	var b bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("m", "key", v, "group", slog.GroupValue(slog.Any("key", v)))
	}
	return []string{b.String()}
}

// secretOf returns the private number of an EC key.
func secretOf(t *testing.T, key *clientkey.Key) []byte {
	t.Helper()
	file, err := key.RevealPrivatePEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	d, err := parsed.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return d
}
