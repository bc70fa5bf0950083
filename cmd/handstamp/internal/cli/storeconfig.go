package cli

import (
	"context"
	"fmt"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// storeMembers are the members of the configuration that say where credentials are.
type storeMembers struct {
	Store               string `json:"store,omitempty"`
	StoreKeyFile        string `json:"store_key_file,omitempty"`
	StorePassphraseFile string `json:"store_passphrase_file,omitempty"`
}

// noteStore writes the members into the configuration, which otherwise stays as it is, byte for
// byte. Empty ones are removed.
func (a *app) noteStore(members storeMembers) error {
	return a.editConfig(context.Background(), func(text []byte) ([]byte, error) {
		before, err := splice.Members(splice.JSON, text, nil)
		for _, m := range []struct{ name, value string }{
			{"store", members.Store},
			{"store_key_file", members.StoreKeyFile},
			{"store_passphrase_file", members.StorePassphraseFile},
		} {
			old, there := before[m.name]
			switch {
			case err != nil || there && old == m.value:
			case m.value != "":
				text, err = splice.Put(splice.JSON, text, nil, m.name, m.value)
			case there:
				text, err = splice.Remove(splice.JSON, text, nil, m.name, 0)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: set its member \"store\" to %q by hand", err, members.Store)
		}
		return text, nil
	})
}
