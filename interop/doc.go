// Package interop tries Handstamp, the library and the command, against
// authorization servers of other projects. It has tests only, and is a
// module of its own so that theirs stay out of the product's.
package interop
