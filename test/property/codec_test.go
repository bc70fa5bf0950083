package property

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// anyRecord generates records with every field of every struct.
func anyRecord() *rapid.Generator[record.Record] {
	config := rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time](): rapid.Custom(func(t *rapid.T) any {
				seconds := rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds")
				return time.Unix(seconds, rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds")).UTC()
			}),
			reflect.TypeFor[secret.String](): rapid.Custom(func(t *rapid.T) any {
				return secret.String(rapid.SliceOf(rapid.Byte()).Draw(t, "secret"))
			}),
			reflect.TypeFor[json.RawMessage](): rapid.Custom(func(t *rapid.T) any {
				if rapid.Bool().Draw(t, "absent") {
					return json.RawMessage(nil)
				}
				document := anyJSON(t)
				if string(document) == "null" {
					return json.RawMessage(nil) // null is absent
				}
				return document
			}),
			reflect.TypeFor[record.Unknown](): rapid.Custom(func(t *rapid.T) any {
				var u record.Unknown
				for range rapid.IntRange(0, 2).Draw(t, "unknown members") {
					if u == nil {
						u = record.Unknown{}
					}
					u["x_"+rapid.String().Draw(t, "name")] = anyJSON(t)
				}
				return u
			}),
			reflect.TypeFor[[]string](): rapid.Custom(func(t *rapid.T) any {
				return append([]string(nil), rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "strings")...)
			}),
		},
		Fields: map[reflect.Type]map[string]*rapid.Generator[any]{
			reflect.TypeFor[record.Record](): {
				"Version":  rapid.IntRange(1, 3).AsAny(),
				"Revision": rapid.Just(store.Revision("")).AsAny(),
				"Changes":  rapid.Just(uint64(0)).AsAny(),
			},
			reflect.TypeFor[store.Key](): {"Server": rapid.StringN(1, 40, -1).AsAny()},
		},
	}
	client := rapid.MakeCustom[record.Client](config)
	config.Types[reflect.TypeFor[[]*record.Client]()] = rapid.Custom(func(t *rapid.T) any {
		var clients []*record.Client
		for range rapid.IntRange(0, 2).Draw(t, "clients") {
			c := client.Draw(t, "client")
			clients = append(clients, &c)
		}
		return clients
	})
	cooldown := rapid.MakeCustom[record.Cooldown](config)
	config.Types[reflect.TypeFor[[]record.Cooldown]()] = rapid.Custom(func(t *rapid.T) any {
		return append([]record.Cooldown(nil), rapid.SliceOfN(cooldown, 0, 2).Draw(t, "cooldowns")...)
	})
	login := rapid.MakeCustom[record.AutomaticLogin](config)
	config.Types[reflect.TypeFor[[]record.AutomaticLogin]()] = rapid.Custom(func(t *rapid.T) any {
		return append([]record.AutomaticLogin(nil), rapid.SliceOfN(login, 0, 2).Draw(t, "logins")...)
	})
	nonce := rapid.MakeCustom[record.Nonce](config)
	config.Types[reflect.TypeFor[[]record.Nonce]()] = rapid.Custom(func(t *rapid.T) any {
		return append([]record.Nonce(nil), rapid.SliceOfN(nonce, 0, 2).Draw(t, "nonces")...)
	})
	learned := rapid.MakeCustom[record.Learned](config)
	config.Types[reflect.TypeFor[[]record.Learned]()] = rapid.Custom(func(t *rapid.T) any {
		return append([]record.Learned(nil), rapid.SliceOfN(learned, 0, 2).Draw(t, "learned")...)
	})
	return rapid.MakeCustom[record.Record](config)
}

func anyJSON(t *rapid.T) json.RawMessage {
	return json.RawMessage(rapid.SampledFrom([]string{
		`null`, `true`, `""`, `"<&>\u2028"`, `123456789012345678901234567890`, `1e999`, `-0.0`,
		`{}`, `[]`, `[1,{"a":[null]}]`, `{"b":1,"a":2,"a":3}`,
	}).Draw(t, "document"))
}

// TestCodecRoundTrip encodes and decodes records with every field of every struct.
func TestCodecRoundTrip(t *testing.T) {
	records := anyRecord()
	rapid.Check(t, func(t *rapid.T) {
		r := records.Draw(t, "record")
		data, err := record.Encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := record.Decode(data)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if !reflect.DeepEqual(got, &r) {
			t.Fatalf("came back different:\n%s", data)
		}
		if clone := r.Clone(); !reflect.DeepEqual(clone, &r) {
			t.Fatal("the clone is different")
		}
	})
}
