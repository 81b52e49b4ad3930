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
// failure (a drifted one with what differs), a blocked or inconclusive one an
// error, never a skip. A known deviation is skipped with its grounds: a pass
// would claim what did not happen, and a failure is looked into already. One
// that is stale is a failure of its own.
func (r Run) WriteJUnit(dir string) error {
	var out junitSuites
	for _, h := range r.Handsets {
		suite := junitSuite{Name: "ip88rig " + h.Name}
		var total float64
		for _, s := range h.Specs {
			c := junitCase{Class: h.Name + "." + s.Transport, Name: s.Name, Time: fmt.Sprintf("%.3f", s.Took.Seconds()), Out: rowsText(s)}
			v := s.outcome()
			detail := &junitDetail{Type: string(v), Message: s.Reason, Text: s.detail()}
			switch v {
			case Fail, Drift:
				c.Failure = detail
				suite.Failures++
			case Blocked, Inconclusive:
				c.Error = detail
				suite.Errors++
			case Skip, Known:
				c.Skipped = detail
				suite.Skipped++
			case Pass:
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
	if len(r.Stale) > 0 {
		suite := junitSuite{Name: "ip88rig deviations", Tests: len(r.Stale), Failures: len(r.Stale), Time: "0.000"}
		for _, s := range r.Stale {
			suite.Cases = append(suite.Cases, junitCase{
				Class: "deviations", Name: s.Subject, Time: "0.000",
				Failure: &junitDetail{Type: "stale", Message: staleMessage, Text: s.String()},
			})
		}
		out.Suites = append(out.Suites, suite)
	}
	data, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("junit.xml: %w", err)
	}
	return writeWhole(filepath.Join(dir, "junit.xml"), append([]byte(xml.Header), append(data, '\n')...))
}

// outcome is the spec's verdict, or that of a cell that is redder.
func (s Spec) outcome() Verdict {
	v := s.Verdict
	for _, j := range s.Judgements {
		if j.Verdict == Fail || j.Verdict == Drift {
			v = Worst(v, j.Verdict)
		}
	}
	return v
}

// detail is the failure's text, what differs from the golden record, what went
// wrong on purpose, and the command that runs the spec again.
func (s Spec) detail() string {
	var b strings.Builder
	b.WriteString(s.failure())
	for _, j := range s.Judgements {
		for _, line := range j.Diff {
			fmt.Fprintf(&b, "\n%s: %s", j.subject(), line)
		}
	}
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "\n%s", f)
	}
	b.WriteString("\nagain: " + s.Rerun)
	return strings.TrimPrefix(b.String(), "\n")
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
		for _, line := range j.Diff {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	for _, f := range s.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}
