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
	"":                          {ours: []string{"internal/awake", "internal/browser", "internal/loopback", "internal/oauth", "internal/pasted", "internal/secret", "store"}, modules: libraryModules},
	"internal/oauth":            {ours: []string{"internal/awake", "internal/lazyregexp", "internal/secret"}},
	"internal/alive":            {modules: []string{"golang.org/x/sys"}},
	"internal/awake":            {},
	"internal/lazyregexp":       {},
	"internal/secret":           {},
	"internal/mcpremote":        {ours: []string{"internal/lazyregexp", "internal/oauth", "internal/secret"}},
	"internal/loopback":         {modules: []string{"golang.org/x/sys"}},
	"internal/browser":          {modules: []string{"golang.org/x/sys"}},
	"internal/pasted":           {},
	"internal/proctest":         {},
	"internal/sse":              {},
	"bridge/chaos":              {},
