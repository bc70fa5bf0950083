package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	return a.editConfig(func(text []byte) ([]byte, error) {
		text, marked := bytes.CutPrefix(text, byteOrderMark)
		if len(text) == 0 {
			text = []byte("{}\n")
		}
		for _, m := range []struct{ name, value string }{
			{"store_passphrase_file", members.StorePassphraseFile},
			{"store_key_file", members.StoreKeyFile},
			{"store", members.Store},
		} {
			text = withMember(text, m.name, m.value)
		}
		conf, err := parseConfig(text)
		if err != nil || conf.storeMembers != members {
			return nil, fmt.Errorf("set its member \"store\" to %q by hand", members.Store)
		}
		if marked {
			text = join(byteOrderMark, text)
		}
		return text, nil
	})
}

// withMember returns a JSON object in which a member has a value, or is missing if that is empty.
// The rest of the text stays as it is.
func withMember(text []byte, name, value string) []byte {
	quoted, _ := json.Marshal(value) // which always works
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return text
	}
	first := int(d.InputOffset())
	members := 0
	for end := first; d.More(); members++ {
		begin := end
		key, err := d.Token()
		if err != nil {
			return text
		}
		var old json.RawMessage
		if d.Decode(&old) != nil {
			return text
		}
		end = int(d.InputOffset())
		switch {
		case key != name:
		case value != "":
			return join(text[:end-len(old)], quoted, text[end:])
		case members > 0: // with the comma before it
			return join(text[:begin], text[end:])
		default: // with the comma after it
			rest := bytes.TrimLeft(text[end:], " \t\r\n")
			rest, _ = bytes.CutPrefix(rest, []byte(","))
			return join(text[:begin], rest)
		}
	}
	if value == "" {
		return text
	}
	member := fmt.Appendf(nil, "\n  %q: %s", name, quoted)
	if members > 0 {
		return join(text[:first], member, []byte(","), text[first:])
	}
	return join(text[:first], member, []byte("\n"), bytes.TrimLeft(text[first:], " \t\r\n"))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
