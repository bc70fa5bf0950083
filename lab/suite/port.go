package suite

import (
	"net"
	"net/url"
)

// hold takes the ports of the redirect URIs that the server's clients have registered, and keeps
// them until they are released: between two sessions of a client its port is free, and any other
// process of the machine may get it. It reports whether one of them is taken already.
func (s *scene) hold() (release func(), taken bool) {
	var held []net.Listener
	for address := range s.callbacks() {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			taken = true
			continue
		}
		held = append(held, listener)
	}
	return func() {
		for _, listener := range held {
			_ = listener.Close()
		}
	}, taken
}

// callbacks are the loopback addresses of the registered redirect URIs.
func (s *scene) callbacks() map[string]bool {
	addresses := make(map[string]bool)
	for _, client := range s.server.Clients() {
		for _, uri := range client.RedirectURIs {
			u, err := url.Parse(uri)
			if err != nil || u.Scheme != "http" || u.Port() == "" {
				continue
			}
			host := u.Hostname()
			if host == "localhost" {
				host = "127.0.0.1"
			}
			addresses[net.JoinHostPort(host, u.Port())] = true
		}
	}
	return addresses
}

// portLost allows for a registered port that another process has: a second
// registration, and what it takes to find out how that one authenticates.
func (s *scene) portLost() {
	if s.p.PortTaken || s.Expect.Tabs <= 0 || s.Expect.Registrations < 0 {
		return // it is expected, or the port is not needed
	}
	s.Expect.Registrations++
	s.Expect.TokenRequests += methodTries(s.p.Habits)
}
