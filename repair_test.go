package handstamp_test

import (
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A repair reports no refresh that has not been: the login may have ended since, and a service needs
// none, since its next request obtains a token.
func TestRepairWithoutARefresh(t *testing.T) {
	ended := testenv.New(t, lab.Habits{})
	ended.MustLogin(ended.Session())
	ended.Expire()
	ended.Lab.RevokeFamilies()

	m := machine{secret: "s", method: lab.MethodPost}
	service := m.start(t)
	service.MustCall(m.session(service))
	service.Expire()

	for name, c := range map[string]struct {
		w      *testenv.Env
		client *handstamp.Client
		want   error
		then   handstamp.State
	}{
		"the login has ended":    {ended, ended.Session(), handstamp.ErrLoginRequired, handstamp.StateRevoked},
		"the token of a service": {service, m.session(service), nil, handstamp.StateRefreshable},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := c.client.Inspect(t.Context(), c.w.Lab.MCPURL())
			if err != nil || !in.Refreshable {
				t.Fatalf("%+v, %v", in, err)
			}
			done, err := c.client.Repair(t.Context(), c.w.Lab.MCPURL(), in)
			if len(done) > 0 || (err == nil) != (c.want == nil) {
				t.Errorf("repaired %q: %v", done, err)
			}
			if c.want != nil {
				testenv.WantKind(t, err, c.want)
			}
			if status, err := c.client.Status(t.Context(), c.w.Lab.MCPURL()); err != nil || status.State != c.then {
				t.Errorf("the state is then %+v: %v", status, err)
			}
		})
	}
	service.MustCall(m.session(service))
}

// An Inspection repairs what it is of: that of another server or profile does not have a token refreshed
// that works.
func TestRepairWithAnotherInspection(t *testing.T) {
	w, other := testenv.New(t, lab.Habits{}), testenv.New(t, lab.Habits{})
	w.MustLogin(w.Session())
	other.MustLogin(other.Session())
	other.Lab.RevokeAccessTokens()
	older(other)
	ofOther, err := other.Session().Inspect(t.Context(), other.Lab.MCPURL())
	if err != nil || !ofOther.MCP.Rejected || !ofOther.Refreshable {
		t.Fatalf("%+v, %v", ofOther, err)
	}
	colleague := w.Session()
	colleague.Profile = "colleague"
	ofColleague, err := colleague.Inspect(t.Context(), w.Lab.MCPURL())
	if err != nil {
		t.Fatal(err)
	}
	w.Lab.Reset()
	for name, in := range map[string]*handstamp.Inspection{
		"none": nil, "an empty one": {}, "another server's": ofOther, "another profile's": ofColleague,
	} {
		t.Run(name, func(t *testing.T) {
			done, err := w.Session().Repair(t.Context(), w.Lab.MCPURL(), in)
			testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
			if len(done) > 0 {
				t.Errorf("repaired %q", done)
			}
		})
	}
	w.WantCounts(map[string]int{"token:refresh": 0})
}

// An Inspection that is not of [handstamp.Client.Inspect] knows no secrets.
func TestSecretsOfAnEmptyInspection(t *testing.T) {
	if new(handstamp.Inspection).ContainsSecret("text") {
		t.Error("the text is taken for a secret")
	}
}
