//go:build unix

package handstamp_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// plant puts a record of testdata, with this server's names and tokens in it, in
// the place of the stored one.
func (m *machine) plant(name string) {
	m.t.Helper()
	const client = "client-of-another-version"
	m.lab.RegisterClient(lab.ConfiguredClient{ID: client, Secret: "a-secret", Method: lab.MethodPost})
	tokens := m.lab.Issue(client, m.lab.ResourceURL(), "")
	text, err := os.ReadFile("testdata/records/" + name)
	if err != nil {
		m.t.Fatal(err)
	}
	text = []byte(strings.NewReplacer(
		"SERVER", m.lab.MCPURL(), "ISSUER", m.lab.URL(), "CLIENT", client, "SECRET", "a-secret",
		"ACCESS", tokens.Access, "REFRESH", tokens.Refresh,
	).Replace(string(text)))
	key, err := store.NewKey(m.lab.MCPURL(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.store.Put(m.t.Context(), key, text, ""); err != nil {
		m.t.Fatal(err)
	}
}

// Records that other versions wrote are used without a login, and a renewal
// keeps what this version does not know, wherever it stands. The files are never
// changed: they are what users have on their disks. The test catches a codec that
// drops members, and one that wants a member which older versions did not write.
func TestRecordsOfOtherVersions(t *testing.T) {
	files, err := os.ReadDir("testdata/records")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, file := range files {
		t.Run(file.Name(), func(t *testing.T) {
			m := emptyMachine(t, lab.NoneFirst())
			m.plant(file.Name())
			before := m.unknown()
			m.mustRun()
			m.mustRun()
			m.wantCounts(map[string]int{"token:refresh": 1, "authorize": 0, "other": 0})
			if after := m.unknown(); !reflect.DeepEqual(before, after) {
				t.Errorf("unknown members were %v and are %v", before, after)
			}
			if rec := m.stored(); rec.Grant.RefreshToken == "" || rec.Intent != nil {
				t.Error("the renewal was not stored")
			}
			m.lab.RevokeAccessTokens()
			m.mustRun()
		})
	}
}

// unknown returns the members of the stored record that begin with "x_", by path.
func (m *machine) unknown() map[string]any {
	m.t.Helper()
	data, err := os.ReadFile(m.file())
	if err != nil {
		m.t.Fatal(err)
	}
	if data, err = envelope.Open(data, new(json.RawMessage)); err != nil {
		m.t.Fatal(err)
	}
	var document any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // to the last digit
	if err := decoder.Decode(&document); err != nil {
		m.t.Fatal(err)
	}
	found := make(map[string]any)
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for name, member := range value {
				if strings.HasPrefix(name, "x_") {
					found[path+"/"+name] = member
				}
				walk(path+"/"+name, member)
			}
		case []any:
			for _, element := range value {
				walk(path+"[]", element)
			}
		}
	}
	walk("", document)
	return found
}
