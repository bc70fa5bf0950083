// Package examples has programs that use the library with modules which the library does not
// need: each folder is one, with a README. Its tests run each against the lab, twice.
package examples
