package handstamp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/secret"
)

const (
	// maxJob bounds what a helper reads, in bytes.
	maxJob = 1 << 20

	// finalSaveTries is how often, a second apart, a helper tries to store a refreshed
	// login that the store does not take.
	finalSaveTries = 60
)

// ServeRefreshHelper does the work of a Client with a [RefreshHelper]: main calls it, with
// standard input and output, when the program was started as the helper's
// Command. newClient gets what [RefreshHelper].Config returned, and returns a Client with the same Store,
// ClientStore, BaseTransport, AuthTransport, Key, Certificate and Grant as the requesting one, and a
// Prompt.OpenURL if it is to open a browser; all else is filled in here, and the Client is closed
// at the end.
//
// It returns when the work is done and its result is stored, whatever becomes of the process
// that started it once the refresh or the login has begun; before that, it ends with that
// process. The end of ctx is for signals: it ends what waits for the
// user, and not a refresh that has begun. The error is the reason why the work could
// not even be begun; everything else is reported to the process that started the helper.
func ServeRefreshHelper(ctx context.Context, in io.Reader, out io.Writer, newClient func(config []byte) (*Client, error)) error {
	outlive()
	var job helperJob
	if err := json.NewDecoder(io.LimitReader(in, maxJob)).Decode(&job); err != nil {
		return fmt.Errorf("handstamp: the helper received no job: %w", err)
	}
	if job.Protocol != helperProtocol || job.Refresh == nil && job.Login == nil {
		return errors.New("handstamp: the helper does not understand its job")
	}
	c, err := newClient(job.Config)
	if err == nil {
		err = job.apply(c)
	}
	if err != nil {
		return err
	}
	r := &helperReporter{out: json.NewEncoder(out)}
	r.report(helperEvent{Begun: true})
	var locked atomic.Bool
	c.locked = func() { locked.Store(true) }
	r.listen(c, job.Events)
	s, err := c.session(job.Server)
	if err != nil {
		return err
	}
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(orphaned)
	}()
	snap, err := job.do(ctx, s, orphaned, &locked)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	_ = c.Close(closing) // of the time that it takes
	r.report(helperEvent{Done: &helperResult{Token: snap != nil, Error: describeError(err)}})
	for range finalSaveTries {
		if s.records.flushUnsaved(closing) == nil || sleep(closing, time.Second) != nil {
			break
		}
	}
	return nil
}

// do is the work. Until it begins to refresh or to sign in, it ends with the process that has
// started it, which has nothing to lose then.
func (j *helperJob) do(ctx context.Context, s *session, orphaned <-chan struct{}, locked *atomic.Bool) (*cachedToken, error) {
	f, err := j.begin(ctx, s)
	if err != nil {
		return nil, err
	}
	ended := ctx.Done()
	for {
		select {
		case <-f.done:
			return f.snap, f.err
		case <-orphaned:
			orphaned = nil
			if !locked.Load() {
				f.cancel()
			}
		case <-ended:
			ended = nil
			f.cancel()
		}
	}
}

// begin starts the work.
func (j *helperJob) begin(ctx context.Context, s *session) (*flight, error) {
	if j.Refresh != nil {
		// The process that started the helper goes on with the token at hand where its callers do:
		// here there is no caller.
		need := tokenNeed{
			rejected: secret.String(j.Refresh.Rejected), force: secret.String(j.Refresh.Force), minTTL: j.Refresh.MinTTL,
			user: j.Refresh.User, ahead: j.Refresh.Ahead,
		}
		f, _, err := s.refresher.flight(ctx, need)
		return f, err
	}
	l := j.Login
	s.config.LoginTimeout = max(s.config.LoginTimeout-time.Since(l.Since), time.Second)
	f, _, err := s.logins.flight(ctx, loginRequest{
		challenge: l.Challenge, scopes: l.Scopes, needed: l.Needed, rejectedToken: secret.String(l.Rejected), force: l.Force, since: l.Since,
	})
	return f, err
}

// helperReporter writes events. It goes on if no process reads them any more.
type helperReporter struct {
	mu  sync.Mutex // held while writing, so that lines do not mix
	out *json.Encoder
}

func (r *helperReporter) report(e helperEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(e)
}

// listen reports what happens to a Client.
func (r *helperReporter) listen(c *Client, events bool) {
	c.Logger, c.Audit = nil, nil // the events go to the process that waits
	c.Hooks = Hooks{
		Refreshed: func(e RefreshEvent) {
			why := errorText(e.Err)
			e.Err = nil
			r.report(helperEvent{Refreshed: &e, Cause: why})
		},
		LoggedIn: func(e LoginEvent) {
			why := errorText(e.Err)
			e.Err = nil
			r.report(helperEvent{LoggedIn: &e, Cause: why})
		},
		Notice: func(_, message string) { r.report(helperEvent{Notice: message}) },
	}
	if events {
		c.Hooks.Event = func(e Event) {
			if e.Step != StepNotice { // which is reported as well
				r.report(helperEvent{Event: &e})
			}
		}
	}
	c.Prompt = Prompt{
		OpenURL: c.Prompt.OpenURL,
		Show:    func(_ context.Context, a AuthorizationRequest) { r.report(helperEvent{Show: &a}) },
		Waiting: func(_ context.Context, a AuthorizationRequest) { r.report(helperEvent{Waiting: &a}) },
	}
}
