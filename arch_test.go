package handstamp_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/handstamp/handstamp"

// layer is what a package may import of ours, and which modules of others it may compile in,
// directly or through what it imports. Tests may import anything.
type layer struct {
	ours    []string
	modules []string
}

var (
	// libraryRequires is all that the go.mod of the library may name.
	libraryRequires = slices.Concat(libraryModules, fileModules)

	libraryModules  = []string{"github.com/go-jose/go-jose/v4", "golang.org/x/oauth2", "golang.org/x/sys"}
	joseModules     = []string{"github.com/go-jose/go-jose/v4"}
	fileModules     = []string{"github.com/gofrs/flock", "golang.org/x/sys"}
	keyringModules  = []string{"github.com/zalando/go-keyring", "github.com/godbus/dbus/v5", "github.com/danieljoos/wincred", "golang.org/x/sys"}
	postgresModules = []string{"github.com/jackc/pgx/v5", "github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "github.com/jackc/puddle/v2", "golang.org/x/sync", "golang.org/x/text"}
	redisModules    = []string{"github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "github.com/dgryski/go-rendezvous", "go.uber.org/atomic", "golang.org/x/sys"}
	// OpenTelemetry's API, and what that needs.
	telemetryModules = []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/trace", "go.opentelemetry.io/auto/sdk", "github.com/go-logr/logr", "github.com/go-logr/stdr", "github.com/cespare/xxhash/v2"}

	sdkModules = []string{
		"github.com/google/jsonschema-go", "github.com/modelcontextprotocol/go-sdk", "github.com/segmentio/asm",
		"github.com/segmentio/encoding", "github.com/yosida95/uritemplate/v3", "golang.org/x/oauth2", "golang.org/x/sync",
		"golang.org/x/sys", "golang.org/x/time",
	}
	mcpgoModules = []string{
		"github.com/google/jsonschema-go", "github.com/google/uuid", "github.com/mark3labs/mcp-go",
		"github.com/santhosh-tekuri/jsonschema/v6", "github.com/spf13/cast", "github.com/yosida95/uritemplate/v3",
		"golang.org/x/text",
	}
	commandModules = slices.Concat(fileModules, libraryModules, keyringModules,
		[]string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/inconshreveable/mousetrap", "golang.org/x/term",
			"rsc.io/qr", "filippo.io/age", "filippo.io/hpke", "golang.org/x/crypto"}, parserModules, postgresModules)
	parserModules = []string{"github.com/tailscale/hujson", "github.com/pelletier/go-toml/v2", "go.yaml.in/yaml/v3"}
)

// layers has every package of every module in the workspace. Imports go one way: from the
// command to the library, from there to the protocol and the store.
var layers = map[string]layer{
	"internal/errtype":                 {},
	"internal/dnstest":                 {},
	"":                                 {ours: []string{"clientkey", "internal/awake", "internal/browser", "internal/errtype", "internal/jose", "internal/loopback", "internal/mixup", "internal/oauth", "internal/pasted", "internal/record", "internal/sse", "internal/stack", "internal/textlist", "secret", "store"}, modules: libraryModules},
	"internal/oauth":                   {ours: []string{"internal/awake", "internal/errtype", "internal/lazyregexp", "internal/redact", "internal/retryafter", "secret"}},
	"internal/record":                  {ours: []string{"internal/prettyjson", "secret", "store", "store/sealed"}},
	"secret":                           {},
	"internal/alive":                   {ours: []string{"internal/errtype"}, modules: []string{"golang.org/x/sys"}},
	"internal/awake":                   {},
	"internal/lazyregexp":              {},
	"internal/prettyjson":              {},
	"internal/checksum":                {},
	"internal/stack":                   {},
	"cmd/handstamp/internal/mainstack": {ours: []string{"internal/stack"}},
	"internal/textlist":                {},
	"internal/redact":                  {},
	"internal/mcpremote":               {ours: []string{"internal/errtype", "internal/lazyregexp", "internal/oauth", "secret"}},
	"internal/retryafter":              {},
	"internal/pagestyle":               {},
	"internal/webpage":                 {ours: []string{"internal/loopback", "internal/pagestyle"}, modules: []string{"golang.org/x/sys"}},
	"internal/loopback":                {ours: []string{"internal/errtype", "internal/pagestyle"}, modules: []string{"golang.org/x/sys"}},
	"clientkey":                        {ours: []string{"internal/jose"}, modules: joseModules},
	"clientdocument":                   {ours: []string{"clientkey", "internal/jose"}, modules: joseModules},
	"internal/jose":                    {ours: []string{"secret"}, modules: joseModules},
	"internal/browser":                 {ours: []string{"internal/oauth"}, modules: []string{"golang.org/x/sys"}},
	"internal/mixup":                   {},
	"internal/pasted":                  {},
	"internal/proctest":                {},
	"internal/shellword":               {},
	"internal/sse":                     {},
	"internal/diagram":                 {ours: []string{""}, modules: libraryModules},
	"internal/testenv":                 {ours: []string{"", "hosted", "internal/envelope", "internal/proctest", "internal/record", "lab", "store", "store/filestore"}, modules: slices.Concat(fileModules, libraryModules)},
	"test/browser/loginpages":          {ours: []string{"internal/loopback"}},
	"test/history":                     {modules: []string{"github.com/anishathalye/porcupine"}},
	"test/process":                     {},
	"test/security":                    {},
	"bridge/chaos":                     {},
	"bridge/field":                     {},
	"bridge/interop":                   {},
	"bridge":                           {ours: []string{"internal/alive", "internal/errtype", "internal/lazyregexp", "internal/redact", "internal/retryafter", "internal/sse", "internal/stack"}, modules: []string{"golang.org/x/sys"}},
	"internal/doctor":                  {ours: []string{"", "internal/diagram", "internal/errtype", "internal/lazyregexp", "internal/loopback", "internal/oauth", "internal/shellword"}, modules: libraryModules},
	"internal/envelope":                {},
	"internal/atomicfile":              {modules: []string{"golang.org/x/sys"}},
	"store":                            {ours: []string{"internal/errtype", "internal/textlist", "store/internal/locks"}},
	"store/internal/locks":             {},
	"store/storetest":                  {ours: []string{"store"}},
	"store/keyringstore":               {ours: []string{"secret", "store", "store/sealed"}, modules: keyringModules},
	"internal/installed":               {},
	"internal/keyringtest":             {ours: []string{"internal/installed", "internal/proctest"}},
	"store/pgstore":                    {ours: []string{"internal/awake", "internal/checksum", "internal/errtype", "internal/textlist", "store", "store/internal/locks", "store/sealed"}, modules: postgresModules},
	"store/redisstore":                 {ours: []string{"internal/awake", "internal/checksum", "store", "store/internal/locks", "store/sealed"}, modules: redisModules},
	"internal/servicetest":             {ours: []string{"internal/installed", "internal/proctest"}},
	"otel":                             {ours: []string{""}, modules: slices.Concat(libraryModules, telemetryModules)},
	"test/telemetry":                   {},
	"hosted":                           {ours: []string{"", "clientdocument", "clientkey", "internal/mixup", "internal/pagestyle", "secret", "store"}, modules: libraryModules},
	"store/sealed":                     {ours: []string{"internal/textlist", "store"}},
	"store/filestore":                  {ours: []string{"internal/atomicfile", "internal/envelope", "store", "store/internal/locks"}, modules: fileModules},
	"lab":                              {},
	"lab/suite":                        {ours: []string{"internal/errtype", "internal/pagestyle", "lab"}},
	"lab/suite/internal/mutant":        {ours: []string{"internal/errtype"}},
	"lab/peers":                        {ours: []string{"lab", "lab/suite"}},
	"lab/peers/gosdk":                  {modules: sdkModules},
	"lab/mcpserver":                    {ours: []string{"lab"}, modules: sdkModules},
	"bench":                            {ours: []string{"", "lab"}, modules: slices.Concat(sdkModules, libraryModules)},
	"bench/bridge":                     {ours: []string{"", "bench/plot", "lab"}, modules: slices.Concat(sdkModules, libraryModules)},
	"bench/plot":                       {},
	"bench/scale":                      {ours: []string{"", "bench/plot", "hosted", "internal/checksum", "internal/record", "internal/servicetest", "internal/textlist", "lab", "secret", "store", "store/filestore", "store/pgstore", "store/sealed"}, modules: slices.Concat(fileModules, libraryModules, postgresModules)},
	"bench/bridge/floor":               {},
	"bench/bridge/sdkcall":             {modules: sdkModules},
	"conformance":                      {},
	"conformance/given":                {},
	"conformance/client":               {ours: []string{"", "clientkey", "conformance/given", "secret", "store"}, modules: slices.Concat(sdkModules, libraryModules)},
	"conformance/host":                 {ours: []string{"conformance/given"}, modules: sdkModules},
	"cmd/handstamp/internal/cli":       {ours: []string{"", "bridge", "clientdocument", "clientkey", "cmd/handstamp/internal/mcphost", "cmd/handstamp/internal/service", "cmd/handstamp/internal/splice", "hosted", "internal/awake", "internal/browser", "internal/diagram", "internal/doctor", "internal/lazyregexp", "internal/mcpremote", "internal/oauth", "internal/pasted", "internal/prettyjson", "internal/record", "internal/redact", "internal/shellword", "internal/webpage", "lab", "lab/suite", "secret", "store", "store/filestore", "store/keyringstore", "store/pgstore", "store/sealed"}, modules: commandModules},
	"examples":                         {},
	"examples/gosdk":                   {ours: []string{"", "store/filestore"}, modules: slices.Concat(sdkModules, fileModules, libraryModules)},
	"examples/hosted":                  {ours: []string{"", "hosted", "store", "store/pgstore", "store/redisstore", "store/sealed"}, modules: slices.Concat(sdkModules, postgresModules, redisModules, libraryModules)},
	"examples/httpclient":              {ours: []string{"", "store/filestore"}, modules: slices.Concat(fileModules, libraryModules)},
	"examples/agent":                   {ours: []string{"", "store/filestore"}, modules: slices.Concat(sdkModules, fileModules, libraryModules)},
	"examples/mcpgo":                   {ours: []string{"", "store/filestore"}, modules: slices.Concat(mcpgoModules, fileModules, libraryModules)},
	"interop":                          {},
	"lab/peers/mcpgo":                  {modules: mcpgoModules},
	"tools/modules":                    {modules: []string{"golang.org/x/mod"}},
	"tools/release":                    {modules: []string{"go.yaml.in/yaml/v3", "golang.org/x/crypto/x509roots/fallback", "golang.org/x/mod"}},
	"tools/house":                      {},
	"test/property":                    {},
	"tools/pages":                      {},
	"tools/recordings":                 {},
	"tools/suites":                     {},
	"cmd/handstamp":                    {ours: []string{"cmd/handstamp/internal/cli", "cmd/handstamp/internal/mainstack"}, modules: commandModules},
	"cmd/handstamp/internal/service":   {ours: []string{"", "hosted", "internal/oauth", "store", "store/sealed", "secret"}, modules: slices.Concat(fileModules, libraryModules)},
	"cmd/handstamp/internal/splice":    {modules: parserModules},
	"cmd/handstamp/internal/mcphost":   {ours: []string{"cmd/handstamp/internal/splice", "internal/atomicfile", "internal/mcpremote"}, modules: slices.Concat(fileModules, parserModules)},
}

// listed is one package as "go list" prints it.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func TestArchitecture(t *testing.T) {
	needWorkspace(t)
	all := list(t, "-deps", "work")
	modules := make(map[string]string)
	for _, p := range all {
		if p.Module != nil {
			modules[p.ImportPath] = p.Module.Path
		}
	}
	seen := make(map[string]bool)
	for _, p := range all {
		if !isOurs(modules[p.ImportPath]) {
			continue
		}
		name := local(p.ImportPath)
		seen[name] = true
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("%q is in no layer: name in layers what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if isOurs(modules[imported]) && !slices.Contains(allowed.ours, local(imported)) {
				t.Errorf("%q must not import %q", name, local(imported))
			}
		}
		for _, dep := range p.Deps {
			if m := modules[dep]; m != "" && !isOurs(m) && !slices.Contains(allowed.modules, m) {
				t.Errorf("%q must not compile in %s (for %s)", name, m, dep)
			}
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("layers has %q, which no module of the workspace has", name)
		}
	}
}

// TestLibraryRequiresLittle holds the library's go.mod, which every user's go.mod merges with,
// to what the library compiles in, and no module to a replacement, with which "go install"
// does not work.
func TestLibraryRequiresLittle(t *testing.T) {
	needWorkspace(t)
	for _, use := range edit(t, "work", "go.work").Use {
		file := edit(t, "mod", path.Join(use.DiskPath, "go.mod"))
		if len(file.Replace) > 0 {
			t.Errorf("%s/go.mod has replacements: %v", use.DiskPath, file.Replace)
		}
		if use.DiskPath != "." {
			continue
		}
		for _, r := range file.Require {
			if !slices.Contains(libraryRequires, r.Path) {
				t.Errorf("the library's go.mod requires %s %s", r.Path, r.Version)
			}
		}
	}
}

// needWorkspace skips a test where the library is tested without the other modules.
func needWorkspace(t *testing.T) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOWORK").Output()
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.TrimSpace(string(out)); w == "" || w == "off" {
		t.Skip("no workspace: the library's module alone")
	}
}

func isOurs(m string) bool { return m == module || strings.HasPrefix(m, module+"/") }

func local(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

// modFile is what these tests read of go.mod and go.work.
type modFile struct {
	Require []struct{ Path, Version string }
	Replace []struct{ Old, New struct{ Path string } }
	Use     []struct{ DiskPath string }
}

func edit(t *testing.T, kind, name string) modFile {
	t.Helper()
	out, err := exec.Command("go", kind, "edit", "-json", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var f modFile
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	args = append([]string{"list", "-json=ImportPath,Imports,Deps,Module"}, args...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
