// Package history writes down what many clients do to one store while processes are killed and
// suspended, connections are cut and databases are restarted, and checks afterwards that all of it
// can have happened: that no update is lost, no value torn, no lock held by two, and no refresh
// token used by two. It is a module of its own, so that the library does not require databases.
package history
