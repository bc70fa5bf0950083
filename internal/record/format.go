package record

import "fmt"

// Structs with secrets print as with %+v, whatever the verb. Where a verb does
// not fit a pointer, as in "%s" of a struct that has one, fmt prints what it
// points to without calling any method, and a Secret in there would be seen.

// Format implements fmt.Formatter: the secrets of a Record are not seen.
func (r Record) Format(f fmt.State, _ rune) {
	type plain Record
	fmt.Fprintf(f, "%+v", plain(r))
}

// Format implements fmt.Formatter: the secrets of a Client are not seen.
func (c Client) Format(f fmt.State, _ rune) {
	type plain Client
	fmt.Fprintf(f, "%+v", plain(c))
}

// Format implements fmt.Formatter: the tokens of a Grant are not seen.
func (g Grant) Format(f fmt.State, _ rune) {
	type plain Grant
	fmt.Fprintf(f, "%+v", plain(g))
}

// Format implements fmt.Formatter: the response in an Intent is not seen.
func (i Intent) Format(f fmt.State, _ rune) {
	type plain Intent
	fmt.Fprintf(f, "%+v", plain(i))
}

// Format implements fmt.Formatter: the body of a RawResponse is not seen.
func (r RawResponse) Format(f fmt.State, _ rune) {
	type plain RawResponse
	fmt.Fprintf(f, "%+v", plain(r))
}
