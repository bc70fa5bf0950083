package cli

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
	"github.com/handstamp/handstamp/internal/lazyregexp"
	"github.com/handstamp/handstamp/store"
)

// hostServer returns how a host starts the bridge to a server: nothing depends on what the host
// passes on of its environment.
func (a *app) hostServer(h *mcphost.Host, t *target, more []string) (mcphost.Server, error) {
	if err := checkBridgeFlags(more); err != nil {
		return mcphost.Server{}, err
	}
	command, err := a.lastingPath()
	if err != nil {
		return mcphost.Server{}, err
	}
	server := t.url
	_, conf := a.alias(t.key.Server)
	if conf != nil && conf != t.config {
		server = t.name // several aliases share the URL
	}
	args := []string{"bridge", server}
	// What is named for all servers may change.
	if t.named && (t.profile != t.bareProfile() || t.config.Profile == "" && t.base != store.DefaultProfile) {
		args = append(args, "--profile", t.profile)
	}
	choice, err := a.chosenStore()
	if err != nil {
		return mcphost.Server{}, err
	}
	if err := a.checkOwner(choice); err != nil {
		return mcphost.Server{}, err
	}
	args = append(append(args, a.globalArgs(choice)...), more...)
	return mcphost.Server{Command: command, Args: args, Env: a.hostEnv(h, choice)}, nil
}

// globalArgs returns the global flags of this process that the bridge needs, too, in another folder.
func (a *app) globalArgs(choice storeChoice) (args []string) {
	g := a.global
	if choice.by == byFlag {
		g.Store = choice.word
	}
	for _, f := range []struct{ name, value string }{
		{"--store", g.Store}, {"--tenant", g.Tenant}, {"--user", g.User},
		{"--ca-file", absolutePath(g.CAFile)},
		{"--client-cert", absolutePath(g.ClientCert)}, {"--client-key", absolutePath(g.ClientKey)},
		{"--proxy", g.Proxy},
	} {
		if f.value != "" {
			args = append(args, f.name, f.value)
		}
	}
	if g.allowHTTP {
		args = append(args, "--allow-http")
	}
	return args
}

// checkBridgeFlags finds flags that the bridge would reject, when no user looks on.
func checkBridgeFlags(flags []string) error {
	a := newApp(Process{})
	cmd, _, err := a.newRoot().Find([]string{"bridge"})
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(flags); err != nil {
		return flagError(cmd, err)
	}
	if rest := cmd.Flags().Args(); len(rest) > 1 || len(rest) == 1 && !isPort(rest[0]) {
		return usage("after -- come a callback port and flags of handstamp bridge, and %q is none", rest[0])
	}
	return a.global.check()
}

var (
	proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"}

	// entryVariables are those that hostEnv returns if they are set, and that users seldom add.
	entryVariables = append([]string{
		"HANDSTAMP_HOME", byVariable, "HANDSTAMP_STORE_KEY_FILE", "HANDSTAMP_STORE_PASSPHRASE_FILE",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
	}, proxyVariables...)
)

// hostEnv returns the variables without which the bridge would look elsewhere. None holds a
// secret.
func (a *app) hostEnv(h *mcphost.Host, choice storeChoice) (env splice.Object) {
	if h.Env == mcphost.PathOnly {
		for _, name := range []string{"HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"} {
			if value := a.env.get(name); value != "" {
				env = append(env, splice.Member{Name: name, Value: value})
			}
		}
	}
	env = append(env, a.pathVariables(choice)...)
	switch value := a.env.get(byVariable); {
	case value == "" || a.global.Store != "" || hasPassword(value):
	case choice.by == byVariable:
		env = append(env, splice.Member{Name: byVariable, Value: choice.word})
	default: // auto, which the configuration decides
		env = append(env, splice.Member{Name: byVariable, Value: value})
	}
	if a.global.Proxy == "" {
		env = append(env, a.proxies()...)
	}
	return env
}

// pathVariables returns the variables that name files and folders, as a process in another folder
// understands them.
func (a *app) pathVariables(choice storeChoice) (env splice.Object) {
	add := func(name, path string) {
		if path != "" {
			env = append(env, splice.Member{Name: name, Value: path})
		}
	}
	add("HANDSTAMP_HOME", absolutePath(a.env.get("HANDSTAMP_HOME")))
	keyFile, database := a.env.get("HANDSTAMP_STORE_KEY_FILE"), isDatabase(choice.word)
	if !database || keyFile != keysNone {
		keyFile = a.absolute(keyFile)
	}
	add("HANDSTAMP_STORE_KEY_FILE", keyFile)
	if file := a.env.get("HANDSTAMP_STORE_PASSPHRASE_FILE"); file != "-" { // standard input is the host's
		add("HANDSTAMP_STORE_PASSPHRASE_FILE", a.absolute(file))
	}
	if database {
		add("PGPASSFILE", absolutePath(a.env.get("PGPASSFILE")))
	}
	add("SSL_CERT_FILE", absolutePath(a.env.get("SSL_CERT_FILE")))
	folders := filepath.SplitList(a.env.get("SSL_CERT_DIR"))
	for i := range folders {
		folders[i] = absolutePath(folders[i])
	}
	add("SSL_CERT_DIR", strings.Join(folders, string(filepath.ListSeparator)))
	if a.env.get("HANDSTAMP_HOME") == "" && runtime.GOOS != "windows" && runtime.GOOS != "darwin" {
		for _, v := range []struct{ name, usual string }{
			{"XDG_CONFIG_HOME", ".config"}, {"XDG_DATA_HOME", ".local/share"}, {"XDG_STATE_HOME", ".local/state"},
		} {
			path := a.env.get(v.name)
			if filepath.IsAbs(path) && path != a.home(v.usual) { // a relative one is ignored
				add(v.name, path)
			}
		}
	}
	return env
}

// proxies returns the variables that name proxies, without those that have a password.
func (a *app) proxies() (env splice.Object) {
	for _, name := range proxyVariables {
		if value := a.env.get(name); value != "" && !strings.Contains(value, "@") {
			env = append(env, splice.Member{Name: name, Value: value})
		}
	}
	return env
}

// lastingPath returns an absolute path of this program that an upgrade does not change: package
// managers keep each version in a folder of its own, and link to it.
func (a *app) lastingPath() (string, error) {
	exe, err := a.executable()
	if err != nil {
		return "", &failure{kind: kindOther, message: "the path of this program is not known", err: err}
	}
	this, err := os.Stat(exe)
	if err != nil {
		return exe, nil
	}
	for _, dir := range filepath.SplitList(a.env.get("PATH")) {
		for _, name := range []string{"handstamp", "handstamp.exe"} {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && filepath.IsAbs(path) && os.SameFile(this, info) {
				return path, nil
			}
		}
	}
	return exe, nil
}

// temporaryPath reports whether a program is where the next cleaning removes it.
func temporaryPath(path string) bool {
	slashed := filepath.ToSlash(path)
	return strings.Contains(slashed, "/go-build") || strings.Contains(slashed, "/_npx/")
}

// hostName is what all hosts accept as the name of a server: some allow no underscore or dot,
// and some only so many characters together with a tool's name.
var hostName = lazyregexp.New(`^[a-z][a-z0-9-]{0,24}$`)

const hostNameForm = "a name of at most 25 small letters, digits and hyphens that begins with a letter"

func checkHostName(name string) error {
	if !hostName.Get().MatchString(name) {
		return usage("%q cannot be the name of a server in an MCP host: use %s", name, hostNameForm)
	}
	if name == "workspace" {
		return usage("the name workspace is Claude Code's own: use another")
	}
	return nil
}

// proposedName returns a name for a server: its alias, or a word of its URL.
func proposedName(t *target) string {
	if checkHostName(t.name) == nil && t.name != t.url {
		return t.name
	}
	word := t.name
	if strings.ContainsAny(word, ".:/") {
		word = hostWord(t.url)
	}
	word = strings.Trim(notInName.Get().ReplaceAllString(strings.ToLower(word), "-"), "-")
	if word == "" || word[0] < 'a' {
		word = "mcp-" + word
	}
	word = strings.TrimRight(word[:min(len(word), 25)], "-")
	if checkHostName(word) != nil {
		return "mcp-server"
	}
	return word
}

var notInName = lazyregexp.New(`[^a-z0-9]+`)

// hostWord returns the word of a URL that names the server best: of mcp.linear.app it is linear.
func hostWord(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil || host == "localhost" {
		return "local-" + u.Port()
	}
	labels := strings.Split(host, ".")
	if len(labels) > 1 {
		labels = labels[:len(labels)-1]
	}
	if n := len(labels); n > 1 && slices.Contains(secondLevels, labels[n-1]) {
		labels = labels[:n-1]
	}
	return labels[len(labels)-1]
}

// secondLevels are the words before a country's.
var secondLevels = []string{"co", "com", "org", "net", "ac", "gov", "edu"}
