package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBillNamesEveryModule compares the bill of materials with what "go version -m" prints.
func TestBillNamesEveryModule(t *testing.T) {
	r := opened(t)
	binary := nativeBinary(t, r)
	file := filepath.Join(t.TempDir(), "bill.json")
	if err := r.writeSBOM(binary, file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		t.Fatal(err)
	}
	var billed []string
	for _, c := range b.Components {
		billed = append(billed, c.Name+"@"+c.Version)
	}
	want := []string{"std@" + strings.TrimPrefix(runtime.Version(), "go")}
	out, err := output(r.root, os.Environ(), "go", "version", "-m", binary)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "dep" {
			want = append(want, words[1]+"@"+strings.Replace(words[2], "(devel)", "v"+r.fields.Version, 1))
		}
	}
	slices.Sort(billed)
	slices.Sort(want)
	if !slices.Equal(billed, want) {
		t.Errorf("the bill has\n%q\nwant\n%q", billed, want)
	}
	if len(want) < 10 {
		t.Errorf("only %d modules are in the binary", len(want))
	}
	main := b.Metadata.Component
	if main.Version != "v"+r.fields.Version || main.Hashes[0].Content != sum(t, binary) {
		t.Errorf("the bill is of %+v", main)
	}
	if uuid := regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`); !uuid.MatchString(b.Serial) {
		t.Errorf("the serial number is %s", b.Serial)
	}
}

// What a package may allocate before main begins, in bytes.
const (
	maxInit         = 128 << 10 // tables of a protocol
	maxDatabaseInit = 4 << 10   // errors and a few patterns, not a driver that starts
)

// A package of a database does next to nothing before main, and one of telemetry is not there.
var (
	databases = regexp.MustCompile(`database/sql|pgx|pgpass|pgservice|pgstore|redis|sqlite`)
	telemetry = regexp.MustCompile(`opentelemetry\.io|handstamp/otel|prometheus`)
)

// TestPackagesDoLittleBeforeMain reads what the runtime reports of each package's init.
func TestPackagesDoLittleBeforeMain(t *testing.T) {
	r := opened(t)
	cmd := exec.Command(nativeBinary(t, r), "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^init (\S+) @.* (\d+) bytes, `).FindAllStringSubmatch(trace.String(), -1)
	if len(lines) < 10 {
		t.Fatalf("the trace has %d packages", len(lines))
	}
	for _, line := range lines {
		limit := maxInit
		if databases.MatchString(line[1]) {
			limit = maxDatabaseInit
		}
		if n, err := strconv.Atoi(line[2]); err != nil || n > limit {
			t.Errorf("%s allocates %d bytes before main of %d, %v", line[1], n, limit, err)
		}
		if telemetry.MatchString(line[1]) {
			t.Errorf("%s is linked in", line[1])
		}
	}
}
