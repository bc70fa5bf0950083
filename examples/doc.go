// Package examples holds the examples that need modules the library does not: each is a test
// that runs against the lab. The other examples are beside what they show, in the library's
// packages.
package examples
