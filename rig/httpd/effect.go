package httpd

import (
	"fmt"
	"net/http"
	"strings"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// Kinds lists the effects, so that a file can name them. Each stands in the file of
// its family, with the one place where it acts. A rule finds its effect only
// where that can act: elsewhere it does not fire.
func Kinds() fault.Kinds {
	return fault.NewKinds("httpd",
		Accept{}, Alert{}, AskAgain{}, BareBody{}, BareLF{}, Chunked{}, Close{}, Compressed{}, Corrupt{},
		Delay{}, FallSilent{}, FileUnder{}, FoldedHeader{}, Garbage{}, Interim{}, Length{}, LengthAs{},
		LengthTwice{}, LongHeader{}, ManyHeaders{}, NULHeader{}, NextNonce{}, NoLength{}, NonceOnce{},
		Offer{}, Opaque{}, Persistence{}, Present{}, RawHeader{}, Realm{}, Redirect{}, Reset{}, Stale{},
		Status{}, StatusLine{}, Suites{}, Trickle{}, Truncate{}, Twice{}, Version{}, Versions{},
		WrongFile{},
	)
}

// answering is an effect on an answer that is about to be sent.
type answering interface {
	fault.Effect
	// alter does it.
	alter(x *exchange)
}

// choosy is an answering effect that can do nothing to some answers.
type choosy interface {
	suits(x *exchange) bool
}

// challenging is an effect on a challenge that is about to be made.
type challenging interface {
	fault.Effect
	ask(c *ask)
}

// interrupting is an effect on a body of which a part was sent.
type interrupting interface {
	fault.Effect
	// within tells whether it can be done at such a place; done: nothing of the
	// body is left.
	within(done bool) bool
	// interrupt says how the body goes on.
	interrupt(s *stream)
}

// shaking is an effect on a TLS handshake.
type shaking interface {
	fault.Effect
	// at tells whether it can be done at this place of the handshake, of which
	// flight is about to be sent; nil: none is.
	at(p place, flight []byte) bool
	// shake does it, and says what goes out in place of the flight.
	shake(f *flights, p place, flight []byte) outcome
}

// Can tells whether the server knows how to do e.
func (s *Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("httpd: %v (%T) is not an effect of this service", e, e)
	}
	if c, ok := e.(checked); ok {
		if err := c.check(); err != nil {
			return fmt.Errorf("httpd: %w", err)
		}
	}
	if p, ok := e.(Present); ok {
		_, err := s.other(p.Label)
		return err
	}
	return nil
}

// fault asks the plan for an effect that is able to act at p, and enters what it
// answers into the journal.
func (c *conn) fault(p fault.Point, able func(fault.Effect) bool) fault.Effect {
	plan := c.srv.cfg.Faults
	if plan.Empty() {
		return nil
	}
	p.Service = by
	f, sentence, ok := plan.Try(p, func(e fault.Effect) bool { return c.srv.Can(e) == nil && able(e) }, nil)
	if !ok {
		return nil
	}
	e := c.event(timeline.FaultFired)
	e.Message, e.File, e.Reason = p.Message, p.File, sentence
	c.srv.cfg.Record(e)
	return f
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

// isLine tells what stands on one line of a head.
func isLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' })
}

func checkLine(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) || !isLine(value) {
		return fmt.Errorf("header line %q is not \"Name: value\"", line)
	}
	return nil
}
