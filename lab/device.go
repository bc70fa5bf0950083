package lab

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Device is how the device authorization grant works (RFC 8628), which [Habits.Grants] turns on.
// With the zero value the response has verification_uri_complete and no interval.
type Device struct {
	// Interval is the member in seconds. Zero leaves it out, which means 5.
	Interval int `json:"interval,omitempty"`
	// SlowDown is the number of the poll that gets slow_down, from 1. Zero means none.
	SlowDown int `json:"slow_down,omitempty"`
	// EnforceInterval responds slow_down to every poll that comes before the interval is over;
	// [Audit.EarlyPolls] counts them in any case.
	EnforceInterval bool `json:"enforce_interval,omitempty"`
	// OmitComplete leaves verification_uri_complete out.
	OmitComplete bool `json:"omit_complete,omitempty"`
	// Lifetime of the codes in seconds. Zero means ten minutes.
	Lifetime int `json:"lifetime,omitempty"`
}

// defaultInterval is what a missing interval means, and by how much slow_down raises it (RFC 8628
// sections 3.2 and 3.5).
const defaultInterval = 5 * time.Second

// deviceRequest is a device authorization that waits for the user.
type deviceRequest struct {
	clientID string
	code     string // device_code
	resource string
	scope    string
	details  string
	offline  bool
	interval time.Duration
	ends     time.Time
	polls    int
	polled   time.Time
	approved bool
	denied   bool
	by       authentication
}

// deviceAuthorization serves the device authorization endpoint (RFC 8628 section 3.1).
func (s *Server) deviceAuthorization(x *exchange) response {
	s.lookUp(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := func(code, why string) response { return s.tokenError(http.StatusBadRequest, code, why) }
	switch {
	case x.r.Method != http.MethodPost:
		return s.tokenError(http.StatusMethodNotAllowed, "invalid_request", "a device authorization is a POST")
	case repeated(x.form) != "":
		return bad("invalid_request", repeated(x.form)+" is given twice")
	}
	c, failed := s.authenticate(x)
	if failed != nil {
		return *failed
	}
	if len(c.GrantTypes) > 0 && !slices.Contains(c.GrantTypes, GrantDeviceCode) {
		return bad("unauthorized_client", "the client may not use this grant")
	}
	if rejected := s.checkResource(x.form, s.ResourceURL()); rejected != "" {
		return bad("invalid_target", rejected)
	}
	scope, offline, rejected := s.grantScope(x.form.Get("scope"))
	if rejected != "" {
		return bad("invalid_scope", rejected)
	}
	if why := s.checkDetails(x.form.Get("authorization_details")); why != "" {
		return bad("invalid_authorization_details", why)
	}
	return s.startDevice(x, &deviceRequest{
		clientID: c.ID, resource: x.form.Get("resource"), scope: scope, offline: offline,
		details: x.form.Get("authorization_details"),
	})
}

// startDevice issues the codes of a device authorization.
func (s *Server) startDevice(x *exchange, d *deviceRequest) response {
	h := s.habits.Device
	life := 10 * time.Minute
	if h.Lifetime != 0 {
		life = time.Duration(h.Lifetime) * time.Second
	}
	d.interval = defaultInterval
	document := map[string]any{}
	if h.Interval != 0 {
		d.interval = time.Duration(h.Interval) * time.Second
		document["interval"] = h.Interval
	}
	d.code, d.ends = s.secret("device-", ""), s.clock.now().Add(life)
	d.by = s.signIn(x)
	user := newID("")
	user = user[:4] + "-" + user[4:8]
	s.state.devices[user] = d
	page := s.endpointURL("/device")
	document["device_code"], document["user_code"] = d.code, user
	document["verification_uri"], document["expires_in"] = page, int(life.Seconds())
	if !h.OmitComplete {
		document["verification_uri_complete"] = page + "?user_code=" + url.QueryEscape(user)
	}
	return jsonResponse(http.StatusOK, document)
}

// devicePage is where the user enters the code and allows the device (RFC 8628 section 3.3).
func (s *Server) devicePage(x *exchange) response {
	user := strings.TrimSpace(x.form.Get("user_code"))
	entry := func(status int, sentence string) response {
		return showPage(status, pageContent{Sentence: sentence, Entry: s.endpointURL("/device")})
	}
	const unknown = "This code is not known, or has expired. Enter the code that the device shows."
	switch {
	case user == "":
		return entry(http.StatusOK, "Enter the code that the device shows.")
	case x.r.Method == http.MethodPost:
		if err := s.ApproveDevice(user); err != nil {
			return entry(http.StatusBadRequest, unknown)
		}
		return page(http.StatusOK, "The device may use this server.", "")
	case !slices.Contains(s.DeviceCodes(), normalizedCode(user)):
		return entry(http.StatusBadRequest, unknown)
	}
	return page(http.StatusOK, "Let the device with the code "+user+" use this server?",
		s.endpointURL("/device")+"?user_code="+url.QueryEscape(user))
}

// normalizedCode is a user code as it was issued: users leave the hyphen out and write lower case.
func normalizedCode(user string) string {
	user = strings.ReplaceAll(strings.ToUpper(strings.TrimSpace(user)), "-", "")
	if len(user) != 8 {
		return user
	}
	return user[:4] + "-" + user[4:]
}

// errNoDevice reports a user code that no device waits with.
var errNoDevice = errors.New("lab: no device waits with this code")

// ApproveDevice acts as the user who allows the device with a user code.
func (s *Server) ApproveDevice(user string) error {
	return s.decideDevice(user, func(d *deviceRequest) { d.approved = true })
}

// DenyDevice acts as the user who does not.
func (s *Server) DenyDevice(user string) error {
	return s.decideDevice(user, func(d *deviceRequest) { d.denied = true })
}

func (s *Server) decideDevice(user string, decide func(*deviceRequest)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.state.devices[normalizedCode(user)]
	if d == nil || !d.waits(s.clock.now()) {
		return errNoDevice
	}
	decide(d)
	return nil
}

func (d *deviceRequest) waits(now time.Time) bool {
	return !d.approved && !d.denied && now.Before(d.ends)
}

// DeviceCodes returns the user codes of the devices that wait for the user.
func (s *Server) DeviceCodes() []string {
	now := s.clock.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var codes []string
	for _, user := range slices.Sorted(maps.Keys(s.state.devices)) {
		if s.state.devices[user].waits(now) {
			codes = append(codes, user)
		}
	}
	return codes
}

// exchangeDevice serves the polls of a device (RFC 8628 section 3.4). The caller holds s.mu.
func (s *Server) exchangeDevice(x *exchange, c *client) response {
	bad := func(code, why string) response { return s.tokenError(http.StatusBadRequest, code, why) }
	var d *deviceRequest
	var user string
	for code, one := range s.state.devices {
		if one.code == x.form.Get("device_code") && one.clientID == c.ID {
			d, user = one, code
		}
	}
	if d == nil {
		return bad("invalid_grant", "no such device code")
	}
	if slow := s.countPoll(d); slow {
		return bad("slow_down", "wait five seconds more between polls")
	}
	switch {
	case d.denied:
		delete(s.state.devices, user)
		return bad("access_denied", "the user denied the request")
	case !s.clock.now().Before(d.ends):
		return bad("expired_token", "the device code has expired")
	case !d.approved:
		return bad("authorization_pending", "the user has not decided")
	}
	if rejected := s.checkResource(x.form, s.boundResource(d.resource)); rejected != "" {
		return bad("invalid_target", rejected)
	}
	delete(s.state.devices, user)
	f := s.newFamily(c.ID, d.resource, d.scope)
	s.bind(f, x, c)
	f.by, f.details = d.by, d.details
	out := s.newAccess(f, f.scope)
	if d.offline {
		out.refresh = s.newRefresh(f, 0).value
	}
	return s.grantResponse(out)
}

// countPoll reports whether the response to a poll is slow_down, which raises the interval for good.
func (s *Server) countPoll(d *deviceRequest) bool {
	now := s.clock.now()
	early := !d.polled.IsZero() && now.Sub(d.polled) < d.interval
	d.polls++
	d.polled = now
	if early {
		s.state.audit.EarlyPolls++
	}
	slow := d.polls == s.habits.Device.SlowDown || early && s.habits.Device.EnforceInterval
	if slow {
		d.interval += defaultInterval
	}
	return slow
}
