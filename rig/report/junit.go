package report

import (
	"encoding/xml"
	"fmt"
	"path/filepath"
	"strings"
)

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Time    string       `xml:"time,attr"`
	Failure *junitDetail `xml:"failure,omitempty"`
	Error   *junitDetail `xml:"error,omitempty"`
	Skipped *junitDetail `xml:"skipped,omitempty"`
	Out     string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes junit.xml into a folder: a failed or drifted spec is a
// failure, a blocked or inconclusive one an error, never a skip.
func (r Run) WriteJUnit(dir string) error {
	var out junitSuites
	for _, h := range r.Handsets {
		suite := junitSuite{Name: "ip88rig " + h.Name}
		var total float64
		for _, s := range h.Specs {
			c := junitCase{Class: h.Name + "." + s.Transport, Name: s.Name, Time: fmt.Sprintf("%.3f", s.Took.Seconds()), Out: rowsText(s)}
			detail := &junitDetail{Type: string(s.Verdict), Message: s.Reason, Text: s.failure() + "\nagain: " + s.Rerun}
			switch s.Verdict {
			case Fail, Drift:
				c.Failure = detail
				suite.Failures++
			case Blocked, Inconclusive:
				c.Error = detail
				suite.Errors++
			case Skip:
				c.Skipped = detail
				suite.Skipped++
			case Pass, Known:
			}
			total += s.Took.Seconds()
			suite.Tests++
			suite.Cases = append(suite.Cases, c)
		}
		if h.Died != "" {
			suite.Tests++
			suite.Errors++
			suite.Cases = append(suite.Cases, junitCase{Class: h.Name, Name: "the lane lives to its end", Error: &junitDetail{Type: "lane", Message: h.Died}})
		}
		suite.Time = fmt.Sprintf("%.3f", total)
		out.Suites = append(out.Suites, suite)
	}
	data, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("junit.xml: %w", err)
	}
	return writeWhole(filepath.Join(dir, "junit.xml"), append([]byte(xml.Header), append(data, '\n')...))
}

func rowsText(s Spec) string {
	var b strings.Builder
	for _, j := range s.Judgements {
		fmt.Fprintf(&b, "%s %s", j.Row, j.Verdict)
		if j.Case != "" {
			fmt.Fprintf(&b, " (%s)", j.Case)
		}
		if j.Reason != "" {
			fmt.Fprintf(&b, ": %s", j.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
