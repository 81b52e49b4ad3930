package httpd

import (
	"fmt"
	"net/http"
	"strings"
)

// Status answers with another status than the right one, and a short text in
// place of the file.
type Status struct {
	// Code is the status, 200 to 599.
	Code int
	// Header holds further lines, "Name: value" each, separated by "\n":
	// "Retry-After: 5".
	Header string
}

func (e Status) String() string {
	if e.Header == "" {
		return fmt.Sprintf("answers %d", e.Code)
	}
	return fmt.Sprintf("answers %d with %q", e.Code, e.Header)
}

func (e Status) check() error {
	if e.Code < 200 || e.Code > 599 {
		return fmt.Errorf("status %d is not in 200 to 599", e.Code)
	}
	for _, line := range e.lines() {
		if err := checkLine(line); err != nil {
			return err
		}
	}
	return nil
}

func (e Status) lines() []string {
	if e.Header == "" {
		return nil
	}
	return strings.Split(e.Header, "\n")
}

func (e Status) alter(x *exchange) {
	x.a, x.asked = text(e.Code, e.lines()...), nil
	if e.Code == http.StatusUnauthorized {
		x.c.srv.gate.mark(x.auth.Realm, x.c.space(x.r), x.c.src.Addr())
	}
}

// Redirect answers that the file is elsewhere.
type Redirect struct {
	// Code is the status, 300 to 399: 301, 302, 303, 307, 308.
	Code int
	// To is the Location: absolute ("http://192.0.2.2/a"), a path ("/b/a"), or
	// relative ("a"). Empty: the very target that was asked for, a loop. Loops of
	// two are made of two rules.
	To string
}

func (e Redirect) String() string {
	if e.To == "" {
		return fmt.Sprintf("redirects to itself with %d", e.Code)
	}
	return fmt.Sprintf("redirects to %q with %d", e.To, e.Code)
}

func (e Redirect) check() error {
	switch {
	case e.Code < 300 || e.Code > 399:
		return fmt.Errorf("redirection with status %d", e.Code)
	case !isLine(e.To):
		return fmt.Errorf("location %q holds a control byte", e.To)
	}
	return nil
}

func (e Redirect) alter(x *exchange) {
	x.a = text(e.Code, "Location: "+orElse(e.To, x.r.target()))
}

// Interim sends answers of the 100 family before the answer, as if the handset
// had asked for them (RFC 9110, 15.2).
type Interim struct {
	// Code is the status: 100, 102 to 199. 0: 100.
	Code int
	// Count is how many; 0: one.
	Count int
}

func (e Interim) String() string {
	return fmt.Sprintf("sends %d times %d before the answer, unasked", max(e.Count, 1), orElse(e.Code, http.StatusContinue))
}

func (e Interim) check() error {
	if code := orElse(e.Code, http.StatusContinue); code < 100 || code > 199 || code == http.StatusSwitchingProtocols {
		return fmt.Errorf("interim status %d", code)
	}
	if e.Count < 0 || e.Count > 1000 {
		return fmt.Errorf("%d interim answers", e.Count)
	}
	return nil
}

func (e Interim) alter(x *exchange) {
	code := orElse(e.Code, http.StatusContinue)
	for range max(e.Count, 1) {
		x.a.before = fmt.Appendf(x.a.before, "HTTP/1.1 %d %s\r\n\r\n", code, statusText(code))
	}
}

// FileUnder gives the file as the body of another status than 200: of an error,
// or of 204 and 304, which have no body (RFC 9110, 6.4.1).
type FileUnder struct {
	// Code is the status, 200 to 599.
	Code int
}

func (e FileUnder) String() string { return fmt.Sprintf("gives the file under status %d", e.Code) }

func (e FileUnder) check() error {
	if e.Code < 200 || e.Code > 599 {
		return fmt.Errorf("status %d is not in 200 to 599", e.Code)
	}
	return nil
}

func (e FileUnder) suits(x *exchange) bool { return x.a.isFile && e.Code != x.a.status }

func (e FileUnder) alter(x *exchange) {
	x.a.status = e.Code
	x.a.unfit = e.Code == http.StatusNoContent || e.Code == http.StatusNotModified
}

// Twice gives two answers to one request.
type Twice struct{}

func (Twice) String() string { return "answers twice" }

func (Twice) alter(x *exchange) { x.a.again = true }
