// Package servicetest runs the real services that stores keep credentials in, for tests: each test
// has a server of its own. Only tests import it.
package servicetest
