package handstamp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// RefreshHelper has each refresh, and with Logins also each login that a rejected request starts,
// carried out by a process of its own, in a session of its own. If a process is killed after the
// authorization server has rotated a refresh token and before the new one is stored, the login is
// lost. Programs that an MCP host starts and kills as it likes, such as stdio MCP servers, are often
// killed just then, since they refresh when they start. The helper goes on.
//
// It is a program, usually the same one, that calls ServeRefreshHelper. All it needs comes on its
// standard input; nothing is on its command line. It shares the Store, which must be one that
// processes can share, such as store/filestore (without Volatile).
//
// If a helper cannot be started, or ends before it is done, this process does the work.
type RefreshHelper struct {
	// Command is the program and its arguments.
	Command []string

	// Env is its environment, as in os/exec. Nil is this process's.
	Env []string

	// Config, if set, returns what is handed to the function that [ServeRefreshHelper] calls for a
	// Client. It may hold secrets. It is called for each helper that is started, by any goroutine.
	Config func() []byte

	// Logins has logins that a rejected request starts carried out by a helper, too: the listener
	// that the browser comes back to then outlives this process. Prompt.Show and Prompt.Waiting
	// are called in this process, Prompt.OpenURL in the helper. This process carries out the logins
	// of Client.Login, since the user is here, and those with OnRegister or Prompt.Authorize, which
	// no other process can call.
	Logins bool
}

// helperStartTimeout bounds the wait for a helper's first event: a command that is not a helper may
// never write anything.
const helperStartTimeout = 5 * time.Second

// errHelper is the error of a helper that did not finish.
var errHelper = errors.New("handstamp: the helper did not finish")

// request starts a helper and returns how its work ended. The end of wait, a part of ctx, ends a
// helper that has sent no request yet, and the end of ctx only the call. Events on the way go to
// report.
func (h *RefreshHelper) request(
	ctx, wait context.Context, job *helperJob, report func(helperEvent),
) (*helperResult, error) {
	if len(h.Command) == 0 {
		return nil, errHelper
	}
	job.Protocol = helperProtocol
	if h.Config != nil {
		job.Config = h.Config()
	}
	line, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	input, output, err := h.start(append(line, '\n'))
	if err != nil {
		return nil, err
	}
	defer input.Close() // a helper that still waits for its turn ends with that
	defer context.AfterFunc(wait, func() { input.Close() })()
	defer output.Close()
	stop := context.AfterFunc(ctx, func() { output.Close() })
	defer stop()
	silent := time.AfterFunc(helperStartTimeout, func() { output.Close() })
	defer silent.Stop()
	begun := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		var e helperEvent
		if json.Unmarshal(lines.Bytes(), &e) != nil || !begun && !e.Begun {
			break // not a helper
		}
		switch {
		case e.Done != nil:
			return e.Done, nil
		case e.Begun:
			begun = true
			silent.Stop()
		default:
			report(e)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errHelper
}

// start starts the program with its job and returns its input, whose end tells it
// that no process waits any more, and its output.
func (h *RefreshHelper) start(job []byte) (input, output *os.File, err error) {
	in, inW, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	out, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, nil, err
	}
	defer outW.Close()
	for _, attr := range detached() {
		cmd := exec.Command(h.Command[0], h.Command[1:]...)
		cmd.Env, cmd.Stdin, cmd.Stdout, cmd.SysProcAttr = h.Env, in, outW, attr
		if err = cmd.Start(); err == nil {
			go func() { _ = cmd.Wait() }()
			go func() { _, _ = inW.Write(job) }() // it ends if the helper dies, for in is closed here
			return inW, out, nil
		}
	}
	inW.Close()
	out.Close()
	return nil, nil, err
}

// helperSignsIn reports whether logins that a rejected request starts are a helper's. It has no grant
// of the application, and does not sign in at a company's identity provider.
func (l *logins) helperSignsIn(ctx context.Context) bool {
	cfg := l.config
	if cfg.RefreshHelper == nil || !cfg.RefreshHelper.Logins || cfg.OnRegister != nil || cfg.Prompt.Authorize != nil ||
		cfg.identityProvider || cfg.Grant != nil {
		return false
	}
	rec, err := l.records.load(ctx)
	return err != nil || !cfg.unattended(rec)
}

// refreshByHelper has the refresh done by a helper. It reports false where the
// work is left to be done here. One process starts a helper; the others wait
// for its result.
func (r *refresher) refreshByHelper(ctx, wait context.Context, why tokenNeed) (snap *cachedToken, done bool, err error) {
	began, limit := time.Now(), lockTimeout
	if r.config.LockTimeout > 0 {
		limit = helperLockTimeout(min(r.config.LockTimeout, lockTimeout))
	}
	waiting, cancel := context.WithTimeout(wait, limit)
	defer cancel()
	unlock, rec, err := r.records.lockUnless(waiting, store.LockRefreshHelper, func(rec *record.Record) bool {
		return decide(rec, why, r.config, time.Now()).action == useStored
	})
	switch {
	case err != nil && wait.Err() != nil && ctx.Err() == nil:
		return nil, true, closedError()
	case err != nil:
		return nil, false, nil // a helper that hangs is no reason to hang with it
	case unlock == nil:
		return r.tokens.use(rec), true, nil
	}
	held, report := holding(r.credential)
	defer report()
	defer unlock()
	if decide(rec, why, r.config, time.Now()).action != requestToken {
		return nil, false, nil // nothing to refresh
	}
	job := &helperJob{Refresh: &helperRefresh{
		Rejected: why.rejected.Reveal(), Force: why.force.Reveal(), MinTTL: why.minTTL,
		User: why.user, Ahead: why.ahead,
	}}
	if r.config.LockTimeout > 0 {
		job.LockTimeout = max(r.config.LockTimeout-time.Since(began), time.Second)
	}
	snap, own, done, err := helperWork{held}.do(ctx, wait, job)
	if snap != nil && own && why.rejected != "" {
		r.history.recordReplacement(snap.token)
	}
	return snap, done, err
}

// helperLockTimeout returns which part of a limit is for waiting for another process's
// helper. The rest is for the refresh lock, which a helper that is gone has left.
func helperLockTimeout(limit time.Duration) time.Duration { return limit * 2 / 3 }

// loginByHelper has the login carried out by a helper, and returns the token that it stored. It
// reports false where the login is left to be done here.
func (l *logins) loginByHelper(ctx context.Context, req loginRequest, served func(*record.Record) bool) (snap *cachedToken, done bool, err error) {
	unlock, rec, err := l.lock(ctx, store.LockLoginHelper, req, served)
	if err != nil {
		return nil, true, l.endError(ctx, err)
	}
	held, report := holding(l.credential)
	defer report()
	if unlock != nil {
		defer unlock()
	}
	if unlock == nil || served(rec) {
		return l.tokens.use(rec), true, nil
	}
	if err := l.failureSince(rec, req); err != nil {
		return nil, true, err
	}
	job := &helperJob{LockTimeout: l.config.LockTimeout, Login: &helperLogin{
		Challenge: req.challenge, Scopes: req.scopes, Needed: req.needed,
		Rejected: req.rejectedToken.Reveal(), Force: req.force, Since: req.since,
	}}
	snap, own, done, err := helperWork{held}.do(ctx, ctx, job)
	if done && err != nil {
		l.history.recordLogin(rec, req, err)
		return nil, true, l.endError(ctx, err)
	}
	if !own {
		return snap, done, nil
	}
	if rec, err = l.records.load(ctx); err == nil && rec.Grant != nil {
		l.history.recordLogin(rec, req, nil)
	}
	return snap, done, nil
}

// helperWork is work for a credential that a helper does.
type helperWork struct{ *credential }

// do has a helper do a job. The token is its own unless another process had stored it. It reports
// false where the work is left to be done here.
func (w helperWork) do(
	ctx, wait context.Context, job *helperJob,
) (token *cachedToken, own, done bool, err error) {
	job.Server, job.Events = w.serverURL, w.events.listens()
	w.events.report(StepHelper, "a process that survives this one does the work")
	var result *helperResult
	job.Client, err = describe((*Client)(w.config))
	if err == nil {
		result, err = w.config.RefreshHelper.request(ctx, wait, job, func(e helperEvent) {
			own = own || (e.Refreshed != nil || e.LoggedIn != nil) && e.Cause == ""
			w.pass(ctx, e)
		})
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, false, true, ctx.Err()
	case err != nil:
		w.events.fail(StepHelper, err, "there is no helper; the work is done here")
		return nil, false, false, nil
	case result.Error != nil:
		return nil, false, true, result.Error.restore(w.serverURL)
	case !result.Token:
		w.tokens.current.Store(nil)
		return nil, false, true, nil
	}
	rec, err := w.records.load(ctx)
	if err != nil {
		return nil, false, true, err
	}
	if token = w.tokens.use(rec); token != nil && own {
		token.issuedHere.Store(true)
	}
	return token, own, true, nil
}

// pass passes an event of a helper on, as if it had happened here.
func (w helperWork) pass(ctx context.Context, e helperEvent) {
	var cause error
	if e.Cause != "" {
		cause = errors.New(e.Cause)
	}
	switch {
	case e.Event != nil:
		w.events.hand(*e.Event)
	case e.Notice != "":
		w.notice("%s", e.Notice)
	case e.Refreshed != nil:
		e.Refreshed.Err = cause
		w.outcomes.refreshed(*e.Refreshed)
	case e.LoggedIn != nil:
		e.LoggedIn.Err = cause
		w.outcomes.loggedIn(*e.LoggedIn)
	case e.Show != nil && w.config.Prompt.Show != nil:
		w.config.Prompt.Show(ctx, *e.Show)
	case e.Waiting != nil && w.config.Prompt.Waiting != nil:
		w.config.Prompt.Waiting(ctx, *e.Waiting)
	}
}
