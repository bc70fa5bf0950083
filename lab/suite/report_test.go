package suite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
)

// TestReports has a client fail with a text that no report may contain as it is: colours,
// control characters, the ends of CDATA and of an element.
func TestReports(t *testing.T) {
	p, _ := lab.FindPersonality("none-first")
	report, err := suite.Run(t.Context(), suite.Options{
		Client: &suite.Func{Name: "a <b> & \x00", Run: func(context.Context, suite.Session) error {
			return errors.New("\x1b[31;1mred\x1b[0m \x00\x01\xff ]]> </failure><script>alert(1)</script>")
		}},
		Personalities: []lab.Personality{p}, Conditions: []suite.Condition{suite.Warm}, Processes: []int{1}, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Cells[0].Failures[0]; !strings.Contains(got, ": red \uFFFD\uFFFD\uFFFD ]]>") {
		t.Errorf("it says %q", got)
	}
	all := suite.Reports{report}

	var junit bytes.Buffer
	if err := all.WriteJUnit(&junit); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Suites []struct {
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Failure struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(junit.Bytes(), &document); err != nil {
		t.Fatalf("no XML: %v\n%s", err, junit.Bytes())
	}
	one := document.Suites[0]
	if failure := one.Cases[0].Failure; one.Failures != 1 || failure.Message != report.Cells[0].Failures[0] || !strings.Contains(failure.Text, "</script>") {
		t.Errorf("read back: %+v", one)
	}

	var html bytes.Buffer
	if err := all.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(html.Bytes(), []byte("<script")) || !regexp.MustCompile(`(?s)<svg .*<g class="bad".*</svg>`).Match(html.Bytes()) {
		t.Errorf("the page:\n%s", html.Bytes())
	}
	if regexp.MustCompile(`(?i)\b(src|href)=|url\(|@import`).Match(html.Bytes()) {
		t.Errorf("the page loads something:\n%s", html.Bytes())
	}

	var raw bytes.Buffer
	var read suite.Report
	if err := errors.Join(report.WriteJSON(&raw), json.NewDecoder(&raw).Decode(&read)); err != nil || len(read.Cells) != 1 {
		t.Errorf("read back: %v", err)
	}
}
