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

// maxInit is how many bytes a package may allocate before main begins: tables of a protocol,
// not a driver or an exporter that starts.
const maxInit = 128 << 10

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
		if n, err := strconv.Atoi(line[2]); err != nil || n > maxInit {
			t.Errorf("%s allocates %d bytes before main, %v", line[1], n, err)
		}
		for _, heavy := range []string{"database/sql", "opentelemetry.io", "sqlite", "pgx"} {
			if strings.Contains(line[1], heavy) {
				t.Errorf("%s works before main", line[1])
			}
		}
	}
}
