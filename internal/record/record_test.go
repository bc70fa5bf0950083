package record

import (
	"slices"
	"testing"
)

func TestAddClient(t *testing.T) {
	bound := &Grant{Issuer: "as", ClientID: "old", RefreshToken: "r"}
	old := &Client{Issuer: "as", ID: "old"}
	older := &Client{Issuer: "as", ID: "older"}
	foreign := &Client{Issuer: "other", ID: "old"}
	tests := []struct {
		name    string
		grant   *Grant
		clients []*Client
		add     *Client
		want    []string
	}{
		{"first", nil, nil, &Client{Issuer: "as", ID: "new"}, []string{"as new"}},
		{"unbound goes", nil, []*Client{older, old}, &Client{Issuer: "as", ID: "new"}, []string{"as new"}},
		{"bound stays", bound, []*Client{older, old}, &Client{Issuer: "as", ID: "new"}, []string{"as old", "as new"}},
		{"bound by an access token only goes", &Grant{Issuer: "as", ClientID: "old", AccessToken: "a"},
			[]*Client{old}, &Client{Issuer: "as", ID: "new"}, []string{"as new"}},
		{"bound is replaced by itself", bound, []*Client{old}, &Client{Issuer: "as", ID: "old"}, []string{"as old"}},
		{"of another issuer stays", bound, []*Client{foreign, old}, &Client{Issuer: "as", ID: "new"},
			[]string{"other old", "as old", "as new"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &Record{Grant: test.grant, Clients: slices.Clone(test.clients)}
			r.AddClient(test.add)
			var got []string
			for _, c := range r.Clients {
				got = append(got, c.Issuer+" "+c.ID)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("clients are %q, want %q", got, test.want)
			}
			if r.NewestClient(test.add.Issuer) != test.add {
				t.Error("it is not the newest")
			}
		})
	}
}

func TestClientLookup(t *testing.T) {
	first, second := &Client{Issuer: "as", ID: "1"}, &Client{Issuer: "as", ID: "2"}
	other := &Client{Issuer: "other", ID: "1"}
	r := &Record{Clients: []*Client{first, second, other}}
	if r.GrantClient() != nil {
		t.Error("a client is bound without a grant")
	}
	r.Grant = &Grant{Issuer: "as", ClientID: "1"}
	for name, test := range map[string]struct{ got, want *Client }{
		"of the grant":      {r.GrantClient(), first},
		"by issuer and id":  {r.Client("other", "1"), other},
		"unknown":           {r.Client("other", "2"), nil},
		"newest":            {r.NewestClient("as"), second},
		"newest of nothing": {r.NewestClient("none"), nil},
	} {
		if test.got != test.want {
			t.Errorf("client %s is %v", name, test.got)
		}
	}
}
