package webpage

import (
	"io"
	"net/http"
	"time"
)

// bodyTime is how long a request may take to send its body. All come from programs of this machine.
const bodyTime = 30 * time.Second

// boundBody bounds the time in which the body of a request is read, also what net/http reads of it
// after a request was rejected. A response may take as long as it likes.
func (p *Page) boundBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	connection := http.NewResponseController(w)
	if connection.SetReadDeadline(time.Now().Add(p.bodyTime)) == nil {
		r.Body = &boundedBody{r.Body, connection}
	}
}

// boundedBody is the body of a request with a deadline, which ends with the body: the server goes on
// reading, to notice when the client has gone.
type boundedBody struct {
	io.ReadCloser
	connection *http.ResponseController
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}
