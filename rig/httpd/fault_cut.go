package httpd

import (
	"fmt"
	"time"

	"ip88rig/capture/timeline"
)

// Reset breaks the connection with a TCP reset.
type Reset struct {
	// AfterBytes is how much of the body, or of the flight of a TLS handshake,
	// is handed over before: at most all of it. 0: not even the head. Of a
	// ClientHello, and within a body, it must be 0.
	AfterBytes int64
	// HeadBytes is how much of the head is handed over before, and nothing of
	// the body; more than there is: the whole head. Then AfterBytes must be 0.
	HeadBytes int64
}

func (e Reset) String() string { return "resets the connection" + behind(e.AfterBytes, e.HeadBytes) }

func (e Reset) check() error { return checkCut("reset", e.AfterBytes, e.HeadBytes) }

func (e Reset) suits(x *exchange) bool { return e.AfterBytes <= x.sends() }

func (e Reset) within(bool) bool { return e == Reset{} }

func (e Reset) at(_ place, flight []byte) bool { return before(flight, e.AfterBytes, e.HeadBytes) }

func (e Reset) alter(x *exchange) { x.a.cut = &cut{e.HeadBytes, e.AfterBytes, false, x.c.reset} }

func (Reset) interrupt(s *stream) { s.then, s.broken = s.c.reset, true }

func (e Reset) shake(f *flights, _ place, flight []byte) outcome {
	return outcome{out: flight[:e.AfterBytes], over: f.c.reset}
}

// FallSilent stops in the middle and keeps the connection open, without a
// bound of its own.
type FallSilent struct {
	// AfterBytes is as that of Reset.
	AfterBytes int64
	// HeadBytes is as that of Reset.
	HeadBytes int64
}

func (e FallSilent) String() string { return "falls silent" + behind(e.AfterBytes, e.HeadBytes) }

func (e FallSilent) check() error { return checkCut("silence", e.AfterBytes, e.HeadBytes) }

func (e FallSilent) suits(x *exchange) bool { return e.AfterBytes <= x.sends() }

func (e FallSilent) within(bool) bool { return e == FallSilent{} }

func (e FallSilent) at(_ place, flight []byte) bool { return before(flight, e.AfterBytes, e.HeadBytes) }

func (e FallSilent) alter(x *exchange) {
	x.a.cut = &cut{e.HeadBytes, e.AfterBytes, true, x.c.silence}
}

func (FallSilent) interrupt(s *stream) { s.then = s.c.silence }

func (e FallSilent) shake(f *flights, _ place, flight []byte) outcome {
	return outcome{out: flight[:e.AfterBytes], over: f.c.silence}
}

// Close ends the connection in order, too early.
type Close struct {
	// AfterBytes is as that of Reset.
	AfterBytes int64
	// HeadBytes is as that of Reset.
	HeadBytes int64
	// Mute leaves out the close_notify of TLS, so that the handset can tell the
	// end from one that an attacker made (RFC 8446, 6.1).
	Mute bool
}

func (e Close) String() string {
	s := "closes the connection" + behind(e.AfterBytes, e.HeadBytes)
	if e.Mute {
		s += " without close_notify"
	}
	return s
}

func (e Close) check() error { return checkCut("close", e.AfterBytes, e.HeadBytes) }

func (e Close) suits(x *exchange) bool { return e.AfterBytes <= x.sends() }

func (e Close) within(bool) bool { return e.AfterBytes == 0 && e.HeadBytes == 0 }

func (e Close) at(_ place, flight []byte) bool { return before(flight, e.AfterBytes, e.HeadBytes) }

func (e Close) alter(x *exchange) {
	x.a.cut = &cut{e.HeadBytes, e.AfterBytes, true, e.ending(x.c)}
}

func (e Close) ending(c *conn) func() string {
	return func() string {
		if e.Mute {
			c.leave()
		} else {
			c.finish()
		}
		return "closed as told"
	}
}

func (e Close) interrupt(s *stream) { s.then = e.ending(s.c) }

func (e Close) shake(f *flights, _ place, flight []byte) outcome {
	return outcome{out: flight[:e.AfterBytes], over: e.ending(f.c)}
}

func behind(body, head int64) string {
	switch {
	case head > 0:
		return fmt.Sprintf(" after %d bytes of the head", head)
	case body > 0:
		return fmt.Sprintf(" after %d bytes", body)
	default:
		return ""
	}
}

func checkCut(what string, body, head int64) error {
	if body < 0 || head < 0 || body > 0 && head > 0 {
		return fmt.Errorf("%s after %d bytes of the head and %d of the body", what, head, body)
	}
	return nil
}

// cut is how an answer ends too early.
type cut struct {
	head, body int64
	whole      bool // if all was sent, it is a whole answer
	then       func() string
}

// nothing tells that not even the head goes out.
func (k *cut) nothing() bool { return k != nil && k.head == 0 && k.body == 0 }

// before tells whether a flight can be cut so: it has as many bytes, and no head.
func before(flight []byte, body, head int64) bool { return head == 0 && body <= int64(len(flight)) }

// reset breaks the connection and tells how. What was written is on the wire
// before, if the other side takes it.
func (c *conn) reset() string {
	undone := map[string]string{timeline.FaultUndone: "resets the connection"}
	abrupt, ok := c.raw.Conn.(interface{ SetLinger(sec int) error })
	if !ok {
		c.oddity(fmt.Sprintf("a %T cannot be reset: it is closed instead", c.raw.Conn), undone)
		return "closed as told, without a reset"
	}
	if !c.behind { // who did not take it in one Stall is not waited for again
		c.drain()
	}
	if err := abrupt.SetLinger(0); err != nil {
		c.oddity(fmt.Sprintf("the connection cannot be reset: %v: it is closed instead", err), undone)
	}
	_ = c.raw.Close()
	return "reset as told"
}

// drain waits until the handset has acknowledged all, where that can be told. It
// returns false when it did not.
func (c *conn) drain() bool {
	d, ok := c.raw.Conn.(interface{ Drain(until time.Time) error })
	if !ok {
		return true
	}
	err := d.Drain(time.Now().Add(c.srv.cfg.Stall))
	if err != nil && isTimeout(err) {
		c.behind = true
		c.oddity(fmt.Sprintf("the handset did not acknowledge all in %s", c.srv.cfg.Stall), nil)
	}
	return err == nil
}

// silence holds the connection until the other side or the service ends it.
func (c *conn) silence() string {
	_ = c.raw.SetDeadline(time.Time{})
	err := c.swallow()
	return ending(err) + " after the silence"
}
