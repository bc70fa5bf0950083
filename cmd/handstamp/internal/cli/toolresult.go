package cli

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// toolResult is the result of a tool as far as it can be read. Content of a wrong type is
// shown as what it is, and no reason to lose the rest.
type toolResult struct {
	content    []toolContent
	structured json.RawMessage
	isError    bool
}

// toolContent is one part of a tool's result.
type toolContent struct {
	Type, Text, MimeType, URI, Name, Data string

	Resource *struct{ URI, Text string }
}

// parseToolResult reads a result whose content is one part or a list of them.
func parseToolResult(raw json.RawMessage) (*toolResult, error) {
	members := make(map[string]json.RawMessage)
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	r := &toolResult{structured: members["structuredContent"], isError: truthy(members["isError"])}
	content := bytes.TrimSpace(members["content"])
	var parts []json.RawMessage
	if bytes.HasPrefix(content, []byte("{")) {
		parts = append(parts, content)
	} else if content != nil && json.Unmarshal(content, &parts) != nil {
		return nil, errors.New("its content is not a list")
	}
	for _, part := range parts {
		var c toolContent
		_ = json.Unmarshal(part, &c) // what has another type stays empty
		r.content = append(r.content, c)
	}
	return r, nil
}

// truthy reports whether a value that should be a boolean means true.
func truthy(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "false", "0", `""`, `"false"`, `"0"`:
		return false
	}
	return true
}

// text returns the result as text.
func (r *toolResult) text() string {
	var text strings.Builder
	for _, c := range r.content {
		fmt.Fprintln(&text, c.text())
	}
	if len(r.content) == 0 && r.structured != nil {
		fmt.Fprintf(&text, "%s\n", r.structured)
	}
	return text.String()
}

func (c *toolContent) text() string {
	switch {
	case c.Type == "text":
		return c.Text
	case c.Type == "resource" && c.Resource != nil && c.Resource.Text != "":
		return c.Resource.Text
	case c.Type == "resource" && c.Resource != nil:
		return "[resource " + c.Resource.URI + "]"
	case c.Type == "resource_link":
		return "[" + c.Name + " " + c.URI + "]"
	}
	about := cmp.Or(c.Type, "unreadable content")
	if c.MimeType != "" {
		about += ", " + c.MimeType
	}
	if data, err := base64.StdEncoding.DecodeString(c.Data); err == nil && c.Data != "" {
		about += fmt.Sprintf(", %d bytes", len(data))
	}
	return "[" + about + "; --json shows it]"
}

// showResult writes the result of a tool.
func (b *bridgeCommand) showResult(raw json.RawMessage) error {
	result, err := parseToolResult(raw)
	switch {
	case err != nil:
		return protocolError("the tool's result cannot be read: %w", err)
	case b.global.json:
		err = b.out.json(raw, true)
	case result.isError:
		return &failure{kind: kindOther,
			message: "the tool reports an error: " + b.carried.redact(strings.TrimSpace(result.text()))}
	case b.out.screen: // a server's text must not drive a terminal
		err = b.out.data([]byte(cleanLines(result.text())))
	default:
		err = b.out.data([]byte(result.text()))
	}
	if err == nil && result.isError {
		return exitStatus(exitOther)
	}
	return err
}

// cleanLines is clean for a text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}
