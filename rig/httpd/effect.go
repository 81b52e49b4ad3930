package httpd

import (
	"fmt"
	"net/http"
	"strings"

	"ip88rig/rig/fault"
)

// Effect is one way in which this server misbehaves.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
}

// Status answers with another status than the right one, and a short text in
// place of the file.
type Status struct {
	// Code is the status, 200 to 599.
	Code int
	// Header holds further lines, "Name: value" each, separated by "\n":
	// "Retry-After: 5".
	Header string
}

// Reset breaks the connection with a TCP reset.
type Reset struct {
	// AfterBytes is how much of the body is handed over before. 0: not even
	// the head. Of a ClientHello it must be 0.
	AfterBytes int64
}

// FallSilent stops in the middle and keeps the connection open, without a
// bound of its own.
type FallSilent struct {
	// AfterBytes is how much of the body is handed over before. 0: not even
	// the head. Of a ClientHello it must be 0.
	AfterBytes int64
}

func (e Status) String() string {
	if e.Header == "" {
		return fmt.Sprintf("answers %d", e.Code)
	}
	return fmt.Sprintf("answers %d with %q", e.Code, e.Header)
}

func (e Reset) String() string {
	if e.AfterBytes == 0 {
		return "resets the connection"
	}
	return fmt.Sprintf("resets the connection after %d bytes", e.AfterBytes)
}

func (e FallSilent) String() string {
	if e.AfterBytes == 0 {
		return "falls silent"
	}
	return fmt.Sprintf("falls silent after %d bytes", e.AfterBytes)
}

func (Status) sealed()     {}
func (Reset) sealed()      {}
func (FallSilent) sealed() {}

// Can tells whether the server knows how to do e.
func (s *Server) Can(e fault.Effect) error {
	own, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("httpd: %v (%T) is not an effect of this service", e, e)
	}
	switch e := own.(type) {
	case Status:
		if e.Code < 200 || e.Code > 599 {
			return fmt.Errorf("httpd: status %d is not in 200 to 599", e.Code)
		}
		for _, line := range e.lines() {
			name, value, ok := strings.Cut(line, ":")
			if !ok || !isToken(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' }) {
				return fmt.Errorf("httpd: header line %q is not \"Name: value\"", line)
			}
		}
	case Reset:
		if e.AfterBytes < 0 {
			return fmt.Errorf("httpd: reset after %d bytes", e.AfterBytes)
		}
	case FallSilent:
		if e.AfterBytes < 0 {
			return fmt.Errorf("httpd: silence after %d bytes", e.AfterBytes)
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

func statusText(code int) string {
	if text := http.StatusText(code); text != "" {
		return text
	}
	return "Status"
}

// isToken is the token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
