// Package proctest has what the tests need of processes: it finds secrets where tests must not have
// them, in texts and in the arguments and environments of the processes that a test run starts,
// and waits for what they bring about. Only tests import it.
package proctest

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sampler notes the arguments and the environment of every process that comes
// from this one, whoever started it, while the tests run, and looks for secrets
// in them afterwards. It polls, so that a process which lives for less than a few
// milliseconds may be missed. Where the system is not Linux it does nothing.
//
// The zero value is ready to use. The fields are set before Run; the methods may
// be called from any number of goroutines.
type Sampler struct {
	// Inputs names variables in which a test hands a secret to a process that it
	// starts itself. In the processes which that one starts they are no excuse.
	Inputs []string

	// Outputs names variables in which a process hands a token on, because it was
	// asked to. They are an excuse everywhere.
	Outputs []string

	// Shape matches what is a secret wherever it was issued: by a server in
	// another process, too. Nil means nothing.
	Shape *regexp.Regexp

	mu      sync.Mutex
	mark    string                                 // guarded by mu; value of markVariable
	secrets []string                               // guarded by mu
	seen    map[note]string                        // guarded by mu; the program that carried it
	count   struct{ looks, processes, sealed int } // guarded by mu
	gap     time.Duration                          // guarded by mu; the longest time between two looks
}

// note is a text that a process carries.
type note struct {
	variable bool // NAME=value, not an argument
	text     string
}

// markVariable marks the processes that come from a run, so that one whose
// parent died before the first sample is known all the same. Its name is none
// that the product takes out of an environment.
const markVariable = "PROCTEST_RUN"

// Service is a variable, as os.Environ has it, for the environment of a server that a test starts
// beside the product, which gives it nothing to carry: neither it nor what it starts is looked at.
const Service = "PROCTEST_SERVICE=1"

// every is the time between two looks. A look takes a tenth of a millisecond on
// an idle machine, and a program at least twice the time between two.
const every = 4 * time.Millisecond

// Add adds secrets to look for.
func (s *Sampler) Add(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, secrets...)
}

// Watch adds every secret that a server has issued by the end of the test.
func (s *Sampler) Watch(t testing.TB, server interface{ Secrets() []string }) {
	t.Cleanup(func() { s.Add(server.Secrets()...) })
}

// Mark is a variable, as os.Environ has it, for the environments of processes
// that do not inherit this one's. Before Run it is empty.
func (s *Sampler) Mark() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mark == "" {
		return ""
	}
	return markVariable + "=" + s.mark
}

// Main is what testing.M is, as far as TestMain needs it.
type Main interface{ Run() int }

// Wrap returns m with the sampler at work while it runs. Its exit code is 1 if a
// secret was found, or if a process that carries one on purpose was not.
func (s *Sampler) Wrap(m Main) Main { return wrapped{s, m} }

type wrapped struct {
	s *Sampler
	m Main
}

// Run implements Main.
func (w wrapped) Run() int {
	stop, err := w.s.start()
	if err != nil {
		code := w.m.Run()
		if testing.Verbose() {
			fmt.Fprintln(os.Stderr, "proctest: no process was looked at:", err)
		}
		return code
	}
	if err := w.s.control(); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "proctest:", err)
		return 1
	}
	code := w.m.Run()
	stop()
	found := w.s.find()
	for _, f := range found {
		fmt.Fprintln(os.Stderr, "proctest:", f)
	}
	if testing.Verbose() {
		fmt.Fprintln(os.Stderr, "proctest:", w.s.summary())
	}
	if len(found) > 0 {
		return cmp.Or(code, 1)
	}
	return code
}

// controlTimeout bounds the wait for the control to be seen.
const controlTimeout = time.Minute

// control starts a process that carries a secret in its arguments and another
// one in its environment, and waits until both are found: without that the
// silence would mean nothing.
func (s *Sampler) control() error {
	argument, variable := "argument-"+rand.Text(), "variable-"+rand.Text()
	cmd := exec.Command("sh", "-c", "read line", "sh", "--token="+argument)
	cmd.Env = append(os.Environ(), "PROCTEST_CONTROL="+variable)
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		input.Close()
		_ = cmd.Wait() // it has read no line
	}()
	searcher := NewSearcher([]string{argument, variable})
	for deadline := time.Now().Add(controlTimeout); time.Now().Before(deadline); time.Sleep(every) {
		if len(s.search(searcher)) == 2 {
			return nil
		}
	}
	return errors.New("a process that carries secrets was not seen")
}

// note notes what a process carries.
func (s *Sampler) note(args, environ []string, direct bool) {
	program := "a process"
	if len(args) > 0 {
		program = filepath.Base(args[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := func(n note) {
		if _, ok := s.seen[n]; !ok && n.text != "" {
			s.seen[n] = program
		}
	}
	for _, arg := range args {
		keep(note{text: arg})
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.Contains(s.Outputs, name) && !(direct && slices.Contains(s.Inputs, name)) {
			keep(note{true, kv})
		}
	}
}

// find returns a sentence for each secret that a process has carried.
func (s *Sampler) find() []string {
	s.mu.Lock()
	secrets := slices.Clone(s.secrets)
	s.mu.Unlock()
	slices.Sort(secrets)
	return s.search(NewSearcher(slices.Compact(secrets)))
}

// maxShown is how much of a secret is shown: enough to find it.
const maxShown = 12

func (s *Sampler) search(searcher *Searcher) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for n, program := range s.seen {
		hits := searcher.Find(n.text)
		if s.Shape != nil {
			if match := s.Shape.FindString(n.text); match != "" {
				hits[match] = true
			}
		}
		where := "an argument"
		if name, _, ok := strings.Cut(n.text, "="); ok && n.variable {
			where = "the variable " + name
		}
		for secret := range hits {
			found = append(found, fmt.Sprintf("%s had the secret %.*s… in %s", program, maxShown, secret, where))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// summary says what was done.
func (s *Sampler) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d processes carried %d texts, %d of them did not show their environment; %d secrets; %d looks, %v apart at most",
		s.count.processes, len(s.seen), s.count.sealed, len(s.secrets), s.count.looks, s.gap.Round(time.Millisecond))
}

// start starts to look. The function returned ends that, after a last look.
func (s *Sampler) start() (stop func(), err error) {
	look, err := s.looker()
	if err != nil {
		return nil, err
	}
	mark := rand.Text()
	s.mu.Lock()
	s.mark, s.seen = mark, make(map[note]string)
	s.mu.Unlock()
	if err := os.Setenv(markVariable, mark); err != nil {
		return nil, err
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for last := time.Now(); ; {
			look()
			now := time.Now()
			s.mu.Lock()
			s.count.looks++
			s.gap = max(s.gap, now.Sub(last))
			s.mu.Unlock()
			last = now
			select {
			case <-ticker.C:
			case <-end:
				look()
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}, nil
}
