// Package property tests what must hold for every record and every order of operations. It is
// a module of its own, so that the library does not require what generates them.
package property
