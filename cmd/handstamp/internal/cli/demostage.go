package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// stage is where the demo runs: two servers in this process, and a home folder for
// the sessions, which are processes.
type stage struct {
	app    *app
	server *lab.Server
	home   string
	exe    string
	env    environment // of the sessions
}

// newStage starts the servers and makes the home. The caller closes it.
func (d *demoCommand) newStage() (*stage, error) {
	exe, err := d.executable()
	if err != nil {
		return nil, fmt.Errorf("the demo cannot find its own program: %w", err)
	}
	habits := lab.NoneFirst()
	habits.AccessTokenLifetime = time.Hour
	if d.browser {
		habits.Consent = lab.ConsentPage
	}
	server, err := lab.Start(habits)
	if err != nil {
		return nil, fmt.Errorf("the demo cannot start its servers: %w", err)
	}
	home, err := os.MkdirTemp("", "handstamp-demo-")
	if err != nil {
		server.Close()
		return nil, fmt.Errorf("the demo cannot make its folder: %w", err)
	}
	s := &stage{app: d.app, server: server, home: home, exe: exe}
	s.env = d.sessionEnv(s)
	return s, nil
}

// sessionEnv returns the environment of the sessions: ours, without what would
// lead them to the user's own logins.
func (d *demoCommand) sessionEnv(s *stage) environment {
	var env environment
	for _, kv := range d.env {
		name, _, _ := strings.Cut(kv, "=")
		keep := d.browser && (name == "HANDSTAMP_BROWSER" || name == "HANDSTAMP_NO_BROWSER")
		if keep || !strings.HasPrefix(strings.ToUpper(name), "HANDSTAMP_") {
			env = append(env, kv)
		}
	}
	env = env.with("HANDSTAMP_HOME", s.home).with("HANDSTAMP_STORE", storeFile)
	if !d.browser {
		env = env.with("HANDSTAMP_BROWSER", `"`+s.exe+`" demo browser`)
	}
	return env
}

// close ends the servers and removes what the demo left.
func (s *stage) close() {
	s.server.Close()
	if err := os.RemoveAll(s.home); err != nil {
		s.app.err.warn("", "The demo's folder stays: %v", err)
	}
}

// age lets time go by: on the server's clock, and for what is stored by setting
// its times back, as if the login had been so much longer ago.
func (s *stage) age(d time.Duration) error {
	s.server.Advance(d)
	return setBack(context.Background(), s.env, s.server.MCPURL(), d)
}

// sessionOutcome is the result of a scene.
type sessionOutcome struct {
	Number    int            `json:"number"`
	Name      string         `json:"name"`
	Stored    string         `json:"stored_before"`
	Found     string         `json:"state_before"` // as the session itself saw it
	Processes int            `json:"processes"`
	Requests  map[string]int `json:"requests"` // by endpoint
	Browser   int            `json:"browser_openings"`
	Method    string         `json:"token_endpoint_auth_method"`
	Reason    string         `json:"token_endpoint_auth_method_reason"`
	Result    string         `json:"result"`
	Millis    int64          `json:"duration_ms"`
	Failures  []string       `json:"failures,omitempty"`
}

// play plays a scene and checks its cost. The error is one of the demo itself;
// what a session does wrong is in the outcome.
func (s *stage) play(ctx context.Context, number int, sc scene) (*sessionOutcome, error) {
	s.server.Reset()
	if sc.before != nil {
		if err := sc.before(s); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	results, err := s.runSessions(ctx, number, sc)
	if err != nil {
		return nil, err
	}
	counts := s.server.Counts()
	o := &sessionOutcome{
		Number: number, Name: sc.name, Stored: sc.stored, Processes: sc.processes,
		Requests: counts, Browser: counts["authorize"],
		Millis: time.Since(start).Milliseconds(), Failures: cost(counts).check(sc.want),
	}
	good := 0
	for _, r := range results {
		if r.err != nil {
			o.Failures = append(o.Failures, r.err.Error())
			continue
		}
		good++
		o.Method, o.Reason, o.Result, o.Found = r.Method, r.Reason, r.Greeting, r.Found
	}
	if sc.processes > 1 {
		o.Result = fmt.Sprintf("%d of %d succeeded", good, sc.processes)
	}
	if audit := s.server.Audit(); audit.Reuses > 0 {
		o.Failures = append(o.Failures,
			"a refresh token was used twice, and the server revoked the login")
	}
	return o, nil
}
