package httpd

import (
	"fmt"
	"net/http"
	"strings"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// Effect is one way in which this server misbehaves. Each stands in the file of
// its family, with the one place where it acts. A rule finds its effect only
// where that can act: elsewhere it does not fire.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
	check() error
}

// Kinds lists the effects, so that a file can name them.
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
	Effect
	// suits tells whether it can be done to this answer.
	suits(x *exchange) bool
	// alter does it.
	alter(x *exchange)
}

// challenging is an effect on a challenge that is about to be made.
type challenging interface {
	Effect
	ask(c *ask)
}

// interrupting is an effect on a body of which a part was sent.
type interrupting interface {
	Effect
	// within tells whether it can be done at such a place; done: nothing of the
	// body is left.
	within(done bool) bool
	// interrupt says how the body goes on.
	interrupt(s *stream)
}

// shaking is an effect on a TLS handshake.
type shaking interface {
	Effect
	// at tells whether it can be done at this place of the handshake, of which
	// flight is about to be sent; nil: none is.
	at(p place, flight []byte) bool
	// shake does it, and says what goes out in place of the flight.
	shake(f *flights, p place, flight []byte) outcome
}

// Can tells whether the server knows how to do e.
func (s *Server) Can(e fault.Effect) error {
	own, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("httpd: %v (%T) is not an effect of this service", e, e)
	}
	if err := own.check(); err != nil {
		return fmt.Errorf("httpd: %w", err)
	}
	if p, ok := e.(Present); ok {
		_, err := s.other(p.Label)
		return err
	}
	return nil
}

// fault asks the plan for an effect that is able to act at p, and enters what it
// answers into the journal.
func (c *conn) fault(p fault.Point, able func(Effect) bool) Effect {
	plan := c.srv.cfg.Faults
	if plan.Empty() {
		return nil
	}
	p.Service = by
	f, sentence, ok := plan.Try(p, func(f fault.Effect) bool {
		own, ok := f.(Effect)
		return ok && own.check() == nil && able(own)
	}, nil)
	if !ok {
		return nil
	}
	e := c.event(timeline.FaultFired)
	e.Message, e.File, e.Reason = p.Message, p.File, sentence
	c.srv.cfg.Record(e)
	own, _ := f.(Effect)
	return own
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
