package keyringstore_test

import (
	"context"
	"errors"
	"log"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/handstamp/handstamp/store/keyringstore"
)

// Logins are in files, sealed with a key that is in the system's keyring.
func Example() {
	files, err := filestore.Open(filestore.Options{Dir: "/home/me/.local/share/agent"})
	if err != nil {
		log.Fatal(err)
	}
	s, err := keyringstore.Open(context.Background(), files, keyringstore.Options{Item: "agent"})
	var trouble *keyringstore.Error
	if errors.As(err, &trouble) {
		log.Fatalf("%v: %s", trouble, trouble.Hint())
	}
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{Store: s}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}
