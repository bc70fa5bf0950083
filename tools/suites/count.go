package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// counts is how many tests, subtests among them, ended how.
type counts struct {
	passed, failed int
	skipped        map[string]int // by reason
}

func (c *counts) empty() bool { return c.passed+c.failed+len(c.skipped) == 0 }

func (c *counts) skips() (n int) {
	for _, of := range c.skipped {
		n += of
	}
	return n
}

func (c *counts) skip(reason string, n int) {
	if c.skipped == nil {
		c.skipped = make(map[string]int)
	}
	c.skipped[reason] += n
}

func (c *counts) add(more counts) {
	c.passed += more.passed
	c.failed += more.failed
	for reason, n := range more.skipped {
		c.skip(reason, n)
	}
}

// event is a line of "go test -json".
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// key names a test, or with an empty test a package, or a build.
type key struct{ pkg, test string }

// counter counts the tests in what "go test -json" writes to it, and keeps the output of those
// that failed.
type counter struct {
	mu     sync.Mutex
	log    io.Writer
	rest   []byte // an unfinished line
	counts counts
	output map[key][]string // of what has not ended yet
	failed map[string]bool  // packages with a test that failed
	shown  bytes.Buffer
}

func newCounter(log io.Writer) *counter {
	return &counter{log: log, output: make(map[key][]string), failed: make(map[string]bool)}
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, p...)
	for {
		line, rest, ok := bytes.Cut(c.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		c.line(line)
		c.rest = rest
	}
}

func (c *counter) finish() {
	if len(c.rest) > 0 {
		c.Write([]byte("\n"))
	}
}

// plain takes what the go command writes beside the events, to its standard error.
func (c *counter) plain() io.Writer { return plain{c} }

type plain struct{ c *counter }

func (p plain) Write(b []byte) (int, error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.shown.Write(b)
	return p.c.log.Write(b)
}

func (c *counter) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		c.shown.Write(append(line, '\n'))
		c.log.Write(append(line, '\n'))
		return
	}
	io.WriteString(c.log, e.Output)
	k := key{e.Package, e.Test}
	if e.ImportPath != "" {
		k = key{pkg: "build of " + e.ImportPath}
	}
	switch e.Action {
	case "output", "build-output":
		c.output[k] = append(c.output[k], e.Output)
	case "pass", "fail", "skip", "build-fail":
		c.end(k, e.Action)
		delete(c.output, k)
	}
}

func (c *counter) end(k key, action string) {
	switch {
	case action == "build-fail":
		c.show(k)
	case action == "fail" && k.test == "" && !c.failed[k.pkg]: // a build, a panic, a time-out
		c.counts.failed++
		for other := range c.output {
			if other.pkg == k.pkg && other.test != "" {
				c.show(other)
			}
		}
		c.show(k)
	case k.test == "":
	case action == "pass":
		c.counts.passed++
	case action == "skip":
		c.counts.skip(reason(c.output[k]), 1)
	default:
		c.counts.failed++
		c.failed[k.pkg] = true
		c.show(k)
	}
}

func (c *counter) show(k key) {
	for _, text := range c.output[k] {
		c.shown.WriteString(text)
	}
}

func (c *counter) failures() []byte { return c.shown.Bytes() }

var position = regexp.MustCompile(`^\s+[\w.-]+\.go:\d+: `)

// reason returns the text that a test gave to Skip.
func reason(output []string) string {
	i := slices.IndexFunc(output, position.MatchString)
	if i < 0 {
		return "without a reason"
	}
	text := position.ReplaceAllString(output[i], "")
	for _, more := range output[i+1:] { // the text of a Skip may have more lines
		if strings.HasPrefix(more, "---") || !strings.HasPrefix(more, "        ") {
			break
		}
		text = strings.TrimSpace(text) + " " + strings.TrimSpace(more)
	}
	return strings.TrimSpace(text)
}

// readJUnit counts the tests of a JUnit report.
func readJUnit(name string) (counts, error) {
	type testCase struct {
		Failure *struct{} `xml:"failure"`
		Error   *struct{} `xml:"error"`
		Skipped *struct {
			Message string `xml:"message,attr"`
		} `xml:"skipped"`
	}
	var report struct {
		Suites []struct {
			Cases []testCase `xml:"testcase"`
		} `xml:"testsuite"`
		Cases []testCase `xml:"testcase"` // suites that were skipped as a whole
	}
	var c counts
	data, err := os.ReadFile(name)
	if err != nil {
		return c, err
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		return c, err
	}
	all := report.Cases
	for _, s := range report.Suites {
		all = append(all, s.Cases...)
	}
	for _, test := range all {
		switch {
		case test.Failure != nil || test.Error != nil:
			c.failed++
		case test.Skipped != nil:
			c.skip(test.Skipped.Message, 1)
		default:
			c.passed++
		}
	}
	return c, nil
}
