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
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// plant puts a record of testdata, with this server's names and tokens in it, in
// the place of the stored one.
func plant(m *testenv.Env, name string) {
	m.T.Helper()
	const client = "client-of-another-version"
	m.Lab.RegisterClient(lab.ConfiguredClient{ID: client, Secret: "a-secret", Method: lab.MethodPost})
	tokens := m.Lab.Issue(client, m.Lab.ResourceURL(), "")
	text, err := os.ReadFile("testdata/records/" + name)
	if err != nil {
		m.T.Fatal(err)
	}
	text = []byte(strings.NewReplacer(
		"SERVER", m.Lab.MCPURL(), "ISSUER", m.Lab.URL(), "CLIENT", client, "SECRET", "a-secret",
		"ACCESS", tokens.Access, "REFRESH", tokens.Refresh,
	).Replace(string(text)))
	key, err := store.NewKey(m.Lab.MCPURL(), "")
	if err != nil {
		m.T.Fatal(err)
	}
	if _, err := m.Store.Put(m.T.Context(), key, text, ""); err != nil {
		m.T.Fatal(err)
	}
}

// Records that other versions wrote are used without a login, and a refresh
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
			m := testenv.NewEmptyOnDisk(t, lab.NoneFirst())
			plant(m, file.Name())
			before := unknown(m)
			m.MustRun()
			m.MustRun()
			m.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0, "other": 0})
			if after := unknown(m); !reflect.DeepEqual(before, after) {
				t.Errorf("unknown members were %v and are %v", before, after)
			}
			if rec := m.StoredRecord(); rec.Grant.RefreshToken == "" || rec.Intent != nil {
				t.Error("the refresh was not stored")
			}
			m.Lab.RevokeAccessTokens()
			m.MustRun()
		})
	}
}

// unknown returns the members of the stored record that begin with "x_", by path.
func unknown(m *testenv.Env) map[string]any {
	m.T.Helper()
	data, err := os.ReadFile(m.File())
	if err != nil {
		m.T.Fatal(err)
	}
	if data, err = envelope.Open(data, new(json.RawMessage)); err != nil {
		m.T.Fatal(err)
	}
	var document any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // to the last digit
	if err := decoder.Decode(&document); err != nil {
		m.T.Fatal(err)
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
