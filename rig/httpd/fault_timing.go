package httpd

import (
	"fmt"
	"io"
	"time"
)

// Trickle sends slowly: a body, or a flight of the TLS handshake; on a
// ClientHello every flight of the rig's.
type Trickle struct {
	// Bytes is how much goes out at once; 0: one byte.
	Bytes int
	// Every is how long it waits before each; 0: a second.
	Every time.Duration
	// Head sends the head so, too.
	Head bool
}

func (e Trickle) String() string {
	s := fmt.Sprintf("sends %d bytes every %s", orElse(e.Bytes, 1), orElse(e.Every, time.Second))
	if e.Head {
		s += ", from the head on"
	}
	return s
}

func (e Trickle) check() error {
	if e.Bytes < 0 || e.Every < 0 {
		return fmt.Errorf("%d bytes every %s", e.Bytes, e.Every)
	}
	return nil
}

func (e Trickle) suits(x *exchange) bool { return e.Head || x.sends() > 0 }

func (Trickle) within(done bool) bool { return !done }

func (Trickle) at(p place, flight []byte) bool { return p == afterHello || len(flight) > 0 }

func (e Trickle) alter(x *exchange) { x.a.pace = &e }

func (e Trickle) interrupt(s *stream) { s.pace = &e }

func (e Trickle) shake(f *flights, p place, flight []byte) outcome {
	f.pace = &e
	f.slow = f.slow || p == afterHello
	return outcome{out: flight}
}

// Delay waits before it goes on.
type Delay struct {
	// For is how long.
	For time.Duration
	// AfterBytes is how much of the body is handed over before: less than all of
	// it. 0: not even the head. Of a TLS handshake, and within a body, it must be
	// 0.
	AfterBytes int64
}

func (e Delay) String() string { return "waits " + e.For.String() + behind(e.AfterBytes, 0) }

func (e Delay) check() error {
	if e.For <= 0 || e.AfterBytes < 0 {
		return fmt.Errorf("a wait of %s after %d bytes", e.For, e.AfterBytes)
	}
	return nil
}

func (e Delay) suits(x *exchange) bool { return e.AfterBytes == 0 || e.AfterBytes < x.sends() }

func (e Delay) within(bool) bool { return e.AfterBytes == 0 }

func (e Delay) at(place, []byte) bool { return e.AfterBytes == 0 }

func (e Delay) alter(x *exchange) { x.a.delay = e }

func (e Delay) interrupt(s *stream) { s.fail(s.pause(e.For)) }

func (e Delay) shake(f *flights, _ place, flight []byte) outcome {
	if !f.c.wait(f.done, e.For) {
		return outcome{over: func() string { return ending(errEnded) }}
	}
	return outcome{out: flight}
}

// wait passes the time, unless done comes before. After Release there is nothing to
// wait for.
func (c *conn) wait(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.released:
		return true
	case <-done:
		return false
	}
}

// Release has what a fault delays go on now: answers and handshakes that have begun
// wait for nothing any more.
func (s *Server) Release() {
	s.releasing.Lock()
	defer s.releasing.Unlock()
	close(s.released)
	s.released = make(chan struct{})
}

// release returns a channel that is closed at the next Release.
func (s *Server) release() <-chan struct{} {
	s.releasing.Lock()
	defer s.releasing.Unlock()
	return s.released
}

// paced writes b to out, slowly where pace is not nil. Each write has its bound.
func (c *conn) paced(done <-chan struct{}, pace *Trickle, out io.Writer, b []byte) (written int, err error) {
	size := len(b)
	if pace != nil {
		size = orElse(pace.Bytes, 1)
	}
	for len(b) > 0 {
		if pace != nil && !c.wait(done, orElse(pace.Every, time.Second)) {
			return written, errEnded
		}
		c.deadline(c.raw.SetWriteDeadline, c.srv.cfg.Stall)
		n, err := out.Write(b[:min(size, len(b))])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}
