package suite_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/handstamp/handstamp/lab/suite/internal/mutant"
)

// client is the mutant client with a defect.
func client(d mutant.Defect) suite.Client {
	return &suite.Func{Name: "mutant: " + string(d), Run: func(ctx context.Context, s suite.Session) error {
		c := &mutant.Client{Defect: d, URL: s.URL, Home: s.Home, Open: s.Open, Setup: s.Setup}
		return c.Run(ctx)
	}}
}

// TestHonestClient runs the mutant client without a defect through every cell:
// the suite asks nothing that a client of a few hundred lines cannot do.
func TestHonestClient(t *testing.T) {
	if testing.Short() {
		t.Skip("it plays every cell, a minute of processor time")
	}
	o := suite.Options{
		Client: client(mutant.None), Ways: lab.Ways(), Processes: []int{1, 8},
	}
	if testenv.RaceDetector {
		o.Conditions, o.Processes = []suite.Condition{suite.Warm, suite.Expired}, []int{1}
	}
	suite.Test(t, o)
}

// TestMutants switches one defect on at a time, each of which turns cells red
// that a client without it passes.
func TestMutants(t *testing.T) {
	testenv.Heavy(t, "it plays 130 cells, a minute of processor time")
	const (
		warm, expired, early = suite.Warm, suite.Expired, suite.RejectedEarly
		gone, forgotten      = suite.GrantRevoked, suite.ClientForgotten
	)
	type cell struct {
		personality string
		condition   suite.Condition
		processes   int
		why         string // what the failure says
	}
	for defect, cells := range map[mutant.Defect][]cell{
		mutant.FirstListed:         {{"none-first", expired, 1, "tabs"}, {"none-first", early, 20, "tabs"}},
		mutant.MethodGuessed:       {{"none-first", warm, 1, "token requests in the first session"}},
		mutant.MethodNotStored:     {{"none-first", expired, 1, "tabs"}, {"lists-basic-takes-post", early, 1, "token requests"}},
		mutant.SecretDropped:       {{"registers-otherwise", expired, 1, "tabs"}, {"secret-no-method", early, 1, "tabs"}},
		mutant.EndedSecretUsed:     {{"expiring-secret", suite.TwoDays, 1, "used after its end"}},
		mutant.BasicUnencoded:      {{"registers-otherwise", warm, 1, "the first session did not get through"}},
		mutant.BothMethods:         {{"none-first", warm, 1, "did not get through"}, {"registers-otherwise", warm, 1, "did not get through"}},
		mutant.RetriesAll:          {{"rotates-strictly", gone, 1, "token requests"}, {"forgot-client-token", forgotten, 1, "token requests"}},
		mutant.OldRefreshDropped:   {{"keeps-refresh-token", suite.TwoDays, 1, "a second time"}, {"google-offline", early, 1, "a second time"}},
		mutant.RefreshUnlocked:     {{"rotates-strictly", expired, 20, "was sent again"}, {"rotates-strictly", early, 20, "was sent again"}},
		mutant.DeletesUncompared:   {{"rotates-strictly", expired, 20, "was sent again"}, {"none-first", early, 20, "tabs"}},
		mutant.NoResourceRefresh:   {{"resource-demanded", expired, 1, "tabs"}, {"resource-query", early, 1, "tabs"}},
		mutant.SlashAdded:          {{"resource-origin", warm, 1, "did not get through"}},
		mutant.TroubleMeansLogin:   {{"flaky", expired, 1, "tabs"}, {"flaky", suite.TwoDays, 1, "tabs"}},
		mutant.IssIgnored:          {{"iss-wrong", warm, 1, "got through, and must not"}, {"iss-missing", warm, 1, "token requests in the first session"}},
		mutant.StateUnchecked:      {{"forged-callback", warm, 1, "did not get through"}},
		mutant.PortChanged:         {{"exact-redirect", gone, 1, "registrations"}},
		mutant.PortInsisted:        {{"port-taken", gone, 1, "got through"}, {"port-taken", forgotten, 20, "got through"}},
		mutant.NoPreflight:         {{"forgot-client-page", forgotten, 1, "got through"}},
		mutant.OpensAnything:       {{"hostile-script", warm, 1, "a browser was to open"}, {"hostile-file", warm, 1, "a browser was to open"}},
		mutant.SecretsToNewIssuer:  {{"issuer-moved", warm, 1, "was sent to the new one"}},
		mutant.OneGrantRegistered:  {{"grants-enforced", expired, 1, "tabs"}},
		mutant.OfflineNotRequested: {{"offline-listed", expired, 1, "tabs"}},
		mutant.LoginUnlocked:       {{"rotates-strictly", gone, 20, "tabs"}},
		mutant.UnionForgotten:      {{"step-up", gone, 1, "tabs"}},
		mutant.BasicPreferred:      {{"form-client-id", warm, 1, "did not get through"}, {"form-client-id-basic", warm, 1, "did not get through"}},
		mutant.FormIDForgotten:     {{"form-client-id-basic", expired, 1, "tabs"}, {"form-client-id-basic", early, 20, "tabs"}},
		mutant.OneWordForDead:      {{"dead-elsewhere", gone, 1, "got through"}, {"dead-in-other-words", gone, 1, "got through"}, {"dead-nested", gone, 20, "got through"}},
		mutant.EmptyMeansClient:    {{"dead-silently", gone, 1, "registrations"}},
		mutant.OneWordForGone:      {{"client-unauthorized", forgotten, 1, "got through"}},
		mutant.ScopeNever:          {{"refresh-scope-wanted", expired, 1, "tabs"}, {"refresh-scope-wanted", early, 1, "tabs"}},
		mutant.ScopeAlways:         {{"refresh-scope-rejected", expired, 1, "tabs"}},
		mutant.FreshNotRepeated:    {{"fresh-token-waits", warm, 1, "token requests in the first session"}, {"fresh-token-waits", expired, 1, "tabs"}},
		mutant.ChallengeTrusted:    {{"challenge-elsewhere", warm, 1, "did not get through"}},
		mutant.FirstServerOnly:     {{"issuers-several", warm, 1, "did not get through"}},
		mutant.FirstDocumentOnly:   {{"metadata-split", warm, 1, "did not get through"}},
		mutant.RedirectsIgnored:    {{"slash-redirect", warm, 1, "did not get through"}, {"slash-redirect", early, 1, "did not get through"}},
		mutant.ListMeansProof:      {{"dpop-listed-only", warm, 1, "did not get through"}},
		mutant.KeyNotStored:        {{"dpop-required", warm, 1, "tabs"}, {"dpop-offered", expired, 1, "tabs"}},
		mutant.SentAsBearer:        {{"dpop-offered", warm, 1, "sent as Bearer"}, {"dpop-challenged", warm, 1, "did not get through"}},
		mutant.ProofIDRepeated:     {{"dpop-required", warm, 1, "proof was sent again"}},
		mutant.NonceIgnored:        {{"dpop-nonces", warm, 1, "did not get through"}},
		mutant.BoundUnread:         {{"dpop-registered", warm, 1, "did not get through"}},
		mutant.NotPushed:           {{"par-required", warm, 1, "did not get through"}},
		mutant.ACRIgnored:          {{"user-authentication", warm, 1, "did not get through"}},
		mutant.ACRForgotten:        {{"user-authentication", gone, 1, "tabs"}},
		mutant.TokenNotStored:      {{"machine-secret", warm, 1, "token requests"}, {"workload", expired, 20, "token requests"}},
		mutant.BrowserAnyway:       {{"machine-secret", forgotten, 1, "tabs"}},
		mutant.AssertionRepeated:   {{"machine-key", expired, 1, "was sent again"}, {"key-configured", early, 1, "was sent again"}},
		mutant.AudienceOfEndpoint:  {{"machine-key", warm, 1, "did not get through"}},
		mutant.SourceReadOnce:      {{"workload", expired, 1, "got through"}},
		mutant.CallerForwarded:     {{"token-exchange", warm, 1, "not for it"}},
		mutant.CompanyForgotten:    {{"enterprise", early, 1, "tabs"}},
		mutant.PolledTooFast:       {{"device-code", warm, 1, "before its interval"}},
		mutant.KeyAtLoginOnly:      {{"key-configured", expired, 1, "tabs"}},
		mutant.AliasesIgnored:      {{"certificate", warm, 1, "did not get through"}},
		mutant.PostBecomesGet:      {{"slash-redirect-301", warm, 1, "did not get through"}},
	} {
		t.Run(string(defect), func(t *testing.T) {
			t.Parallel()
			for _, want := range cells {
				says := func(red *suite.Cell) bool {
					return slices.ContainsFunc(red.Failures, func(f string) bool { return strings.Contains(f, want.why) })
				}
				// A session with a defect may wait until its time is over, which is short for that reason;
				// on a busy machine it may be over before the defect shows.
				timeout := 5 * time.Second
				red := play(t, defect, want.personality, want.condition, want.processes, timeout)
				for ; !says(red) && timeout < time.Minute; timeout *= 3 {
					red = play(t, defect, want.personality, want.condition, want.processes, 3*timeout)
				}
				if !says(red) {
					t.Errorf("%s says %q, not %q", red.Name(), red.Failures, want.why)
				}
				if green := play(t, mutant.None, want.personality, want.condition, want.processes, time.Minute); !green.Passed() {
					t.Errorf("%s fails without the defect: %q", green.Name(), green.Failures)
				}
			}
		})
	}
}

// TestWays leaves out the personalities that a client is not configured for.
func TestWays(t *testing.T) {
	one := suite.Options{Conditions: []suite.Condition{suite.Warm}, Processes: []int{1}}
	some, all := one, one
	some.Ways, all.Ways = []string{lab.WayWorkload}, lab.Ways()
	if n := len(lab.Personalities()); all.Cells() != n {
		t.Errorf("%d cells for a client that can do all, want %d", all.Cells(), n)
	}
	if n := one.Cells(); some.Cells() != n+1 || n >= all.Cells() {
		t.Errorf("%d cells without configuration, %d with a workload's, %d in all", n, some.Cells(), all.Cells())
	}
}

// TestClaims does not believe a client that has called no tool, or too few.
func TestClaims(t *testing.T) {
	honest := client(mutant.None)
	var first sync.Once
	for name, run := range map[string]func(context.Context, suite.Session) error{
		"never calls": func(context.Context, suite.Session) error { return nil },
		"calls once": func(ctx context.Context, s suite.Session) (err error) {
			first.Do(func() { err = honest.Session(ctx, s) })
			return err
		},
	} {
		p, _ := lab.FindPersonality("none-first")
		report, err := suite.Run(t.Context(), suite.Options{
			Client: &suite.Func{Name: name, Run: run}, Personalities: []lab.Personality{p},
			Conditions: []suite.Condition{suite.Warm}, Processes: []int{3}, Dir: t.TempDir(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if cell := report.Cells[0]; cell.Passed() || !strings.Contains(cell.Failures[0], "has not carried out") {
			t.Errorf("a client that %s: %q", name, cell.Failures)
		}
	}
}

// play plays one cell.
func play(
	t *testing.T, d mutant.Defect, personality string, c suite.Condition, processes int, timeout time.Duration,
) *suite.Cell {
	t.Helper()
	p, ok := lab.FindPersonality(personality)
	if !ok {
		t.Fatalf("there is no %s", personality)
	}
	report, err := suite.Run(t.Context(), suite.Options{
		Client: client(d), Personalities: []lab.Personality{p}, Conditions: []suite.Condition{c}, Processes: []int{processes},
		Timeout: timeout, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return report.Cells[0]
}
