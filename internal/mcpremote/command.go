package mcpremote

import (
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

	// HeaderFlags and HeaderFile are the headers as they were given: the values of --header,
	// and the text of the last --header-file.
	HeaderFlags []string
	HeaderFile  []byte

	// URLOnly reports that how mcp-remote was started is not known, only its URL.
	URLOnly bool

	// Source is the file that holds the command line; "" if the user typed it.
	Source string
}

// Client is a client of which no registration response is known.
type Client struct {
	ID     string        `json:"client_id"`
	Secret secret.String `json:"client_secret"`
	Method string        `json:"token_endpoint_auth_method"` // "": not given
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
	rest, err := c.takeHeaders(args, around)
	if err != nil {
		return nil, err
	}
	if len(rest) == 0 || !strings.Contains(rest[0], "://") {
		return nil, errors.New("it names no URL before its flags")
	}
	c.URL, c.UseIDToken = rest[0], rest.given("--use-id-token")
	c.takeResource(rest)
	c.takeRedirect(rest)
	c.takeParams(rest)
	c.takeURLs(rest)
	if info, ok := rest.value("--static-oauth-client-info"); ok {
		c.Client, err = staticClient(info, around)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// remoteArgs are the arguments of mcp-remote without its headers: the URL and flags.
type remoteArgs []string

// value returns what follows the first flag of this name.
func (a remoteArgs) value(name string) (string, bool) {
	if i := slices.Index(a[:len(a)-1], name); i >= 0 {
		return a[i+1], true
	}
	return "", false
}

func (a remoteArgs) given(name string) bool { return slices.Contains(a[1:], name) }

// takeHeaders takes the headers from arguments and returns the others.
func (c *Command) takeHeaders(args []string, around Surroundings) (rest remoteArgs, err error) {
	for i := 0; i < len(args); i++ {
		isLast := i+1 == len(args)
		switch {
		case args[i] == "--header" && !isLast:
			i++
			c.HeaderFlags = append(c.HeaderFlags, args[i])
			c.addHeader(args[i])
		case args[i] == "--header-file" && !isLast:
			i++
			if c.HeaderFile, err = around.read(args[i]); err != nil {
				return nil, fmt.Errorf("its header file cannot be read: %w", err)
			}
			for line := range strings.Lines(string(c.HeaderFile)) {
				c.addHeader(strings.TrimSpace(line))
			}
		default:
			rest = append(rest, args[i])
		}
	}
	return rest, nil
}

func (c *Command) addHeader(line string) {
	if match := header.Get().FindStringSubmatch(line); match != nil {
		if c.Headers == nil {
			c.Headers = make(map[string]string)
		}
		c.Headers[match[1]] = match[2]
	}
}

func (c *Command) takeResource(args remoteArgs) {
	resource, given := args.value("--resource")
	c.Resource = strings.TrimSpace(resource)
	c.OmitResource = args.given("--disable-resource-parameter") || given && c.Resource == ""
	if c.OmitResource {
		c.Resource = ""
	}
}

// takeRedirect takes what shapes the redirect URI. A port may follow the URL.
func (c *Command) takeRedirect(args remoteArgs) {
	c.Host, _ = args.value("--host")
	if path, _ := args.value("--callback-path"); strings.HasPrefix(path, "/") {
		c.CallbackPath = path
	}
	if len(args) > 1 {
		c.Port, _ = strconv.Atoi(args[1])
	}
}

func (c *Command) takeParams(args remoteArgs) {
	for i, arg := range args[:len(args)-1] {
		if arg == "--authorize-param" {
			c.AddParam(args[i+1])
		}
	}
}

// AddParam adds an authorization parameter, written as name=value.
func (s *Server) AddParam(param string) {
	name, value, ok := strings.Cut(param, "=")
	if !ok {
		return
	}
	if s.AuthorizeParams == nil {
		s.AuthorizeParams = make(map[string]string)
	}
	s.AuthorizeParams[strings.TrimSpace(name)] = value
}

func (c *Command) takeURLs(args remoteArgs) {
	document, _ := args.value("--client-metadata-url")
	document = strings.TrimSpace(document)
	u, err := url.Parse(document)
	if err == nil && u.Scheme == "https" && strings.Trim(u.Path, "/") != "" {
		c.ClientMetadataURL = document
	}
	if endpoint, ok := args.value("--token-endpoint"); ok {
		c.TokenEndpoint = oauth.StandardURL(strings.TrimSpace(endpoint))
	}
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
	host := net.JoinHostPort(cmp.Or(c.Host, "localhost"), strconv.Itoa(port))
	return "http://" + host + cmp.Or(c.CallbackPath, "/oauth/callback")
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
