package browser

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const someURL = "https://as.example/authorize?response_type=code&state=x"

func TestAcceptedIsOneArgument(t *testing.T) {
	d := newDesk(t, "")
	for i, c := range accepted {
		want := c.opened
		if want == "" {
			want = c.raw
		}
		o, expect := Opener{Command: []string{d.command()}}, []string{want}
		switch i % 3 {
		case 1:
			o.Command = append(o.Command, "--new-window")
			expect = []string{"--new-window", want}
		case 2:
			o.Command = append(o.Command, "--app=%s", "--last")
			expect = []string{"--app=" + want, "--last"}
		}
		if err := o.Open(context.Background(), c.raw); err != nil {
			t.Errorf("%q: %v", c.raw, err)
			continue
		}
		if got := d.only(); !slices.Equal(got.Args[1:], expect) {
			t.Errorf("arguments %q, want %q", got.Args[1:], expect)
		} else if got.Parent != os.Getpid() {
			t.Errorf("%q was started by process %d, not by us", got.Args, got.Parent)
		}
	}
}

func TestWhatABrowserInherits(t *testing.T) {
	d := newDesk(t, "")
	t.Setenv("HANDSTAMP_CLIENT_SECRET", clientSecret)
	t.Setenv("HANDSTAMP_ACCESS_TOKEN", accessToken)
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := (Opener{Command: []string{d.command()}}).Open(context.Background(), someURL); err != nil {
		t.Fatal(err)
	}
	l := d.only()
	if len(l.Secrets) > 0 {
		t.Errorf("variables %q", l.Secrets)
	}
	if slices.Contains(l.Files, lock.Name()) {
		t.Errorf("files %q", l.Files)
	}
	if runtime.GOOS == "linux" && len(l.Files) == 0 {
		t.Error("the browser could not tell which files it has")
	}
	if runtime.GOOS != "windows" {
		if l.Session != l.Process {
			t.Error("Ctrl-C would end the browser: it is in our session")
		}
		if l.Dir != "/" {
			t.Errorf("the browser runs in %s", l.Dir)
		}
	}
}

func TestOpenTellsAFailure(t *testing.T) {
	d := newDesk(t, "fail")
	err := Opener{}.start(t.Context(), []string{d.command(), someURL}, time.Minute)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("%v, want exit status 3", err)
	}
	if strings.Contains(err.Error(), "as.example") {
		t.Errorf("the error has the URL in it: %v", err)
	}
	d.only()
}

// TestOpenDoesNotWaitForTheBrowser has one that runs on, as many do.
func TestOpenDoesNotWaitForTheBrowser(t *testing.T) {
	gate, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	d := newDesk(t, "gate:"+gate.Addr().String())
	if err := (Opener{}).start(context.Background(), []string{d.command(), someURL}, time.Millisecond); err != nil {
		t.Errorf("after its time: %v", err)
	}
	first, err := gate.Accept() // so the browser is alive
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()

	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- Opener{}.start(ctx, []string{d.command(), someURL}, time.Hour) }()
	second, err := gate.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}

	// It is still there: it notices the gate only now.
	if _, err := second.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("the browser spoke")
	}
	if n := len(d.launches()); n != 2 {
		t.Errorf("%d launches", n)
	}
}

func TestOpenAfterTheEnd(t *testing.T) {
	d := newDesk(t, "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (Opener{Command: []string{d.command()}}).Open(ctx, someURL); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	d.none()
}

// output is a Writer that says when a text is complete.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	want []string
	done chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	for _, want := range o.want {
		if !strings.Contains(o.text.String(), want) {
			return len(p), nil
		}
	}
	select {
	case <-o.done:
	default:
		close(o.done)
	}
	return len(p), nil
}

func TestOutput(t *testing.T) {
	d := newDesk(t, "say")
	o := &output{want: []string{"said on output", "said on error"}, done: make(chan struct{})}
	if err := (Opener{Command: []string{d.command()}, Stderr: o}).Open(context.Background(), someURL); err != nil {
		t.Fatal(err)
	}
	<-o.done

	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := (Opener{Stderr: file}).start(t.Context(), []string{d.command(), someURL}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || !strings.Contains(string(text), "said on output") || !strings.Contains(string(text), "said on error") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestOpenRejectsShells(t *testing.T) {
	d := newDesk(t, "")
	folder := t.TempDir()
	d.install(folder, "bash", "powershell")
	for _, name := range []string{"bash", "powershell"} {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		err := Opener{Command: []string{filepath.Join(folder, name), "-c", "firefox %s"}}.Open(context.Background(), someURL)
		if err == nil || !strings.Contains(err.Error(), "is a shell") {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.none()
}
