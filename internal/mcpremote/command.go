package mcpremote

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/handstamp/handstamp/internal/lazyregexp"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/secret"
)

// Command is a command line that starts mcp-remote.
type Command struct {
	Server

	// Client is the client that the command line brings along
	// (--static-oauth-client-info); nil if it brings none.
	Client *Client

	OmitResource bool // --disable-resource-parameter
	UseIDToken   bool // --use-id-token

	Host         string // of the redirect URI; "": localhost
	Port         int    // of the redirect URI; 0: made from the hash
	CallbackPath string // of the redirect URI; "": /oauth/callback

	// Source is the file that holds the command line; "" if a person typed it.
	Source string
}

// Client is a client of which no registration response is known.
type Client struct {
	ID     string        `json:"client_id"`
	Secret secret.String `json:"client_secret"`
	Method string        `json:"token_endpoint_auth_method"` // "": not said
}

// Surroundings are what a command line may refer to. Nil functions know nothing.
type Surroundings struct {
	Getenv   func(name string) string
	ReadFile func(path string) ([]byte, error)
}

func (s Surroundings) getenv(name string) string {
	if s.Getenv == nil {
		return ""
	}
	return s.Getenv(name)
}

// header is how mcp-remote reads a header.
var header = lazyregexp.New(`^([A-Za-z0-9_-]+):\s*(.*)$`)

// ParseCommand reads the arguments of mcp-remote, or a command line that starts
// it, as mcp-remote itself reads them: the URL comes first, headers may stand
// anywhere, and of another flag the first counts. What is not about logins is
// ignored. No error quotes an argument: there are secrets among them.
func ParseCommand(args []string, around Surroundings) (*Command, error) {
	if after, ok := arguments(args); ok {
		args = after
	}
	c := &Command{}
	add := func(line string) {
		if match := header.Get().FindStringSubmatch(line); match != nil {
			if c.Headers == nil {
				c.Headers = make(map[string]string)
			}
			c.Headers[match[1]] = match[2]
		}
	}
	var rest []string
	for i := 0; i < len(args); i++ {
		switch last := i+1 == len(args); {
		case args[i] == "--header" && !last:
			i++
			add(args[i])
		case args[i] == "--header-file" && !last:
			i++
			text, err := around.read(args[i])
			if err != nil {
				return nil, fmt.Errorf("its header file cannot be read: %w", err)
			}
			for line := range strings.Lines(string(text)) {
				add(strings.TrimSpace(line))
			}
		default:
			rest = append(rest, args[i])
		}
	}
	if len(rest) == 0 || !strings.Contains(rest[0], "://") {
		return nil, errors.New("it names no URL before its flags")
	}
	c.URL = rest[0]
	value := func(name string) (string, bool) {
		for i, arg := range rest[:len(rest)-1] {
			if arg == name {
				return rest[i+1], true
			}
		}
		return "", false
	}
	given := func(name string) bool {
		for _, arg := range rest[1:] {
			if arg == name {
				return true
			}
		}
		return false
	}
	resource, said := value("--resource")
	c.Resource = strings.TrimSpace(resource)
	if c.OmitResource = given("--disable-resource-parameter") || said && c.Resource == ""; c.OmitResource {
		c.Resource = ""
	}
	c.UseIDToken = given("--use-id-token")
	c.Host, _ = value("--host")
	if c.CallbackPath, _ = value("--callback-path"); !strings.HasPrefix(c.CallbackPath, "/") {
		c.CallbackPath = ""
	}
	if len(rest) > 1 {
		c.Port, _ = strconv.Atoi(rest[1])
	}
	for i, arg := range rest[:len(rest)-1] {
		if name, text, ok := strings.Cut(rest[i+1], "="); ok && arg == "--authorize-param" {
			if c.AuthorizeParams == nil {
				c.AuthorizeParams = make(map[string]string)
			}
			c.AuthorizeParams[strings.TrimSpace(name)] = text
		}
	}
	if document, ok := value("--client-metadata-url"); ok {
		document = strings.TrimSpace(document)
		if u, err := url.Parse(document); err == nil && u.Scheme == "https" && strings.Trim(u.Path, "/") != "" {
			c.ClientMetadataURL = document
		}
	}
	if endpoint, ok := value("--token-endpoint"); ok {
		c.TokenEndpoint = oauth.StandardURL(strings.TrimSpace(endpoint))
	}
	if info, ok := value("--static-oauth-client-info"); ok {
		var err error
		if c.Client, err = staticClient(info, around); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// staticClient reads the client that a command line brings along, as JSON or as
// the name of a file after an at sign.
func staticClient(info string, around Surroundings) (*Client, error) {
	text := []byte(info)
	if path, isFile := strings.CutPrefix(info, "@"); isFile {
		var err error
		if text, err = around.read(path); err != nil {
			return nil, fmt.Errorf("the file with its client cannot be read: %w", err)
		}
	}
	var client Client
	if json.Unmarshal([]byte(Expand(string(text), around)), &client) != nil || client.ID == "" {
		return nil, errors.New("its client is no JSON object with a client_id")
	}
	return &client, nil
}

func (s Surroundings) read(path string) ([]byte, error) {
	if s.ReadFile == nil {
		return nil, errors.New("files are not read here")
	}
	return s.ReadFile(path)
}

// SentResource is the resource parameter that mcp-remote sends; "" if that follows
// from what the server publishes.
func (c *Command) SentResource() string { return oauth.StandardURL(c.Resource) }

// RedirectURI is where mcp-remote receives callbacks for the files with this hash.
func (c *Command) RedirectURI(hash string) string {
	port := c.Port
	if n, err := strconv.ParseUint(hash[:min(4, len(hash))], 16, 32); err == nil && port <= 0 {
		port = 3335 + int(n)%45816
	}
	return "http://" + net.JoinHostPort(cmp.Or(c.Host, "localhost"), strconv.Itoa(port)) + cmp.Or(c.CallbackPath, "/oauth/callback")
}

// placeholder is a variable in a command line, as mcp-remote and the programs
// that start it write it.
var placeholder = lazyregexp.New(`\$\{(?:env:)?([^}:]+)\}`)

// Expand puts the variables that are set into a text.
func Expand(text string, around Surroundings) string {
	return placeholder.Get().ReplaceAllStringFunc(text, func(match string) string {
		if v := around.getenv(placeholder.Get().FindStringSubmatch(match)[1]); v != "" {
			return v
		}
		return match
	})
}

// program is the word of a command line that starts mcp-remote: its name, its
// package, or its file.
var program = lazyregexp.New(`(?:^|[/\\])mcp-remote(?:-client)?(?:@[^/\\\s]*|\.cmd)?$|(?:^|[/\\])mcp-remote[/\\]dist[/\\](?:proxy|client)\.js$`)

// successor is the word that starts Handstamp, whose bridge takes the arguments of
// mcp-remote: a list of servers may have been edited before anything is imported.
var successor = lazyregexp.New(`(?:^|[/\\])handstamp(?:\.exe)?$`)

// Mentioned reports whether a text may hold a command line that Commands reads.
func Mentioned(text []byte) bool {
	return bytes.Contains(text, []byte("mcp-remote")) || bytes.Contains(text, []byte("handstamp"))
}

// arguments returns what comes after mcp-remote in a command line, and whether it
// or its successor is started there at all.
func arguments(words []string) ([]string, bool) {
	for i := len(words) - 1; i >= 0; i-- {
		if program.Get().MatchString(words[i]) {
			return words[i+1:], true
		}
		if rest := words[i+1:]; successor.Get().MatchString(words[i]) && len(rest) > 1 && rest[0] == "bridge" {
			args := slices.Clone(rest[1:])
			if !strings.Contains(args[0], "://") { // optional there, and not for mcp-remote
				args[0] = "https://" + args[0]
			}
			return args, true
		}
	}
	// A command line in one word, for a shell.
	for _, word := range words {
		if Mentioned([]byte(word)) && strings.ContainsAny(word, " \t") && len(word) < 1<<16 {
			if args, ok := arguments(split(word)); ok {
				return args, true
			}
		}
	}
	return nil, false
}

// split splits a line as a shell does, as far as quotes go.
func split(line string) []string {
	var words []string
	var word strings.Builder
	var quoted rune
	inside := false
	for _, r := range line {
		switch {
		case quoted != 0 && r == quoted:
			quoted = 0
		case quoted == 0 && (r == '\'' || r == '"'):
			quoted, inside = r, true
		case quoted == 0 && strings.ContainsRune(" \t\n", r):
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}
