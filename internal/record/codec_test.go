package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
)

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"testdata/full.json", "testdata/extended.json", "testdata/newer.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"key":{"server":"s","profile":""},"clients":[],"omit_resource":[""],"":0,"\ud800":1}`))
	f.Add([]byte(`{"version":1,"key":{"server":"s"},"intent":{"at":"0000-01-01T00:00:00+01:00"}}`))
	f.Add([]byte(`{"version":1,"key":{"server":"s"},"grant":{"access_token":{"base64":"/w=="}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		first, err := Encode(r)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		again, err := Decode(first)
		if err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v\n%s", err, first)
		}
		if !reflect.DeepEqual(r, again) {
			t.Fatalf("came back different:\n%s", first)
		}
		second, err := Encode(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("encoded differently (%v):\n%s\n%s", err, first, second)
		}
	})
}

// golden returns a file of testdata, and the record in it.
func golden(t *testing.T, name string) ([]byte, *Record) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return data, r
}

// The file of a later version has members at every level that this one does not
// know. Rewriting the record must lose none.
func TestUnknownMembersSurviveRewrite(t *testing.T) {
	for _, name := range []string{"full", "extended", "newer"} {
		t.Run(name, func(t *testing.T) {
			data, r := golden(t, "testdata/"+name+".json")
			got, err := Encode(r)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("rewritten as\n%s", got)
			}
		})
	}
}

func TestEveryStructKeepsUnknownMembers(t *testing.T) {
	_, r := golden(t, "testdata/extended.json")
	visitUnknown(reflect.ValueOf(r), "record", func(where string, u Unknown) {
		if len(u) == 0 {
			t.Errorf("%s has no unknown member in the golden file", where)
		}
	})
}

func visitUnknown(v reflect.Value, where string, visit func(string, Unknown)) {
	switch v.Kind() {
	case reflect.Pointer:
		visitUnknown(v.Elem(), where, visit)
	case reflect.Slice:
		for i := range v.Len() {
			visitUnknown(v.Index(i), fmt.Sprintf("%s[%d]", where, i), visit)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[store.Key]() {
			return // a Key is compared, so it can have no map
		}
		for i := range v.NumField() {
			if u, ok := v.Field(i).Interface().(Unknown); ok {
				visit(where, u)
			} else {
				visitUnknown(v.Field(i), where+"."+v.Type().Field(i).Name, visit)
			}
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	const start = `{"version":1,"key":{"server":"https://a.example","profile":"default"}`
	tests := []struct {
		name, data string
		want       error
	}{
		{"nothing", ``, store.ErrCorrupt},
		{"null", `null`, store.ErrCorrupt},
		{"array", `[]`, store.ErrCorrupt},
		{"empty object", `{}`, store.ErrCorrupt},
		{"zeros", strings.Repeat("\x00", 512), store.ErrCorrupt},
		{"cut off", start, store.ErrCorrupt},
		{"trailing garbage", start + `}}`, store.ErrCorrupt},
		{"two documents", start + `}` + start + `}`, store.ErrCorrupt},
		{"no version", `{"key":{"server":"s"}}`, store.ErrCorrupt},
		{"negative version", `{"version":-1,"key":{"server":"s"}}`, store.ErrCorrupt},
		{"names in another case", `{"Version":1,"Key":{"server":"s"}}`, store.ErrCorrupt},
		{"string for a number", start + `,"retry":{"failures":"1"}}`, store.ErrCorrupt},
		{"fraction for a number", start + `,"retry":{"failures":1.5}}`, store.ErrCorrupt},
		{"number for a string", start + `,"server_url":1}`, store.ErrCorrupt},
		{"string for a struct", start + `,"grant":"secret-token"}`, store.ErrCorrupt},
		{"array for a struct", start + `,"grant":[]}`, store.ErrCorrupt},
		{"object for an array", start + `,"clients":{}}`, store.ErrCorrupt},
		{"null in an array", start + `,"clients":[null]}`, store.ErrCorrupt},
		{"number for a secret", start + `,"grant":{"access_token":12345678}}`, store.ErrCorrupt},
		{"odd object for a secret", start + `,"grant":{"access_token":{"b":""}}}`, store.ErrCorrupt},
		{"no time", start + `,"updated_at":"secret-token"}`, store.ErrCorrupt},
		{"time before the first", start + `,"updated_at":"0000-01-01T00:00:00Z"}`, store.ErrCorrupt},
		{"time after the last", start + `,"updated_at":"9999-12-31T23:59:59-01:00"}`, store.ErrCorrupt},
		{"no base64", start + `,"intent":{"response":{"body":{"base64":"secret-token!"}}}}`, store.ErrCorrupt},
		{"a newer shape", `{"version":2,"key":{"server":"s"},"grant":["secret-token"]}`, ErrNewer},
		{"a newer shape, the version last", `{"grant":["secret-token"],"version":2}`, ErrNewer},
		{"a newer shape, cut off", `{"version":2,"grant":["secret-token"]`, store.ErrCorrupt},
		{"number for a name", start + `,12345678:1}`, store.ErrCorrupt},
		{"a member twice, one wrong", start + `,"server_url":1,"server_url":"s"}`, store.ErrCorrupt},
		{"no value", start + `,"server_url":}`, store.ErrCorrupt},
		{"cut off in a string", start + `,"server_url":"secret-token`, store.ErrCorrupt},
		{"cut off in an array", start + `,"omit_resource":["secret-token"`, store.ErrCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := Decode([]byte(test.data))
			if r != nil || !errors.Is(err, test.want) {
				t.Fatalf("Decode = %v, %v; want %v", r, err, test.want)
			}
			if errors.Is(err, ErrNewer) && errors.Is(err, store.ErrCorrupt) {
				t.Errorf("the error is of both kinds: %v", err)
			}
			for _, secret := range []string{"secret-token", "12345678"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows the data: %v", err)
				}
			}
		})
	}
}

// Of two members of a name the last counts, and nothing of the first is left.
func TestDecodeTakesTheLastOfTwoMembers(t *testing.T) {
	r, err := Decode([]byte(`{"version":1,"key":{"server":"s"},"omit_resource":["a","b"],"omit_resource":["c"],` +
		`"server_url":"first","server_url":null,` +
		`"grant":{"access_token":"first","refresh_token":"r"},"grant":{"access_token":"last"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.ServerURL != "" || r.Grant.AccessToken != "last" || r.Grant.RefreshToken != "" ||
		!slices.Equal(r.OmitResource, []string{"c"}) {
		t.Errorf("decoded as %+v with %+v", r, r.Grant)
	}
}

func TestDecodeKeepsNewerVersion(t *testing.T) {
	r, err := Decode([]byte(`{"version":7,"key":{"server":"s"},"news":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 7 || string(r.Unknown["news"]) != "1" {
		t.Errorf("decoded as %+v", r)
	}
}

func TestEncodeNeverFailsOnATime(t *testing.T) {
	far := time.Unix(1<<40, 0) // an expires_in of some thousand years
	r := &Record{Key: store.Key{Server: "s"}, Grant: &Grant{ExpiresAt: far}}
	data, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Grant.ExpiresAt.Equal(lastTime) {
		t.Errorf("expires at %v", got.Grant.ExpiresAt)
	}
	if r.Version != 0 || got.Version != SchemaVersion {
		t.Errorf("version %d became %d", r.Version, got.Version)
	}
}

func TestEncodeKnownMemberWinsOverUnknown(t *testing.T) {
	r := &Record{Key: store.Key{Server: "s"}, Unknown: Unknown{"version": json.RawMessage("9")}}
	data, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(data), `"version"`) != 1 {
		t.Errorf("encoded as %s", data)
	}
}

func TestEncodeRejectsWhatIsNoJSON(t *testing.T) {
	for name, r := range map[string]*Record{
		"metadata": {AuthorizationServer: &AuthorizationServer{Metadata: json.RawMessage("secret-token")}},
		"unknown":  {Unknown: Unknown{"x": json.RawMessage("secret-token")}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := Encode(r)
			if err == nil {
				t.Fatalf("encoded as %s", data)
			}
			if strings.Contains(err.Error(), "secret-token") {
				t.Errorf("the error shows the data: %v", err)
			}
		})
	}
}

// Only Encode shows secrets: whoever logs or marshals a record by accident does
// not.
func TestRecordPrintsNoSecret(t *testing.T) {
	_, r := golden(t, "testdata/full.json")
	marshalled, err := json.Marshal(r)
	if err == nil {
		t.Error("json.Marshal encoded a record with secrets")
	}
	printed := string(marshalled)
	for _, part := range []any{r.Grant, r.Clients[0], r.Intent.Response} {
		printed += fmt.Sprintf("%v %+v %#v %s", part, part, part, part)
	}
	if !strings.Contains(printed, "[redacted]") {
		t.Error("nothing is redacted")
	}
	for _, secret := range []string{"s3cret", "c2VjcmV0", "7333637265"} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q is to be seen in %s", secret, printed)
		}
	}
}

// A record whose secret is what secrets print as was not written by Encode.
func TestDecodeRejectsPlaceholders(t *testing.T) {
	_, r := golden(t, "testdata/full.json")
	for name, spoil := range map[string]func(*Record){
		"refresh token": func(r *Record) { r.Grant.RefreshToken = "[redacted]" },
		"client secret": func(r *Record) { r.Clients[0].Secret = "[redacted]" },
	} {
		spoiled := r.Clone()
		spoil(spoiled)
		data, err := Encode(spoiled)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(data); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	data, r := golden(t, "testdata/extended.json")
	c := r.Clone()
	c.Grant.AccessToken = "changed"
	c.Clients[0].ID = "changed"
	c.Clients[0].RedirectURIs[0] = "changed"
	c.OmitResource[0] = "changed"
	c.AuthorizationServer.Metadata[0] = '?'
	c.Intent.Response.Status = 999
	visitUnknown(reflect.ValueOf(c), "record", func(_ string, u Unknown) {
		for name := range u {
			u[name][0] = '?'
		}
		u["new"] = nil
	})
	got, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("changing the clone changed the record:\n%s", got)
	}
}
