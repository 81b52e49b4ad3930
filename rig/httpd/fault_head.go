package httpd

import (
	"fmt"
	"slices"
	"strings"
)

// Version names another version of HTTP in the status line.
type Version struct {
	// Name is the version as written: "HTTP/1.0", whose connection is closed
	// behind the answer; "HTTP/2.0", "ICY".
	Name string
}

func (e Version) String() string { return fmt.Sprintf("answers in %q", e.Name) }

func (e Version) check() error {
	if e.Name == "" || !isLine(e.Name) || strings.ContainsAny(e.Name, " \t") {
		return fmt.Errorf("version %q", e.Name)
	}
	return nil
}

func (e Version) alter(x *exchange) {
	x.a.version = e.Name
	if e.Name == "HTTP/1.0" {
		x.keep, x.a.connection = false, new("")
	}
}

// BareBody sends the body without a head, as HTTP/0.9 did, and closes the
// connection.
type BareBody struct{}

func (BareBody) String() string { return "answers without a head" }

func (BareBody) alter(x *exchange) { x.a.bare, x.a.unfit, x.keep = true, true, false }

// StatusLine sends another first line.
type StatusLine struct {
	// Line is the whole line without its end; it may be empty.
	Line string
}

func (e StatusLine) String() string { return fmt.Sprintf("answers with the status line %q", e.Line) }

func (e StatusLine) check() error {
	if !isLine(e.Line) {
		return fmt.Errorf("status line %q holds a control byte", e.Line)
	}
	return nil
}

func (e StatusLine) alter(x *exchange) { x.a.statusLine, x.a.unfit = &e.Line, true }

// Persistence says one thing of the connection's future and does another.
type Persistence struct {
	// Say is the value of the Connection line: "close", "keep-alive". Empty: no
	// such line.
	Say string
	// Close ends the connection behind the answer; without it the rig waits for
	// the next request, whatever was asked for.
	Close bool
}

func (e Persistence) String() string {
	say, do := "says nothing of the connection", "keeps it"
	if e.Say != "" {
		say = fmt.Sprintf("says \"Connection: %s\"", e.Say)
	}
	if e.Close {
		do = "closes it"
	}
	return say + " and " + do
}

func (e Persistence) check() error {
	if !isLine(e.Say) {
		return fmt.Errorf("connection %q holds a control byte", e.Say)
	}
	return nil
}

func (e Persistence) alter(x *exchange) { x.a.connection, x.keep = &e.Say, !e.Close }

// LongHeader sends a header line of a great length.
type LongHeader struct {
	// Bytes is the length of its value, 1 to 16 MiB.
	Bytes int
}

func (e LongHeader) String() string { return fmt.Sprintf("sends a header line of %d bytes", e.Bytes) }

func (e LongHeader) check() error {
	if e.Bytes < 1 || e.Bytes > 16<<20 {
		return fmt.Errorf("a header line of %d bytes", e.Bytes)
	}
	return nil
}

func (e LongHeader) alter(x *exchange) {
	x.a.lines = append(x.a.lines, "X-Filler: "+strings.Repeat("x", e.Bytes))
}

// ManyHeaders sends a great number of header lines.
type ManyHeaders struct {
	// Count is how many, 1 to 100 000.
	Count int
}

func (e ManyHeaders) String() string { return fmt.Sprintf("sends %d header lines more", e.Count) }

func (e ManyHeaders) check() error {
	if e.Count < 1 || e.Count > 100_000 {
		return fmt.Errorf("%d header lines", e.Count)
	}
	return nil
}

func (e ManyHeaders) alter(x *exchange) {
	for i := range e.Count {
		x.a.lines = append(x.a.lines, fmt.Sprintf("X-Filler-%d: x", i))
	}
}

// FoldedHeader continues header lines on the next one (obs-fold of RFC 9112,
// 5.2).
type FoldedHeader struct {
	// Name is the line, "Content-Length"; empty: all.
	Name string
}

func (e FoldedHeader) String() string {
	if e.Name == "" {
		return "folds its header lines"
	}
	return fmt.Sprintf("folds the header line %q", e.Name)
}

func (e FoldedHeader) check() error {
	if e.Name != "" && !isToken(e.Name) {
		return fmt.Errorf("%q is not the name of a header line", e.Name)
	}
	return nil
}

func (e FoldedHeader) suits(x *exchange) bool {
	return e.Name == "" || slices.ContainsFunc(x.lines(), e.names) || x.asked != nil && strings.EqualFold(e.Name, "WWW-Authenticate")
}

func (e FoldedHeader) alter(x *exchange) {
	x.a.edit = func(lines []string) []string {
		for i, l := range lines {
			if e.names(l) {
				name, value, _ := strings.Cut(l, ":")
				lines[i] = name + ":\r\n\t" + strings.TrimLeft(value, " ")
			}
		}
		return lines
	}
}

// names tells whether line is meant.
func (e FoldedHeader) names(line string) bool {
	name, _, ok := strings.Cut(line, ":")
	return ok && (e.Name == "" || strings.EqualFold(name, e.Name))
}

// NULHeader sends a header line with a NUL in its value.
type NULHeader struct{}

func (NULHeader) String() string { return "sends a header line with a NUL" }

func (NULHeader) alter(x *exchange) { x.a.lines = append(x.a.lines, "X-Filler: a\x00b") }

// RawHeader adds bytes to the head, as they are.
type RawHeader struct {
	// Text stands between the other lines and the empty one. It should end in a
	// line end of its own.
	Text string
}

func (e RawHeader) String() string { return fmt.Sprintf("adds %q to the head", e.Text) }

func (e RawHeader) check() error {
	if e.Text == "" {
		return fmt.Errorf("nothing is added to the head")
	}
	return nil
}

func (e RawHeader) alter(x *exchange) { x.a.tail = e.Text }

// BareLF ends the lines of the head without carriage return.
type BareLF struct{}

func (BareLF) String() string { return "ends its header lines without carriage return" }

func (BareLF) alter(x *exchange) { x.a.lineEnd = "\n" }
