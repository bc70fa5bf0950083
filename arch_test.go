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

// room is what a package may import of ours, and which modules of others it may
// compile in, directly or through what it imports. Tests may import anything.
type room struct {
	ours    []string
	modules []string
}

var (
	libraryModules = []string{"golang.org/x/oauth2", "golang.org/x/sys"}
	fileModules    = []string{"github.com/gofrs/flock", "golang.org/x/sys"}
	sdkModules     = []string{
		"github.com/google/jsonschema-go", "github.com/modelcontextprotocol/go-sdk", "github.com/segmentio/asm",
		"github.com/segmentio/encoding", "github.com/yosida95/uritemplate/v3", "golang.org/x/oauth2", "golang.org/x/sync",
		"golang.org/x/sys", "golang.org/x/time",
	}
	commandModules = slices.Concat(sdkModules, fileModules, libraryModules,
		[]string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/inconshreveable/mousetrap", "golang.org/x/term"})
)

// rooms is the house: arrows go one way, from the command to the library to the
// protocol and the store. A package that is not here has no place in it yet.
var rooms = map[string]room{
	"":                           {ours: []string{"internal/awake", "internal/browser", "internal/loopback", "internal/oauth", "internal/pasted", "internal/record", "secret", "store"}, modules: libraryModules},
	"internal/oauth":             {ours: []string{"internal/awake", "internal/lazyregexp", "internal/secret", "secret"}},
	"internal/record":            {ours: []string{"secret", "store"}},
	"secret":                     {},
	"internal/alive":             {modules: []string{"golang.org/x/sys"}},
	"internal/awake":             {},
	"internal/lazyregexp":        {},
	"internal/secret":            {},
	"internal/mcpremote":         {ours: []string{"internal/lazyregexp", "internal/oauth", "secret"}},
	"internal/loopback":          {modules: []string{"golang.org/x/sys"}},
	"internal/browser":           {modules: []string{"golang.org/x/sys"}},
	"internal/pasted":            {},
	"internal/proctest":          {},
	"internal/sse":               {},
	"internal/testenv":           {ours: []string{"", "internal/envelope", "internal/proctest", "internal/record", "lab", "secret", "store", "store/filestore"}, modules: slices.Concat(fileModules, libraryModules)},
	"test/process":               {},
	"test/security":              {},
	"bridge/chaos":               {},
	"bridge/field":               {},
	"bridge/interop":             {},
	"bridge":                     {ours: []string{"internal/alive", "internal/secret", "internal/sse"}, modules: []string{"golang.org/x/sys"}},
	"internal/envelope":          {},
	"internal/atomicfile":        {modules: []string{"golang.org/x/sys"}},
	"store":                      {ours: []string{"store/internal/locks"}},
	"store/internal/locks":       {},
	"store/storetest":            {ours: []string{"store"}},
	"store/filestore":            {ours: []string{"store", "store/internal/locks", "internal/atomicfile", "internal/envelope"}, modules: fileModules},
	"lab":                        {},
	"lab/suite":                  {ours: []string{"lab"}},
	"lab/suite/internal/mutant":  {},
	"lab/peers":                  {ours: []string{"lab", "lab/suite"}},
	"lab/peers/gosdk":            {modules: sdkModules},
	"lab/mcpserver":              {ours: []string{"lab"}, modules: sdkModules},
	"bench":                      {ours: []string{"", "lab"}, modules: slices.Concat(sdkModules, libraryModules)},
	"bench/bridge":               {ours: []string{"", "lab"}, modules: slices.Concat(sdkModules, libraryModules)},
	"bench/bridge/floor":         {},
	"bench/bridge/sdkcall":       {modules: sdkModules},
	"conformance":                {},
	"conformance/client":         {ours: []string{"", "secret", "store"}, modules: slices.Concat(sdkModules, libraryModules)},
	"conformance/host":           {modules: sdkModules},
	"cmd/handstamp/internal/cli": {ours: []string{"", "bridge", "store", "store/filestore", "lab", "lab/mcpserver", "lab/suite", "internal/awake", "internal/browser", "internal/lazyregexp", "internal/mcpremote", "internal/pasted", "internal/record", "internal/secret", "secret"}, modules: commandModules},
	"cmd/handstamp":              {ours: []string{"cmd/handstamp/internal/cli"}, modules: commandModules},
}

// listed is what "go list" tells of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func TestArchitecture(t *testing.T) {
	all := list(t, "-deps", "./...")
	modules := make(map[string]string)
	for _, p := range all {
		if p.Module != nil {
			modules[p.ImportPath] = p.Module.Path
		}
	}
	seen := make(map[string]bool)
	for _, p := range all {
		if modules[p.ImportPath] != module {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		seen[name] = true
		allowed, ok := rooms[name]
		if !ok {
			t.Errorf("%q has no place in the house: say in rooms what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if modules[imported] != module {
				continue
			}
			if to := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"); !slices.Contains(allowed.ours, to) {
				t.Errorf("%q must not import %q", name, to)
			}
		}
		for _, dep := range p.Deps {
			if m := modules[dep]; m != "" && m != module && !slices.Contains(allowed.modules, m) {
				t.Errorf("%q must not compile in %s (for %s)", name, m, dep)
			}
		}
	}
	for name := range rooms {
		if !seen[name] {
			t.Errorf("rooms has %q, which is %s", name, path.Join(module, name)+": gone")
		}
	}
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	args = append([]string{"list", "-json=ImportPath,Standard,Imports,Deps,Module"}, args...)
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
