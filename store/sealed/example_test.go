package sealed_test

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

func Example() {
	raw := make([]byte, sealed.KeySize) // from a keyring, a KMS or a file
	rand.Read(raw)
	key, err := sealed.NewKey(raw)
	if err != nil {
		panic(err)
	}
	s := sealed.New(new(store.Memory), key)
	k, _ := store.NewKey("https://mcp.example.com", "")
	_, err = s.Put(context.Background(), k, []byte("a token"), "")
	value, _, _ := s.Get(context.Background(), k)
	fmt.Println(string(value), err)
	// Output: a token <nil>
}
