package cli

import (
	"bytes"
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// maxHeaderFile bounds a file of headers, in bytes.
const maxHeaderFile = 64 << 10

// headerOptions are headers to send with each request to the MCP server.
type headerOptions struct {
	headers []string
	file    string
	lines   []string // of the file, once it was read

	configured map[string]string // of the server, in the configuration
}

func (o *headerOptions) bind(flags *pflag.FlagSet) {
	repeatedVar(flags, &o.headers, "header",
		"send `NAME=VALUE` with each request; ${VAR} is taken from the environment (may be repeated)")
	flags.StringVar(&o.file, "header-file", "",
		"file with a header on each line, which keeps secrets out of the process list")
}

// addTo adds the headers, as they were typed, to what tells logins apart.
func (o *headerOptions) addTo(f *profileFlags) error {
	inFile, err := o.fileLines()
	if err == nil {
		f.addHeaders(inFile, o.headers)
	}
	return err
}

// fileLines returns the headers of --header-file, if there is one. The file is read once: it may
// be a pipe.
func (o *headerOptions) fileLines() ([]string, error) {
	if o.file == "" || o.lines != nil {
		return o.lines, nil
	}
	text, err := readFile(o.file, maxHeaderFile)
	if err != nil {
		return nil, usage("the header file %s cannot be read: %w", o.file, err)
	}
	o.lines = headerLines(text)
	return o.lines, nil
}

// headerLines returns the headers in the text of a file: lines that are no comments.
func headerLines(text []byte) []string {
	var lines []string
	for line := range bytes.Lines(bytes.TrimPrefix(text, byteOrderMark)) {
		if s := strings.TrimSpace(string(line)); s != "" && !strings.HasPrefix(s, "#") {
			lines = append(lines, s)
		}
	}
	return lines
}

// read returns the headers. A flag replaces the header of the file, and that the configuration's.
func (o *headerOptions) read(a *app) (http.Header, error) {
	inFile, err := o.fileLines()
	if err != nil {
		return nil, err
	}
	h, given := make(http.Header), make(http.Header)
	for name, value := range o.configured {
		err = cmp.Or(err, addHeader(h, name+": "+value, "headers in config.json", a))
	}
	ofFile := make(http.Header)
	for _, line := range inFile {
		err = cmp.Or(err, addHeader(ofFile, line, "--header-file "+o.file, a))
	}
	for _, line := range o.headers {
		err = cmp.Or(err, addHeader(given, line, "--header", a))
	}
	maps.Copy(h, ofFile)
	maps.Copy(h, given)
	return h, err
}

// variable is a place for an environment variable's value.
var variable = lazyregexp.New(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts the values of environment variables into a text. They count as
// secrets, which no other process gets. One that is not set is an error: sent
// without it, the text would mean something else.
func (a *app) expand(s string) (string, error) {
	var missing string
	s = variable.Get().ReplaceAllStringFunc(s, func(place string) string {
		name := place[2 : len(place)-1]
		value := a.env.get(name)
		a.hideVariables(name)
		if value == "" && missing == "" {
			missing = name
		}
		return value
	})
	if missing != "" {
		return "", usage("the environment variable %s is not set", missing)
	}
	return s, nil
}

// ownHeaders are those that the transport of MCP sets.
var ownHeaders = []string{
	"Accept", "Connection", "Content-Length", "Content-Type", "Host", "Last-Event-Id",
	"Mcp-Method", "Mcp-Name",
	"Mcp-Protocol-Version", "Mcp-Session-Id", "Transfer-Encoding",
}

// addHeader adds a header that is written as NAME=VALUE or NAME: VALUE. The value
// is in no error: it may be a secret.
func addHeader(h http.Header, line, where string, a *app) error {
	at := strings.IndexAny(line, "=:")
	if at <= 0 {
		return usage("%s takes NAME=VALUE", where)
	}
	name, value := strings.TrimSpace(line[:at]), strings.TrimSpace(line[at+1:])
	if strings.IndexFunc(name, func(r rune) bool { return !headerRune(r) }) >= 0 {
		return usage("%s: %q cannot be the name of a header", where, name)
	}
	name = http.CanonicalHeaderKey(name)
	if slices.Contains(ownHeaders, name) {
		return usage("%s cannot set %s, which Handstamp sets itself", where, name)
	}
	value, err := a.expand(value)
	if err != nil {
		return err
	}
	if strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
		return usage("%s: the value of %s holds control characters", where, name)
	}
	h.Add(name, value)
	return nil
}

// headerRune reports whether a character may stand in a header's name (RFC 9110,
// section 5.6.2).
func headerRune(r rune) bool {
	return alphanumeric(r) || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
