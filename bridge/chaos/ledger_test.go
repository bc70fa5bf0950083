package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// endsWithin is how long the bridge may live after its standard input, its
	// standard output or its context has ended.
	endsWithin = 5 * time.Second

	// respondsWithin is how long any request may take whose server does not hold
	// a POST open: five minutes on a stream, and the retries before. A request to
	// the user restarts the five minutes for all of them.
	respondsWithin = 8 * time.Minute

	// The server gets at most constantRate requests in any second and in any
	// minute, and perMessage more for each of the host's messages that is recent
	// or has no response, for each session that the server has ended and for each
	// ping that is due.
	constantRate = 30
	perMessage   = 6
	recent       = 15 * time.Second
)

// asked is what the ledger knows of the host's requests with one id.
type asked struct {
	sent, got int
	n         int   // the number of the request in its _meta
	also      []int // those of others with the same id
	at        time.Time
	cancelled bool
	ended     time.Time // when it was cancelled
	method    string
	call      bool // a call of a tool
	endless   bool // a subscription, whose response is its end
	invalid   int  // lines that have an error as response
	read      bool // the bridge has taken the line
}

// fact is what the server knows of one request.
type fact struct {
	carried   int
	notified  int       // how often it learned that its session is over
	resumable bool      // its stream can be resumed, and then has the response
	held      bool      // its POST is held open
	whole     time.Time // when a complete and valid response had been sent
}

// ledger records what happens in a run, and what must not have happened. Safe
// for concurrent use.
type ledger struct {
	began time.Time

	mu       sync.Mutex // guards what follows
	lines    []string   // the transcript
	findings []string
	asked    map[string]*asked
	ids      map[int]string // by number
	facts    map[int]*fact
	active   map[int]time.Time // messages of the host by number: when they were done; zero: not yet
	arrived  []time.Time       // requests at the server
	hellos   int               // initialize requests of the host
	lately   time.Time         // when the last session was begun
	forUser  time.Time         // when the host last got a request to the user
	begun    int               // sessions that the server has begun
	healthy  bool              // the server does nothing wrong
	pings    time.Duration     // how often the server is pinged; zero: never
	ended    []time.Time       // when sessions ended
	reasons  int               // why it may have had to begin more than the host requested
	stalled  bool              // the server holds what all others wait for
	inputEnd bool              // standard input has ended
	notices  map[string]int    // notifications and requests of the server, by serial: sent and not yet seen
	changed  chan struct{}     // closed at each response
	idless   int               // errors without id that invalid lines explain
}

func newLedger() *ledger {
	return &ledger{began: time.Now(), asked: map[string]*asked{}, ids: map[int]string{}, facts: map[int]*fact{},
		active: map[int]time.Time{}, notices: map[string]int{}, changed: make(chan struct{})}
}

const longLine = 300

// note writes a line of the transcript.
func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(format, args...)
}

func (l *ledger) noteLocked(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if len(line) > longLine {
		line = line[:longLine] + fmt.Sprintf("… (%d bytes)", len(line))
	}
	l.lines = append(l.lines, fmt.Sprintf("%9.3fs %s", time.Since(l.began).Seconds(), strings.ToValidUTF8(line, "?")))
}

// find records what must not have happened.
func (l *ledger) find(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.findLocked(format, args...)
}

func (l *ledger) findLocked(format string, args ...any) {
	l.noteLocked("FINDING "+format, args...)
	l.findings = append(l.findings, fmt.Sprintf(format, args...))
}

// fact returns what is known of a request. The caller holds mu.
func (l *ledger) fact(n int) *fact {
	f := l.facts[n]
	if f == nil {
		f = new(fact)
		l.facts[n] = f
	}
	return f
}

// idKey spells equal ids equally.
func idKey(id json.RawMessage) string {
	var s string
	if len(id) > 0 && id[0] == '"' && json.Unmarshal(id, &s) == nil {
		return `"` + s
	}
	return string(id)
}

// sending records a request of the host's before it is written.
func (l *ledger) sending(id json.RawMessage, n int, method string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.asked[idKey(id)]
	if a == nil {
		a = &asked{n: n}
		l.asked[idKey(id)] = a
	} else {
		a.also = append(a.also, n)
	}
	a.sent++
	a.at = time.Now()
	a.endless = method == "subscriptions/listen"
	a.method, a.call = method, method == "tools/call"
	l.ids[n] = idKey(id)
	l.active[n] = time.Time{}
	if method == "initialize" {
		l.hellos++
	}
}

// open returns how many requests have no response yet.
func (l *ledger) open() (n int, overdue []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, a := range l.asked {
		if a.got >= a.sent || a.cancelled || a.endless {
			continue
		}
		n++
		held := l.stalled || l.fact(a.n).held
		for _, n := range a.also {
			held = held || l.fact(n).held
		}
		since := a.at
		if l.forUser.After(since) {
			since = l.forUser
		}
		if time.Since(since) > respondsWithin && !held {
			overdue = append(overdue, id)
		}
	}
	return n, overdue
}

// cancel records that the host waits no more for a request.
func (l *ledger) cancel(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.asked[key]; a != nil {
		a.cancelled, a.ended = true, time.Now()
		l.active[a.n] = time.Now()
	}
}

// line checks a line that the bridge has written, and returns it if it is a
// message of the server's that the host may want to respond to.
func (l *ledger) line(line []byte) (id json.RawMessage, method string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked("host    ← %s", line)
	var m struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  *string         `json:"method"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
		Params  struct {
			Serial string `json:"serial"`
		} `json:"params"`
	}
	var all map[string]json.RawMessage
	switch err := json.Unmarshal(line, &all); {
	case err != nil:
		l.findLocked("a line is no JSON object: %v", err)
		return nil, ""
	case !utf8.Valid(line):
		l.findLocked("a line is not UTF-8")
	case bytes.ContainsAny(line, "\r\n"):
		l.findLocked("a line has a line end in it")
	}
	if err := json.Unmarshal(line, &m); err != nil || m.JSONRPC != "2.0" {
		l.findLocked("a line is no JSON-RPC message: %v", err)
		return nil, ""
	}
	_, hasResult := all["result"]
	_, hasError := all["error"]
	if m.Method != nil {
		if hasResult || hasError {
			l.findLocked("a line is a request and a response")
		}
		l.noticed(m.Params.Serial)
		if *m.Method == "elicitation/create" || *m.Method == "sampling/createMessage" {
			l.forUser = time.Now()
		}
		return m.ID, *m.Method
	}
	if hasResult == hasError {
		l.findLocked("a response has a result and an error, or none of both")
	}
	l.responded(m.ID, m.Result, m.Error)
	return nil, ""
}

// noticed checks a message of the server's own. The caller holds mu.
func (l *ledger) noticed(serial string) {
	if serial == "" {
		return
	}
	if l.notices[serial]--; l.notices[serial] < 0 {
		l.findLocked("the host got the server's message %s more often than it was sent", serial)
	}
}

// responded checks a response. The caller holds mu.
func (l *ledger) responded(id, result, failure json.RawMessage) {
	close(l.changed)
	l.changed = make(chan struct{})
	var e struct {
		Code    *int    `json:"code"`
		Message *string `json:"message"`
		Data    struct {
			Source string `json:"source"`
		} `json:"data"`
	}
	if failure != nil && (json.Unmarshal(failure, &e) != nil || e.Code == nil || e.Message == nil) {
		l.findLocked("an error has no code or no message")
	}
	if len(id) == 0 || string(id) == "null" {
		if l.idless--; l.idless < 0 {
			l.findLocked("a response without an id")
		}
		return
	}
	a := l.asked[idKey(id)]
	if a == nil {
		l.findLocked("a response to %s, which is no request's id", id)
		return
	}
	if a.got++; a.got > a.sent+a.invalid {
		l.findLocked("request %s has %d responses", id, a.got)
	}
	l.active[a.n] = time.Now()
	for _, n := range a.also {
		l.active[n] = time.Now()
	}
	var r struct {
		Said *int `json:"said"`
	}
	if _ = json.Unmarshal(result, &r); r.Said != nil && *r.Said != a.n {
		l.findLocked("request %s, number %d, got the response of number %d", id, a.n, *r.Said)
	}
	f := l.fact(a.n)
	if l.healthy && f.notified < 2 && !l.often() && e.Data.Source == "bridge" && a.call && l.hellos < 2 && !l.inputEnd && !a.cancelled {
		l.findLocked("call %s got an error of the bridge's, though the server does nothing wrong: %s", id, failure)
	}
	repeated := a.sent > 1 && e.Data.Source == "bridge" && e.Code != nil && *e.Code == -32600
	if failure != nil && f.resumable && !repeated && l.hellos < 2 && !l.inputEnd && !a.cancelled {
		l.findLocked("request %s got an error, though its stream can be resumed: %s", id, failure)
	}
	if failure != nil && !f.whole.IsZero() && time.Now().After(f.whole.Add(time.Second)) && a.sent == 1 && !l.inputEnd && !a.cancelled {
		l.findLocked("request %s got an error, though the server's whole response had been sent: %s", id, failure)
	}
}

// often reports whether sessions end so often that the bridge need not replace each. The caller
// holds mu.
func (l *ledger) often() bool {
	n := len(l.ended)
	return n > 1 && time.Since(l.ended[n-2]) < 35*time.Second
}

// arrive records a request at the server, and reports false if there are so many
// that the server should stop responding.
func (l *ledger) arrive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.arrived = append(l.arrived, now)
	return l.within(now, time.Second) && l.within(now, time.Minute)
}

// within checks the requests of the time before now. The caller holds mu.
func (l *ledger) within(now time.Time, window time.Duration) bool {
	requests, messages := 0, 0
	for i := len(l.arrived) - 1; i >= 0 && now.Sub(l.arrived[i]) < window; i-- {
		requests++
	}
	for _, done := range l.active {
		if done.IsZero() || now.Sub(done) < window+recent {
			messages++
		}
	}
	for i := len(l.ended) - 1; i >= 0 && now.Sub(l.ended[i]) < window+recent; i-- {
		messages++
	}
	if l.pings > 0 {
		messages += int(window / l.pings)
	}
	if allowed := constantRate + perMessage*messages; requests > allowed {
		if requests <= allowed+3 { // once is enough
			l.findLocked("%d requests reached the server within %v, where %d are allowed", requests, window, allowed)
		}
		return false
	}
	return true
}

// final checks what must hold when the bridge has ended.
func (l *ledger) final(exactly bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, a := range l.asked {
		if exactly && a.got < a.sent && !a.cancelled && !a.endless && a.read {
			l.findLocked("request %s, sent %d times, has %d responses", id, a.sent, a.got)
		}
	}
	for n, f := range l.facts {
		if f.carried > 1 {
			l.findLocked("call number %d was carried out %d times", n, f.carried)
		}
	}
	if l.begun > l.hellos+l.reasons {
		l.findLocked("%d sessions were begun, with %d initialize requests of the host's and %d reasons for another",
			l.begun, l.hellos, l.reasons)
	}
}

// breaks notes that all connections break: no stream may have sent where it can be resumed.
func (l *ledger) breaks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.facts {
		f.resumable = false
	}
}
