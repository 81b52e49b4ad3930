package httpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"ip88rig/rig/fault"
)

// Alert sends an alert in clear in place of a flight of the handshake, and
// closes the connection.
type Alert struct {
	// Level is 1 (warning) or 2 (fatal); another is sent as it is. 0: fatal.
	Level uint8
	// Description is its number (RFC 8446, 6): 40 is handshake_failure, 0 with
	// level 1 is close_notify.
	Description uint8
	// Proceed sends the flight behind it, as a server does that only warns: of
	// unrecognized_name (112).
	Proceed bool
}

func (e Alert) String() string {
	s := fmt.Sprintf("sends the alert %s (level %d)", alertName(int(e.Description)), orElse(e.Level, 2))
	if e.Proceed {
		s += " and goes on"
	}
	return s
}

func (Alert) at(place, []byte) bool { return true }

func (e Alert) shake(f *flights, _ place, flight []byte) outcome {
	record := []byte{recordAlert, 3, 1, 0, 2, orElse(e.Level, 2), e.Description}
	if e.Proceed {
		return outcome{out: append(record, flight...)}
	}
	return outcome{out: record, over: f.finish("closed after the alert")}
}

// Versions bounds the version of TLS on this connection.
type Versions struct {
	// Min and Max are as in crypto/tls; 0: as the server has it.
	Min, Max uint16
}

func (e Versions) String() string {
	switch {
	case e.Min == 0:
		return "speaks " + tls.VersionName(e.Max) + " at most"
	case e.Max == 0:
		return "speaks " + tls.VersionName(e.Min) + " at least"
	default:
		return "speaks " + tls.VersionName(e.Min) + " to " + tls.VersionName(e.Max)
	}
}

func (e Versions) check() error {
	for _, v := range []uint16{e.Min, e.Max} {
		if v != 0 && (v < tls.VersionTLS10 || v > tls.VersionTLS13) {
			return fmt.Errorf("version %s of TLS", tls.VersionName(v))
		}
	}
	if e.Min == 0 && e.Max == 0 || e.Max != 0 && e.Min > e.Max {
		return fmt.Errorf("versions %#04x to %#04x of TLS", e.Min, e.Max)
	}
	return nil
}

func (Versions) at(p place, _ []byte) bool { return p == afterHello }

func (e Versions) shake(f *flights, _ place, flight []byte) outcome {
	f.config.MinVersion = orElse(e.Min, f.config.MinVersion)
	f.config.MaxVersion = orElse(e.Max, f.config.MaxVersion)
	f.config.MinVersion = min(f.config.MinVersion, f.config.MaxVersion)
	return outcome{out: flight}
}

// Suites bounds the cipher suites on this connection.
type Suites struct {
	// Names are those of crypto/tls, separated by commas, of TLS 1.0 to 1.2; the
	// connection speaks no TLS 1.3 then.
	Names string
}

func (e Suites) String() string { return "takes no cipher suite but " + e.Names }

func (e Suites) check() error {
	_, err := e.ids()
	return err
}

func (Suites) at(p place, _ []byte) bool { return p == afterHello }

func (e Suites) ids() ([]uint16, error) {
	var ids []uint16
	for name := range strings.SplitSeq(e.Names, ",") {
		found := false
		for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if s.Name == strings.TrimSpace(name) && s.SupportedVersions[0] < tls.VersionTLS13 {
				ids, found = append(ids, s.ID), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is no cipher suite of TLS 1.0 to 1.2 that Go has", name)
		}
	}
	return ids, nil
}

func (e Suites) shake(f *flights, _ place, flight []byte) outcome {
	if ids, err := e.ids(); err == nil {
		f.config.CipherSuites = ids
	}
	f.config.MaxVersion = min(f.config.MaxVersion, tls.VersionTLS12)
	return outcome{out: flight}
}

// Present shows another certificate on this connection: one that changes between
// two connections.
type Present struct {
	// Label names it, see Config.Other.
	Label string
}

func (e Present) String() string { return fmt.Sprintf("shows the certificate %q", e.Label) }

func (e Present) check() error {
	if e.Label == "" {
		return errors.New("a certificate without a label")
	}
	return nil
}

func (Present) at(p place, _ []byte) bool { return p == afterHello }

func (e Present) shake(f *flights, _ place, flight []byte) outcome {
	f.label = e.Label
	return outcome{out: flight}
}

func (Garbage) at(place, []byte) bool { return true }

func (e Corrupt) at(_ place, flight []byte) bool {
	_, ok := e.place(len(flight))
	return ok
}

func (e Garbage) shake(f *flights, _ place, _ []byte) outcome {
	return outcome{out: e.make(), over: f.finish("closed after the garbage")}
}

func (e Corrupt) shake(_ *flights, _ place, flight []byte) outcome {
	return outcome{out: e.flip(flight)}
}

// other is the certificate of a label.
func (s *Server) other(label string) (*tls.Certificate, error) {
	if s.tls == nil || s.cfg.Other == nil {
		return nil, fmt.Errorf("httpd: no certificate %q: there is no other one to show", label)
	}
	cert, err := s.cfg.Other(label)
	if err == nil && cert == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("httpd: certificate %q: %w", label, err)
	}
	return cert, nil
}

// place is where in a handshake the rig stands.
type place uint8

// point is the place as rules name it.
func (p place) point() fault.Point {
	return [...]fault.Point{
		afterHello:     {Message: "ClientHello", Phase: "hello"},
		serverFlight:   {Message: "ServerHello", Phase: "server flight", Within: true},
		flightSent:     {Message: "ServerHelloDone", Phase: "flight sent", Within: true},
		clientFinished: {Message: "Finished", Phase: "client finished", Within: true},
	}[p]
}

const (
	afterHello place = iota
	serverFlight
	flightSent
	clientFinished
)

// outcome is what goes out in place of a flight, and how the connection ends
// behind it; nil: it does not.
type outcome struct {
	out  []byte
	over func() string
}

// flights is the connection below a handshake, seen flight by flight. crypto/tls
// writes each of the rig's at once.
type flights struct {
	net.Conn
	c      *conn
	done   <-chan struct{} // when the service ends
	config *tls.Config
	label  string   // of the certificate to show; empty: the right one
	pace   *Trickle // of this flight
	slow   bool     // of every one
	place  place    // where a fault was last asked for
	wrote  bool     // the last thing that was done
	ended  string   // how a fault ended the connection; empty: it goes on
	whole  bool     // the handshake is over
}

// ask meets the fault of a place, and returns what to send.
func (f *flights) ask(p place, flight []byte) []byte {
	f.place = p
	if !f.slow {
		f.pace = nil
	}
	effect := f.c.fault(p.point(), func(e fault.Effect) bool {
		s, ok := e.(shaking)
		return ok && s.at(p, flight)
	})
	s, ok := effect.(shaking)
	if !ok {
		return flight
	}
	o := s.shake(f, p, flight)
	if o.over == nil {
		return o.out
	}
	why := "the rig " + effect.String() + " as told"
	if _, reset := effect.(Reset); reset {
		why = "reset by the rig as told"
	}
	f.c.settle(false, why, nil)
	_, _ = f.c.paced(f.done, f.pace, f.Conn, o.out)
	f.ended = o.over()
	return nil
}

// finish ends the connection in order.
func (f *flights) finish(why string) func() string {
	return func() string {
		f.c.finish()
		return why
	}
}

func (f *flights) Write(b []byte) (int, error) {
	if f.whole {
		return f.Conn.Write(b)
	}
	if f.ended != "" {
		return 0, errTold
	}
	out := b
	if !f.wrote {
		f.wrote = true
		switch {
		case retry(b):
		case f.place == afterHello:
			out = f.ask(serverFlight, b)
		case f.place < clientFinished:
			out = f.ask(clientFinished, b)
		}
	}
	if f.ended != "" {
		return 0, errTold
	}
	if _, err := f.c.paced(f.done, f.pace, f.Conn, out); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *flights) Read(b []byte) (int, error) {
	if f.whole {
		return f.Conn.Read(b)
	}
	if f.wrote && f.place == serverFlight && f.ended == "" {
		if out := f.ask(flightSent, nil); len(out) > 0 {
			_, _ = f.Conn.Write(out) // the read tells
		}
	}
	if f.ended != "" {
		return 0, errTold
	}
	if f.wrote { // a slow flight has used up the time
		f.c.deadline(f.c.raw.SetReadDeadline, f.c.srv.cfg.Idle)
	}
	f.wrote = false
	return f.Conn.Read(b)
}

// over ends the watch when the handshake is over.
func (f *flights) over() {
	if f.place < clientFinished && f.ended == "" {
		if out := f.ask(clientFinished, nil); len(out) > 0 {
			_, _ = f.Conn.Write(out)
		}
	}
	f.whole = true
}

var errTold = errors.New("ended as told")

// retry tells a HelloRetryRequest (RFC 8446, 4.1.3) from a ServerHello: another
// ClientHello follows it.
func retry(flight []byte) bool {
	random := []byte("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")
	return len(flight) > 43 && flight[0] == recordHandshake && flight[5] == 2 && bytes.Equal(flight[11:43], random)
}
