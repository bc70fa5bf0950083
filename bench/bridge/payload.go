package main

import (
	"encoding/json"
	"errors"
	"strings"
)

// A payload is a text of a size, as JSON and decoded.
type payload struct {
	raw  []byte // as it is on the wire, quotes included
	text string
}

// newPayload is a text like that of a file: lines, quotes, and a letter of two
// bytes, so that no contestant can ignore escapes. Every JSON encoder
// writes it in the same bytes.
func newPayload(size int) payload {
	const line = `the quick brown fox jumps over the lazy dog, and the café \"au lait\" is open\n`
	raw := `"` + strings.Repeat(line, size/len(line))
	raw += strings.Repeat("x", size-len(raw)-1) + `"`
	p := payload{raw: []byte(raw)}
	if err := json.Unmarshal(p.raw, &p.text); err != nil {
		panic(err) // it is written above
	}
	return p
}

// compare says whether a result is the text's echo, byte for byte.
func (p payload) compare(result []byte) error {
	var echoed struct {
		Content []struct{ Text string }
	}
	if err := json.Unmarshal(result, &echoed); err != nil {
		return err
	}
	if len(echoed.Content) != 1 || echoed.Content[0].Text != p.text {
		return errors.New("the text does not come back as it was")
	}
	return nil
}
