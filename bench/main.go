// Command bench measures what a request pays for a stored, valid token, beside
// the peers and in the same run: golang.org/x/oauth2's Transport and the
// official Go SDK's own handler. It prints ratios, because times on a shared
// machine mean nothing; what is compared is measured in turn, in many short
// rounds, and the median ratio is shown.
//
//	go run ./bench
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

const (
	// rounds is how often each function is measured, and window for how long. A
	// disturbance longer than a round hits all that is compared; shorter ones
	// are a minority, which the median leaves out.
	rounds = 201
	window = 5 * time.Millisecond

	// minScaling is how the throughput of 64 goroutines grows over that of one,
	// beside the growth of work that shares nothing.
	minScaling = 0.9

	// maxOverFloor is how much longer than a bare copy of the request the Transport may take: every
	// RoundTripper that adds a header has to make one.
	maxOverFloor = 1.2

	// maxOverSignature is how much longer than the signature in its proof a request with a bound
	// token may take.
	maxOverSignature = 1.5

	// heap is what the process holds while it measures, in bytes, as an agent or
	// an editor does. With next to none the collector runs every few milliseconds,
	// and what other processes leave of the second core decides.
	heap = 32 << 20
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		return err
	}
	defer server.Close()
	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: authorize}}
	if err := login(ctx, client, server); err != nil {
		return err
	}
	firstLogin := requests(server)

	sdk, err := sdkHandler(ctx, server)
	if err != nil {
		return err
	}
	warm := &handstamp.Client{Store: client.Store, BaseTransport: silent{}}
	req, err := http.NewRequest(http.MethodPost, server.MCPURL(), nil)
	if err != nil {
		return err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {"session"},
	}
	stored := &oauth2.Token{AccessToken: strings.Repeat("a", 40), Expiry: time.Now().Add(time.Hour)}
	peer := &oauth2.Transport{Base: silent{}, Source: oauth2.ReuseTokenSource(stored, nil)}
	ours := warm.Transport(server.MCPURL())
	source := warm.TokenSource(ctx, server.MCPURL())
	token := func() error { _, err := source.Token(); return err }
	handler := warm.Handler(server.MCPURL())
	for _, err := range []error{roundTrip(ours, req), roundTrip(peer, req), take(ctx, handler), take(ctx, sdk)} {
		if err != nil {
			return err
		}
	}

	bound, closeBound, err := boundRequest(ctx)
	if err != nil {
		return err
	}
	defer closeBound()
	sign, err := signature()
	if err != nil {
		return err
	}

	transport := func() error { return roundTrip(ours, req) }
	bare := func() error { return roundTrip(base, copyRequest(req)) }
	_, _, empty := compare(loop(transport), loop(func() error { return roundTrip(peer, req) }))
	emptyTime, emptyFloor, emptyRatio := compare(loop(transport), loop(bare))
	held := bytes.Repeat([]byte{1}, heap)
	defer runtime.KeepAlive(held)
	runtime.GC() // the next pace is that of this heap

	fmt.Fprintf(out, "%s, %d cores, median of %d rounds, a heap of %d MiB\n\n", runtime.Version(), runtime.GOMAXPROCS(0), rounds, heap>>20)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what\tns/op\tallocs\tbeside\tns/op\tallocs\tratio\tbound\t")
	ok := true
	for _, pair := range []struct {
		name, peer string
		ours       func() error
		theirs     func() error
		ratio      float64
		allocs     float64
	}{
		{"Transport", "x/oauth2 Transport", transport, func() error { return roundTrip(peer, req) }, 0.5, 3},
		{"Transport", "a bare copy", transport, bare, maxOverFloor, 3},
		{"Transport with DPoP", "an ES256 signature", bound, sign, maxOverSignature, 120},
		{"TokenSource", "Go SDK handler", token, func() error { return take(ctx, sdk) }, 1.0, 4},
		{"Handler", "Go SDK handler", func() error { return take(ctx, handler) }, func() error { return take(ctx, sdk) }, 1.0, 4},
	} {
		a, b, ratio := compare(loop(pair.ours), loop(pair.theirs))
		allocs := testing.AllocsPerRun(1000, func() { pair.ours() })
		result := fmt.Sprintf("≤ %.2f ok", pair.ratio)
		if ratio > pair.ratio || allocs > pair.allocs {
			result, ok = fmt.Sprintf("≤ %.2f MISSED", pair.ratio), false
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%s\t%.0f\t%.0f\t%.2f\t%s\t\n",
			pair.name, a, allocs, pair.peer, b, testing.AllocsPerRun(1000, func() { pair.theirs() }), ratio, result)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	result := "ok"
	if emptyRatio > maxOverFloor {
		result, ok = "MISSED", false
	}
	fmt.Fprintf(out, "\nwithout a heap, where the collector's share decides: Transport %.0f ns/op, a bare copy %.0f, ratio %.2f (bound ≤ %.2f %s); beside x/oauth2 %.2f\n",
		emptyTime, emptyFloor, emptyRatio, maxOverFloor, result, empty)
	speedup, floor, ratio := scaling(
		transport, bare,
	)
	result = "ok"
	if ratio < minScaling {
		result, ok = "MISSED", false
	}
	fmt.Fprintf(out, "\n64 goroutines: %.2f × the throughput of one; a bare copy of the request, which shares nothing: %.2f ×; ratio %.2f (bound ≥ %.2f %s)\n",
		speedup, floor, ratio, minScaling, result)
	x, y, r := compare(parallel(64, token), loop(token))
	fmt.Fprintf(out, "the same without the copy (TokenSource): %.1f ns/op beside %.1f, %.2f × the throughput on %d cores\n",
		x, y, 1/r, runtime.GOMAXPROCS(0))
	fmt.Fprintf(out, "first login: %d HTTP requests, the rejected and the repeated MCP request included (bound: 6)\n", firstLogin)
	if !ok || firstLogin > 6 {
		return fmt.Errorf("a bound was missed")
	}
	return nil
}

// boundRequest returns a request with a token that is bound to a key (RFC 9449), of a session that
// has it in its store.
func boundRequest(ctx context.Context) (send func() error, end func(), err error) {
	server, err := lab.Start(lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired}})
	if err != nil {
		return nil, nil, err
	}
	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: authorize}}
	if err := login(ctx, client, server); err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequest(http.MethodPost, server.MCPURL(), nil)
	if err != nil {
		return nil, nil, err
	}
	warm := (&handstamp.Client{Store: client.Store, BaseTransport: silent{}}).Transport(server.MCPURL())
	send = func() error { return roundTrip(warm, req) }
	return send, server.Close, send()
}

// signature returns an ES256 signature of the standard library.
func signature() (func() error, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(nil)
	return func() error {
		_, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
		return err
	}, nil
}

// compare measures two functions in turn and returns the median time of each, in
// nanoseconds, and the median of the ratios.
func compare(ours, theirs func(n int)) (a, b, ratio float64) {
	m := measure(ours, theirs)
	return median(m, func(t []float64) float64 { return t[0] }),
		median(m, func(t []float64) float64 { return t[1] }),
		median(m, func(t []float64) float64 { return t[0] / t[1] })
}

// scaling returns how much more 64 goroutines get done than one, for two
// functions, and the median ratio of that. The second shares nothing, so that it
// shows what the machine, its memory and the collector allow.
func scaling(ours, floor func() error) (speedup, floorSpeedup, ratio float64) {
	m := measure(loop(ours), parallel(64, ours), loop(floor), parallel(64, floor))
	return median(m, func(t []float64) float64 { return t[0] / t[1] }),
		median(m, func(t []float64) float64 { return t[2] / t[3] }),
		median(m, func(t []float64) float64 { return t[0] / t[1] * t[3] / t[2] })
}

// measure runs each of the functions for one window in each round and returns
// the nanoseconds that one call took, by round and function. Who begins
// changes from round to round: what happens on the machine hits all of them.
func measure(functions ...func(n int)) [][]float64 {
	calls := make([]int, len(functions))
	for i, f := range functions {
		for calls[i] = 1000; ; calls[i] *= 2 {
			if took := timed(f, calls[i]); took >= window/2 {
				calls[i] = max(1, int(float64(calls[i])*float64(window)/float64(took)))
				break
			}
		}
	}
	times := make([][]float64, rounds)
	for round := range times {
		times[round] = make([]float64, len(functions))
		for i := range functions {
			i = (i + round) % len(functions)
			times[round][i] = float64(timed(functions[i], calls[i])) / float64(calls[i])
		}
	}
	return times
}

func timed(f func(n int), n int) time.Duration {
	start := time.Now()
	f(n)
	return time.Since(start)
}

// median returns the median of a figure of each round.
func median(rounds [][]float64, figure func([]float64) float64) float64 {
	all := make([]float64, len(rounds))
	for i, round := range rounds {
		all[i] = figure(round)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// copyRequest is what any RoundTripper has to do that adds a header.
func copyRequest(req *http.Request) *http.Request {
	r := new(http.Request)
	*r = *req
	r.Header = maps.Clone(req.Header)
	r.Header["Authorization"] = bearer
	return r
}

var (
	bearer                   = []string{"Bearer " + strings.Repeat("a", 40)}
	base   http.RoundTripper = silent{}
)

// loop returns a function that calls f so many times.
func loop(f func() error) func(n int) {
	return func(n int) {
		for range n {
			if err := f(); err != nil {
				panic(err)
			}
		}
	}
}

// parallel does the same in so many goroutines.
func parallel(goroutines int, f func() error) func(n int) {
	share := loop(f)
	return func(n int) {
		var group sync.WaitGroup
		for range goroutines {
			group.Go(func() { share(n / goroutines) })
		}
		group.Wait()
	}
}

var response = &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}

// silent responds to every request at no cost.
type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) { return response, nil }

func roundTrip(rt http.RoundTripper, req *http.Request) error {
	_, err := rt.RoundTrip(req)
	return err
}

// take does what the SDK does before each request.
func take(ctx context.Context, h auth.OAuthHandler) error {
	source, err := h.TokenSource(ctx)
	if err != nil {
		return err
	}
	_, err = source.Token()
	return err
}

// login makes one MCP call, which signs in.
func login(ctx context.Context, client *handstamp.Client, server *lab.Server) error {
	req, err := call(ctx, server)
	if err != nil {
		return err
	}
	resp, err := client.HTTPClient(server.MCPURL()).Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the first login ended with status %d", resp.StatusCode)
	}
	return nil
}

func call(ctx context.Context, server *lab.Server) (*http.Request, error) {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.MCPURL(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	return req, nil
}

// requests counts what the server saw, the user's browser aside.
func requests(server *lab.Server) int {
	n := 0
	for endpoint, count := range server.Counts() {
		if endpoint != "authorize" {
			n += count
		}
	}
	return n
}

// sdkHandler signs the official SDK's handler in at the same server.
func sdkHandler(ctx context.Context, server *lab.Server) (auth.OAuthHandler, error) {
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		RedirectURL: "http://127.0.0.1/callback",
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "bench", RedirectURIs: []string{"http://127.0.0.1/callback"}},
		},
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			params, err := authorize(ctx, handstamp.AuthorizationRequest{URL: args.URL})
			return &auth.AuthorizationResult{Code: params.Get("code"), State: params.Get("state"), Iss: params.Get("iss")}, err
		},
	})
	if err != nil {
		return nil, err
	}
	req, err := call(ctx, server)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return handler, handler.Authorize(ctx, req, resp)
}

// authorize consents in the user's place.
func authorize(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	return lab.Consent(ctx, r.URL)
}
