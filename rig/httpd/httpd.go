// Package httpd serves files over HTTP and HTTPS to a handset that the
// Installer Guide (page F-2) sends there by DHCP option 160 or a stored URL,
// asks it for credentials, and misbehaves exactly as told.
//
// It is a server of its own and not net/http's, because what a lab wants to
// know lies below a handler: the bytes of each connection, the ClientHello of
// a handset that no Go server can shake hands with, the alert at which a
// certificate was refused, the request head as written. Requests are read by
// net/http, TLS is crypto/tls; connections, keep-alive, answers and their
// faults are decided here. Each connection is served in order, one request
// after the other.
//
// Where a fault may apply, as the plan is asked:
//
//   - message "ClientHello", phase "hello": read and recorded, not yet answered
//     (HTTPS)
//   - message "ServerHello", phase "server flight": the rig's first flight,
//     ServerHello to ServerHelloDone (TLS 1.3: to Finished), is about to be sent
//   - message "ServerHelloDone", phase "flight sent": it was sent
//   - message "Finished", phase "client finished": the handset's Finished came;
//     before TLS 1.3 the rig's own is about to be sent
//   - message "GET" or "HEAD" with the file, phase "answer": about to be
//     answered with the file, or with whatever stands in for it
//   - message "401", phase "challenge": about to be answered with a challenge.
//     It carries no file, so that a fault on a file waits for the request that
//     gets the file.
//   - message "body" with the file and the bytes handed over before, phase
//     "body": in the middle of a file, every 16 KiB, so that "behind byte n" is
//     the first such place where n or more were
//   - message "done" with file and bytes, phase "done": a file was handed over
//     whole
//
// At "body" and "done" the bytes are with the handset: on the rig's own host its
// TCP has acknowledged them all, and not one more was sent. Over TLS they are
// those of the file, not of the records: each record that holds some of them is
// whole and acknowledged, and the next begins behind them, so that the handset
// can decrypt as many as are counted. A handset that does not acknowledge them
// within Stall, or resets the connection, never gets there: the rule does not
// fire.
//
// The flights behind the hello, "body" and "done" are within an exchange: see
// fault.Point. Effects act where they can: those on a whole answer at "answer"
// and "challenge", Reset, FallSilent, Close, Delay and Trickle also in the middle
// of a body and in the handshake.
//
// Everything is recorded before it is done: events carry By "httpd", Src the
// handset's end, Dst the rig's. Passwords and digest responses are never in
// them.
package httpd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

const by = "httpd"

// Config is what a Server is made from.
type Config struct {
	// Listener is where handsets connect; Serve closes it.
	Listener net.Listener
	// Lookup returns the content of a file. The name is the path of the
	// request, decoded once, without leading slashes; it never holds "..", NUL
	// or a backslash. fs.ErrNotExist is answered 404, fs.ErrPermission 403,
	// any other error 500.
	Lookup func(name string, from netip.AddrPort) (content []byte, err error)
	// Auth says what credentials a file needs, asked anew for each request;
	// nil: none.
	Auth func(name string) Auth

	// Certificate chooses what to show, live for each connection, with its
	// label for the journal. nil makes this a plain HTTP server.
	Certificate func(hello *tls.ClientHelloInfo) (cert *tls.Certificate, label string, err error)
	// Other returns the certificate of a label, for Present: the one that is
	// shown instead on a connection. nil: there is none to show.
	Other func(label string) (*tls.Certificate, error)
	// MinVersion and MaxVersion bound the TLS version; zero: TLS 1.0 to 1.3.
	MinVersion, MaxVersion uint16
	// CipherSuites are what TLS 1.0 to 1.2 may use; nil: all that Go has, RSA
	// key exchange, 3DES and RC4 among them.
	CipherSuites []uint16
	// KeyLog takes the secrets of each connection in the format of
	// SSLKEYLOGFILE; nil: none.
	KeyLog io.Writer
	// Resume allows sessions to be resumed by ticket. Without it every
	// connection shows the certificate.
	Resume bool

	// Idle bounds the wait for a handshake or a whole request head; zero: a minute.
	Idle time.Duration
	// Stall bounds how long an answer makes no progress; zero: a minute.
	Stall time.Duration
	// Linger bounds the wait for the other side's end after ours; zero: 2 s.
	Linger time.Duration

	// Record takes an event into the journal; safe for concurrent use.
	Record func(timeline.Event)
	// Faults is the plan in force; nil: none ever.
	Faults *fault.Plan
	// Now is what the Date of an answer says; nil: time.Now.
	Now func() time.Time
	// Text makes nonces; nil: crypto/rand.Text.
	Text func() string
}

// Server serves what its Config says.
type Server struct {
	cfg     Config
	tls     *tls.Config // nil: plain
	gate    gate
	serving sync.WaitGroup
	readers sync.Pool // of *bufio.Reader

	releasing sync.Mutex
	released  chan struct{} // closed, and made anew, by Release
}

// New checks the configuration. Nothing runs before Serve.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Listener == nil:
		return nil, errors.New("httpd: no Listener")
	case cfg.Lookup == nil:
		return nil, errors.New("httpd: no Lookup")
	case cfg.Record == nil:
		return nil, errors.New("httpd: no Record")
	case cfg.Idle < 0 || cfg.Stall < 0 || cfg.Linger < 0:
		return nil, errors.New("httpd: a wait is negative")
	}
	cfg.Idle = orElse(cfg.Idle, time.Minute)
	cfg.Stall = orElse(cfg.Stall, time.Minute)
	cfg.Linger = orElse(cfg.Linger, 2*time.Second)
	cfg.MinVersion = orElse(cfg.MinVersion, tls.VersionTLS10)
	cfg.MaxVersion = orElse(cfg.MaxVersion, tls.VersionTLS13)
	if cfg.MinVersion > cfg.MaxVersion {
		return nil, fmt.Errorf("httpd: MinVersion %s is above MaxVersion %s", tls.VersionName(cfg.MinVersion), tls.VersionName(cfg.MaxVersion))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Auth == nil {
		cfg.Auth = func(string) Auth { return Auth{} }
	}
	s := &Server{cfg: cfg, gate: gate{text: cfg.Text}, released: make(chan struct{})}
	if cfg.Certificate == nil {
		return s, nil
	}
	suites := cfg.CipherSuites
	if suites == nil {
		suites = everySuite()
	}
	// Firmware of 2010 speaks TLS 1.0 with RSA key exchange, 3DES or RC4.
	s.tls = &tls.Config{
		MinVersion:             cfg.MinVersion,
		MaxVersion:             cfg.MaxVersion,
		CipherSuites:           suites,
		KeyLogWriter:           cfg.KeyLog,
		SessionTicketsDisabled: !cfg.Resume,
	}
	if cfg.Resume {
		var key [32]byte
		if _, err := rand.Read(key[:]); err != nil {
			return nil, fmt.Errorf("httpd: ticket key: %w", err)
		}
		s.tls.SetSessionTicketKeys([][32]byte{key})
	}
	return s, nil
}

func orElse[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}

func everySuite() []uint16 {
	var ids []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}

// Serve accepts connections until ctx ends, and returns nil then, after the
// last connection is closed and recorded.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.serving.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.cfg.Listener.Close() })
	defer stop()
	for {
		raw, err := s.cfg.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("httpd on %s: %w", s.cfg.Listener.Addr(), err)
		}
		// Ends when the handset or ctx closes the connection, or a wait is over.
		s.serving.Go(func() { s.connection(ctx, raw) })
	}
}

// Forget drops the nonces given out and the memory of who was challenged, as
// a server that was started anew.
func (s *Server) Forget() { s.gate.forget() }

func (s *Server) transport() timeline.Transport {
	if s.tls != nil {
		return timeline.HTTPS
	}
	return timeline.HTTP
}
