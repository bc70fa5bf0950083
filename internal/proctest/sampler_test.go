//go:build linux

package proctest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// carrier holds the sampler of a test and what it has to find.
type carrier struct {
	t *testing.T
	s *Sampler
}

const planted = "planted-4XQ2M7KD5WZJ3LNA"

func newCarrier(t *testing.T, s *Sampler) *carrier {
	t.Helper()
	s.Add(planted)
	// The mark is this test's while it runs.
	t.Setenv(markVariable, "")
	stop, err := s.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &carrier{t, s}
}

// run starts a shell, which reports when it is where it is to be, waits until the
// sampler has seen it, and ends it.
func (c *carrier) run(env []string, script string, args ...string) {
	c.t.Helper()
	c.start(env, script, args...).end()
}

// shell is one that runs.
type shell struct {
	c      *carrier
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
}

func (c *carrier) start(env []string, script string, args ...string) *shell {
	c.t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	input, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return &shell{c, cmd, input, bufio.NewReader(output)}
}

func (s *shell) end() {
	s.c.t.Helper()
	if line, err := s.output.ReadString('\n'); line != "here\n" {
		s.c.t.Fatalf("it printed %q: %v", line, err)
	}
	s.c.looks(steadyEvery + 3)
	s.input.Close()
	_, _ = io.Copy(io.Discard, s.output)
	_ = s.cmd.Wait() // it has read no line
}

// looks waits until the sampler has looked so many times more.
func (c *carrier) looks(n int) {
	c.t.Helper()
	looks := func() int {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return c.s.count.looks
	}
	end := looks() + n
	Wait(c.t, time.Minute, "the sampler looks", func() bool { return looks() >= end })
}

// want checks what is found.
func (c *carrier) want(sentences ...string) {
	c.t.Helper()
	if got, want := strings.Join(c.s.find(), "\n"), strings.Join(sentences, "\n"); got != want {
		c.t.Errorf("found\n%s\nwant\n%s", got, want)
	}
}

const (
	wait      = "echo here; read line" // a shell that is there, and carries what it was given
	waitBelow = "sh -c 'echo here; read line'; :"
)

func TestArgument(t *testing.T) {
	c := newCarrier(t, new(Sampler))
	c.run(nil, wait, "nothing")
	c.want()
	c.run(nil, wait, "--token="+planted)
	c.want("sh had the secret planted-4XQ2… in an argument")
}

func TestEncodedArgument(t *testing.T) {
	c := newCarrier(t, new(Sampler))
	c.run(nil, wait, "Basic "+base64.StdEncoding.EncodeToString([]byte("app:"+planted)))
	c.want("sh had the secret planted-4XQ2… in an argument")
}

func TestVariable(t *testing.T) {
	c := newCarrier(t, new(Sampler))
	c.run([]string{"SECRET=" + planted}, wait)
	c.want("sh had the secret planted-4XQ2… in the variable SECRET")
}

// A process that is started by another one is looked at, too, and so is one that
// takes the place of another one.
func TestDescendants(t *testing.T) {
	for name, script := range map[string]string{
		"below":     `sh -c 'echo here; read line' sh "$SUFFIX` + planted + `"; :`,
		"in place":  `exec sh -c 'echo here; read line' sh ` + planted,
		"two below": `sh -c 'sh -c "echo here; read line" sh ` + planted + `; :'; :`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCarrier(t, new(Sampler))
			c.run(nil, script)
			if found := c.s.find(); len(found) == 0 {
				t.Error("nothing was found")
			}
		})
	}
}

// A process that has been the same for long can still become another one.
func TestSteady(t *testing.T) {
	c := newCarrier(t, new(Sampler))
	s := c.start(nil, "read line; exec sh -c 'echo here; read line' sh "+planted[:6]+`""`+planted[6:18]+`""`+planted[18:])
	c.looks(2 * steady)
	if found := c.s.find(); len(found) > 0 {
		t.Errorf("it carried %q before it became another program", found)
	}
	if _, err := io.WriteString(s.input, "\n"); err != nil {
		t.Fatal(err)
	}
	s.end()
	c.want("sh had the secret planted-4XQ2… in an argument")
}

// What a test starts beside the product is not looked at, and neither is what that starts.
func TestService(t *testing.T) {
	c := newCarrier(t, new(Sampler))
	env := []string{Service, "SECRET=" + planted}
	c.run(env, wait)
	c.run(env, waitBelow)
	c.run(env, `exec 3<&0; (sh -c 'echo here; read line' <&3 &); exec sh -c 'read line'`)
	c.want()
}

// One whose parents died at once is found by its mark.
func TestOrphan(t *testing.T) {
	c := newCarrier(t, new(Sampler))
	c.run(nil, `exec 3<&0; (SECRET=`+base64.RawURLEncoding.EncodeToString([]byte(planted))+` sh -c 'echo here; read line' <&3 &); exec sh -c 'read line'`)
	if found := strings.Join(c.s.find(), "\n"); !strings.Contains(found, "in the variable SECRET") {
		t.Errorf("found %q", found)
	}
}

// What a test gives to a process is no leak there, and one in the processes below
// it.
func TestInputs(t *testing.T) {
	c := newCarrier(t, &Sampler{Inputs: []string{"GIVEN"}, Outputs: []string{"TOKEN"}})
	env := []string{"GIVEN=" + planted, "TOKEN=" + planted}
	c.run(env, wait)
	c.run(env, "unset GIVEN; "+waitBelow)
	c.want()
	c.run(env, waitBelow)
	c.want("sh had the secret planted-4XQ2… in the variable GIVEN")
}

func TestShape(t *testing.T) {
	c := newCarrier(t, &Sampler{Shape: regexp.MustCompile(`code-[A-Z2-7]{26}`)})
	c.run(nil, wait, "http://127.0.0.1/callback?code=code-ABCDEFGHIJKLMNOPQRSTUVWXYZ&state=x")
	c.want("sh had the secret code-ABCDEFG… in an argument")
}

// suite stands for the tests of a package.
type suite func() int

func (s suite) Run() int { return s() }

// A run whose tests pass fails if a process carried a secret.
func TestWrap(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		want int
	}{
		"clean": {nil, 0},
		"leak":  {[]string{"X=" + planted}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(markVariable, "")
			s := new(Sampler)
			code := s.Wrap(suite(func() int {
				if kv := s.Mark(); kv != fmt.Sprint(markVariable, "=", os.Getenv(markVariable)) {
					t.Errorf("the mark is %q", kv)
				}
				s.Add(planted)
				(&carrier{t, s}).run(test.env, wait)
				return 0
			})).Run()
			if code != test.want {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
