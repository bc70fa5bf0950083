// Command floor is the least that a bridge between stdio and an HTTP server can
// do: it posts every line of its input with one fixed bearer token and writes
// the body of the response back as a line. It looks into nothing, repeats nothing
// and refreshes nothing. It is here to be measured against.
//
//	FLOOR_TOKEN=… floor http://127.0.0.1:8080/mcp
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("it takes one argument, the URL")
	}
	p := &pump{url: os.Args[1], header: http.Header{
		"Authorization": {"Bearer " + os.Getenv("FLOOR_TOKEN")},
		"Content-Type":  {"application/json"},
		"Accept":        {"application/json, text/event-stream"},
	}}
	// As many connections as there are messages in flight, or each burst opens
	// new ones.
	p.http.MaxIdleConnsPerHost = 64
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	var posts sync.WaitGroup
	defer posts.Wait()
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		posts.Go(func() {
			if err := p.post(line); err != nil {
				fmt.Fprintln(os.Stderr, "floor:", err)
			}
		})
	}
}

type pump struct {
	url    string
	header http.Header
	http   http.Transport
	mu     sync.Mutex // keeps lines whole
}

func (p *pump) post(line []byte) error {
	req, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(line))
	if err != nil {
		return err
	}
	req.Header = p.header
	resp, err := p.http.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted {
		return nil
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		return fmt.Errorf("the response has status %d and length %d", resp.StatusCode, resp.ContentLength)
	}
	body := make([]byte, resp.ContentLength+1)
	body[resp.ContentLength] = '\n'
	if _, err := io.ReadFull(resp.Body, body[:resp.ContentLength]); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = os.Stdout.Write(body)
	return err
}
