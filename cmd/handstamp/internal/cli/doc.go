// Package cli is the command handstamp: one file per command, each an options
// struct, a constructor that binds flags to it, and a run method.
//
// The package keeps four rules. Data goes to standard output and is the only thing
// there; prompts, progress, results and errors go to standard error. Every failure
// is one sentence with what to do next, and its kind alone decides the exit code
// (exit.go). No text of a server or a file reaches a terminal before its control
// characters are taken out (text.go). No command ends the process: [Run] returns
// the exit code.
package cli
