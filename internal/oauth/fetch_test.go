package oauth

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

func TestRequestHeaders(t *testing.T) {
	var got http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "v"})
		w.Write([]byte(`{}`))
	})
	f := fetcher(t)
	for range 2 {
		if _, err := f.document(t.Context(), PurposeServer, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "handstamp-test", "Cookie": "", "Authorization": "", "Referer": "",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
}

// TestBodies are responses that no client should read to the end.
func TestBodies(t *testing.T) {
	bomb := func(size int) []byte {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		io.CopyN(z, zeros{}, int64(size))
		z.Close()
		return b.Bytes()
	}
	small := func() []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(`{"a":1}`))
		z.Close()
		return b.Bytes()
	}
	for _, tc := range []struct {
		name     string
		encoding string
		write    func(w io.Writer) error
		wantLen  int
		wantErr  bool
	}{
		{"plain", "", once([]byte(`{"a":1}`)), 7, false},
		{"gzip that was not requested", "gzip", once(small()), 7, false},
		{"identity", "identity", once([]byte(`{"a":1}`)), 7, false},
		{"gzip bomb", "gzip", once(bomb(16 << 20)), maxDocument, true},
		{"gzip members that decode to nothing", "gzip", endless(bomb(0)), 0, true},
		{"not the gzip that it says", "gzip", once([]byte(`{"a":1}`)), 0, true},
		{"cut-off gzip", "gzip", once(small()[:20]), -1, true},
		{"unknown encoding", "br", once([]byte("x")), 0, true},
		{"endless", "", endless(bytes.Repeat([]byte("x"), 32<<10)), maxDocument, true},
		{"exactly the limit", "", once(bytes.Repeat([]byte("x"), maxDocument)), maxDocument, false},
		{"one more", "", once(bytes.Repeat([]byte("x"), maxDocument+1)), maxDocument, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tc.encoding != "" {
					w.Header().Set("Content-Encoding", tc.encoding)
				}
				tc.write(w)
			})
			a, err := fetcher(t).document(t.Context(), PurposeServer, s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if tc.wantLen >= 0 && len(a.body) != tc.wantLen || a.truncated != tc.wantErr || (a.readErr != nil) != tc.wantErr {
				t.Errorf("%d bytes, truncated %v, error %v; want %d, %v", len(a.body), a.truncated, a.readErr, tc.wantLen, tc.wantErr)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func once(b []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(b); return err }
}

func endless(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		for {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
}

// trickle is an http.RoundTripper whose bodies give a byte each second for ever,
// or which gives no response at all.
type trickle struct{ silent bool }

func (tr trickle) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
	}
	if tr.silent {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(drop{req.Context()})}, nil
}

type drop struct{ ctx context.Context }

func (d drop) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

// TestTimeLimits: a server that is slow for ever takes 10 s of a metadata leg and
// 30 s of one with a credential.
func TestTimeLimits(t *testing.T) {
	client := ClientCredentials{ID: "c", Method: MethodNone}
	for _, tc := range []struct {
		name string
		call func(ctx context.Context, f *Fetcher) error
		want time.Duration
	}{
		{"resource metadata", func(ctx context.Context, f *Fetcher) error {
			_, err := f.ResourceMetadata(ctx, "https://rs.example/mcp", "https://rs.example/meta")
			return err
		}, 10 * time.Second},
		{"server metadata", func(ctx context.Context, f *Fetcher) error {
			_, err := f.ServerMetadata(ctx, "https://as.example/tenant")
			return err
		}, 10 * time.Second},
		{"registration", func(ctx context.Context, f *Fetcher) error {
			_, err := f.Register(ctx, "https://as.example/register", RegistrationRequest{})
			return err
		}, 30 * time.Second},
		{"token", func(ctx context.Context, f *Fetcher) error {
			a, err := f.PostToken(ctx, TokenRequest{Endpoint: "https://as.example/token", Client: client, RefreshToken: "R"})
			if err == nil {
				_, err = ParseTokenResponse(a)
			}
			return err
		}, 30 * time.Second},
		{"revocation", func(ctx context.Context, f *Fetcher) error {
			return f.Revoke(ctx, "https://as.example/revoke", client, nil, "R", "")
		}, 30 * time.Second},
		{"deletion", func(ctx context.Context, f *Fetcher) error {
			return f.DeleteRegistration(ctx, "https://as.example/client", "T")
		}, 30 * time.Second},
	} {
		for _, silent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, silent %v", tc.name, silent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					err := tc.call(t.Context(), &Fetcher{HTTP: by(trickle{silent})})
					if took := time.Since(start); took != tc.want {
						t.Errorf("took %v, want %v", took, tc.want)
					}
					// A revocation or deletion is done once its status is there.
					needsBody := tc.name != "revocation" && tc.name != "deletion"
					if (silent || needsBody) && err == nil {
						t.Error("no error")
					}
				})
			})
		}
	}
}

// TestCancel: each leg ends when the caller's context does.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	_, err := fetcher(t).ServerMetadata(ctx, s.URL)
	if _, ok := errtype.As[*TransientError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want a *TransientError with context.Canceled in it", err)
	}
}

// TestNoRedirectWithCredentials: nothing that carries a secret goes anywhere
// but to its endpoint, and no document comes from another origin.
func TestNoRedirectWithCredentials(t *testing.T) {
	client := ClientCredentials{ID: "c", Secret: "s", Method: MethodPost}
	calls := map[string]func(f *Fetcher, base string) error{
		"code": func(f *Fetcher, base string) error {
			a, err := f.PostToken(t.Context(), TokenRequest{Endpoint: base + "/token", Client: client, Code: "C", Verifier: "V"})
			if err == nil {
				_, err = ParseTokenResponse(a)
			}
			return err
		},
		"refresh": func(f *Fetcher, base string) error {
			a, err := f.PostToken(t.Context(), TokenRequest{Endpoint: base + "/token", Client: client, RefreshToken: "R"})
			if err == nil {
				_, err = ParseTokenResponse(a)
			}
			return err
		},
		"registration": func(f *Fetcher, base string) error {
			_, err := f.Register(t.Context(), base+"/register", RegistrationRequest{InitialAccessToken: "I"})
			return err
		},
		"revocation": func(f *Fetcher, base string) error {
			return f.Revoke(t.Context(), base+"/revoke", client, nil, "R", "refresh_token")
		},
		"deletion": func(f *Fetcher, base string) error { return f.DeleteRegistration(t.Context(), base+"/client", "T") },
		"resource metadata": func(f *Fetcher, base string) error {
			_, err := f.ResourceMetadata(t.Context(), base+"/mcp", "")
			return err
		},
		"server metadata": func(f *Fetcher, base string) error {
			_, err := f.ServerMetadata(t.Context(), base+"/tenant")
			return err
		},
	}
	for name, call := range calls {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprintf("%s %d", name, status), func(t *testing.T) {
				evil := newCanary(t)
				s := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.Header().Set("Location", evil.URL+r.URL.Path)
					w.WriteHeader(status)
					io.WriteString(w, `{"access_token":"EVIL","client_id":"EVIL"}`)
				})
				err := call(fetcher(t), s.URL)
				if strings.HasSuffix(name, "metadata") {
					if !errors.Is(err, ErrNoMetadata) {
						t.Errorf("error %v, want ErrAbsent", err)
					}
				} else if te, ok := errtype.As[*TransientError](err); !ok || te.Status != status {
					t.Errorf("error %v, want a *TransientError with status %d", err, status)
				}
			})
		}
	}
}

func TestSameOriginRedirects(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		if n == 0 {
			io.WriteString(w, `{"here":true}`)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusFound)
	})
	f := fetcher(t)
	if a, err := f.document(t.Context(), PurposeServer, s.URL+"/3"); err != nil || !strings.Contains(string(a.body), "here") {
		t.Errorf("three redirects: %v", err)
	}
	if _, err := f.document(t.Context(), PurposeServer, s.URL+"/4"); err == nil {
		t.Error("four redirects were followed")
	}
}
