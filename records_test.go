package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// brittle is a store whose disk breaks after some writes.
type brittle struct {
	store.Store
	left atomic.Int64 // writes that still work
}

func (b *brittle) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	if b.left.Add(-1) < 0 {
		return "", errors.Join(store.ErrUnusable, errors.New("input/output error"))
	}
	return b.Store.Put(ctx, key, value, revision)
}

// A disk that breaks between the request and its response: the login lives on in
// this process, its used token is never used again, and the store gets it as
// soon as it takes anything.
func TestDiskBreaksDuringRefresh(t *testing.T) {
	for _, test := range []struct {
		name   string
		writes int64
	}{
		{"after the intent", 1},
		{"after the raw response", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			w.Expire()
			disk := &brittle{Store: w.Store}
			disk.left.Store(test.writes)
			w.Store = disk
			c := w.Session()
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			if test.name == "after the intent" {
				// Nothing can be stored, so nothing is used.
				if err := w.Call(c); err == nil {
					t.Fatal("a token was refreshed that could not be stored")
				}
			}
			disk.left.Store(1000)
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			w.MustCall(w.Session()) // another process finds it
			if a := w.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
				t.Errorf("%d tokens used twice, %d logins revoked\n%s", a.Reuses, a.FamiliesRevoked, w.Diary())
			}
			w.WantTabs(1)
		})
	}
}

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
