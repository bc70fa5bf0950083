package webpage

import (
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// linkVariable has the link that the test opens where it runs as another user.
const linkVariable = "HANDSTAMP_TEST_LINK"

// TestLinkIsForItsUser: another user of the machine, who sees the link as an argument of the
// browser and is faster, is not let in, and does not use it up.
func TestLinkIsForItsUser(t *testing.T) {
	if link := os.Getenv(linkVariable); link != "" {
		c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := c.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || len(resp.Cookies()) > 0 {
			t.Errorf("%d, %v", resp.StatusCode, resp.Cookies())
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root may become another user")
	}
	s := serve(t, nil)
	link := s.page.Link(true)
	stranger := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestLinkIsForItsUser$")
	stranger.Dir = "/"
	stranger.Env = append(os.Environ(), linkVariable+"="+link)
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 2345}}
	if out, err := stranger.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if resp, _ := s.do(t, s.browser(), "GET", link, "", nil); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the user's browser, after that: %d", resp.StatusCode)
	}
}
