package bridge

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxCodings bounds how many encodings one response has.
const maxCodings = 4

// decoded undoes the encoding of a response (RFC 9110, section 8.4): gzip, which was requested,
// and what servers and proxies use unrequested. A response with an encoding that nothing here
// knows is an error, unless its status suffices: there the body is left out.
func decoded(resp *http.Response) (*http.Response, error) {
	codings := contentCodings(resp.Header)
	if len(codings) == 0 || resp.ContentLength == 0 {
		return resp, nil
	}
	body := resp.Body
	for i, coding := range slices.Backward(codings) {
		decode := decoders[coding]
		if decode == nil || len(codings) > maxCodings {
			discard(resp)
			if resp.StatusCode/100 != 2 {
				resp.Body, resp.ContentLength = http.NoBody, 0
				return resp, nil
			}
			return nil, badEncoding(codings[i], "which was not requested and cannot be read")
		}
		body = &decoder{encoded: watched{body, new(error)}, decode: decode, coding: coding}
	}
	resp.Body, resp.ContentLength, resp.Uncompressed = body, -1, true
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	return resp, nil
}

// badEncoding is the error for a response in an encoding that cannot be undone.
func badEncoding(coding, because string) *Trouble {
	return newTrouble(CodeProtocol, "encoding", "the server's response has the content encoding "+
		strconv.Quote(coding[:min(len(coding), maxShown)])+", "+because)
}

// contentCodings returns the encodings of a response in the order in which they were applied, in
// lower case.
func contentCodings(h http.Header) []string {
	var all []string
	for _, value := range h["Content-Encoding"] {
		for coding := range strings.SplitSeq(value, ",") {
			if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "" && coding != "identity" {
				all = append(all, coding)
			}
		}
	}
	return all
}

// decoders are the encodings that are undone.
var decoders = map[string]func(*bufio.Reader) (io.Reader, error){
	"gzip": gunzip, "x-gzip": gunzip, "deflate": inflate,
}

func gunzip(r *bufio.Reader) (io.Reader, error) { return gzip.NewReader(r) }

// inflate undoes "deflate", which is the zlib format, and which some servers take for the
// deflate format itself (RFC 9110, section 8.4.1.2).
func inflate(r *bufio.Reader) (io.Reader, error) {
	header, err := r.Peek(2)
	if err == nil && header[0]&0x0f == 8 && (uint(header[0])<<8|uint(header[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

// decoder undoes one encoding. It begins with the first read: a stream may be silent for long.
type decoder struct {
	coding  string
	encoded watched
	decode  func(*bufio.Reader) (io.Reader, error)
	plain   io.Reader // nil: nothing was read
	err     error
}

// Read implements [io.Reader].
func (d *decoder) Read(b []byte) (int, error) {
	if d.plain == nil && d.err == nil {
		d.plain, d.err = d.decode(bufio.NewReader(d.encoded))
	}
	n, err := 0, d.err
	if err == nil {
		n, err = d.plain.Read(b)
	}
	if err != nil && err != io.EOF && *d.encoded.err == nil {
		err = badEncoding(d.coding, "but its body is not in that")
	}
	return n, err
}

// watched notes the error with which reading ends, but for io.EOF.
type watched struct {
	io.ReadCloser
	err *error
}

// Read implements [io.Reader].
func (w watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		*w.err = err
	}
	return n, err
}

// Close implements [io.Closer].
func (d *decoder) Close() error { return d.encoded.Close() }
