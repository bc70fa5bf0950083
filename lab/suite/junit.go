package suite

import (
	"encoding/xml"
	"io"
	"strings"
	"time"
)

// WriteJUnit writes the reports in the form that build servers read: a test
// suite for each client, a test case for each cell.
func (all Reports) WriteJUnit(w io.Writer) error {
	type outcome struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"` // which is escaped, as CDATA is not
	}
	type testCase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Seconds float64  `xml:"time,attr"`
		Failure *outcome `xml:"failure"`
		Skipped *outcome `xml:"skipped"`
	}
	type testSuite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Seconds  float64    `xml:"time,attr"`
		Begun    string     `xml:"timestamp,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	var document struct {
		XMLName xml.Name    `xml:"testsuites"`
		Suites  []testSuite `xml:"testsuite"`
	}
	for _, r := range all {
		_, failed, void := r.Summary()
		s := testSuite{
			Name: r.Client, Tests: len(r.Cells), Failures: failed, Skipped: void,
			Seconds: r.Duration.Seconds(), Begun: r.Begun.UTC().Format(time.RFC3339),
		}
		for _, c := range r.Cells {
			test := testCase{Class: c.Personality, Name: c.Name(), Seconds: c.Duration.Seconds()}
			switch {
			case c.Expect.Void:
				test.Skipped = &outcome{Message: "there is no login to grow old"}
			case !c.Passed():
				test.Failure = &outcome{Message: c.Failures[0], Text: strings.Join(append(c.Failures, c.Requests...), "\n")}
			}
			s.Cases = append(s.Cases, test)
		}
		document.Suites = append(document.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	return encoder.Encode(document)
}
