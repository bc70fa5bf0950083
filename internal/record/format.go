package record

import "fmt"

// Structs with secrets print as with %+v, whatever the verb. Where a verb does
// not fit a pointer, as in "%s" of a struct that has one, fmt prints what it
// points to without calling any method, and a Secret in there would be seen.

// These have no methods.
type (
	plainRecord      Record
	plainClient      Client
	plainGrant       Grant
	plainIntent      Intent
	plainRawResponse RawResponse
)

// Format implements fmt.Formatter: the secrets of a Record are not seen.
func (r Record) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainRecord(r)) }

// Format implements fmt.Formatter: the secrets of a Client are not seen.
func (c Client) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainClient(c)) }

// Format implements fmt.Formatter: the tokens of a Grant are not seen.
func (g Grant) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainGrant(g)) }

// Format implements fmt.Formatter: the response in an Intent is not seen.
func (i Intent) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainIntent(i)) }

// Format implements fmt.Formatter: the body of a RawResponse is not seen.
func (r RawResponse) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainRawResponse(r)) }
