package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFloodOfInvalidRequests has a server send requests without end that get a response of the
// bridge's own, none of which it takes: few are under way at once, and the host's requests go on.
func TestFloodOfInvalidRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		request string
		modern  bool // the host is
	}{
		"invalid":    {`{"id":1,"method":"x",}`, false},
		"translated": {`{"jsonrpc":"2.0","id":1,"method":"ping"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const flood = 10000
				var underWay, most, all atomic.Int32
				sent := make(chan struct{})
				s := &getting{get: func(w http.ResponseWriter, r *http.Request, _ int) {
					openStream(w)
					time.Sleep(5 * time.Second)
					for range flood {
						io.WriteString(w, "data: "+tt.request+"\n\n")
					}
					flushHead(w)
					close(sent)
					<-r.Context().Done()
				}}
				h := start(t, bubbleServer(t, ofBefore(func(w http.ResponseWriter, r *http.Request) {
					body, batch := batchBody(r)
					if r.Method == http.MethodPost && !batch && !strings.Contains(body, `"method"`) {
						all.Add(1)
						if n := underWay.Add(1); n > most.Load() {
							most.Store(n)
						}
						defer underWay.Add(-1)
						<-r.Context().Done()
						return
					}
					s.ServeHTTP(w, r)
				})))
				call := toolCall
				if tt.modern {
					call = func(id int) string { return modernRequest(fmt.Sprint(id), "tools/call", `"name":"x"`) }
				} else {
					h.hello()
				}
				h.send(call(1))
				h.response("1")
				<-sent
				for id := 2; id < 5; id++ {
					time.Sleep(time.Second)
					h.send(call(id))
					if got := h.response(fmt.Sprint(id)); get(t, got, "result") == "" {
						t.Errorf("got %s", got)
					}
				}
				if n := most.Load(); n == 0 || n > 32 {
					t.Errorf("%d responses at once, %d in all", n, all.Load())
				}
			})
		})
	}
}
