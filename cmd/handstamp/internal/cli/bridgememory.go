package cli

import "net/http"

const (
	// defaultMaxMemory is the memory that a bridge may take, in MiB, and leastMaxMemory
	// what it needs to work.
	defaultMaxMemory = 256
	leastMaxMemory   = 64

	// mostHeaders bounds the headers of a response, in bytes.
	mostHeaders = 1 << 20

	// mostStreamBuffer is what HTTP/2 buffers of a response that waits for memory, in
	// bytes.
	mostStreamBuffer = 512 << 10
)

// limitBuffers bounds what a transport keeps of responses that are not read yet.
func limitBuffers(t *http.Transport) {
	if t.MaxResponseHeaderBytes == 0 {
		t.MaxResponseHeaderBytes = mostHeaders
	}
	if t.HTTP2 == nil {
		t.HTTP2 = new(http.HTTP2Config)
	}
	t.HTTP2.MaxReceiveBufferPerStream = mostStreamBuffer
}
