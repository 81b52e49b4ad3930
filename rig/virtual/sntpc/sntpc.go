// Package sntpc asks an SNTP server for the time as the simulated handset does:
// RFC 4330 in client mode, with the sanity checks of its section 5, on a socket
// that is handed in.
package sntpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/beevik/ntp"

	"ip88rig/rig/virtual/defect"
)

// Errors that a caller may decide on.
var (
	// ErrTimeout is returned when no fitting answer came to all tries.
	ErrTimeout = errors.New("sntp: server silent")
	// ErrKissOfDeath is returned when the server asks not to be asked (RFC 4330, 8).
	ErrKissOfDeath = errors.New("sntp: kiss of death")
	// ErrUnusable is returned when the answer is not fit to set a clock by: server
	// not synchronised, or values out of range (RFC 4330, 5).
	ErrUnusable = errors.New("sntp: answer unusable")
)

const (
	port       = 123
	packet     = 48 // bytes of a packet without authentication
	modeServer = 4
	modeMask   = 7
)

// Config says whom to ask, and how.
type Config struct {
	// Listen opens a socket for one request.
	Listen func(ctx context.Context) (net.PacketConn, error)
	// Server is asked, at port 123 when the port is 0.
	Server netip.AddrPort
	// Timeout is waited before the next request. It must be positive.
	Timeout time.Duration
	// Tries is how many requests are sent, at least one.
	Tries int
	// Late is how long after the last Timeout an answer to any request is still
	// taken; 0 for not at all.
	Late time.Duration
	// GaveUp is called when the last Timeout has passed and Late begins. It must
	// not block. Nil for not at all.
	GaveUp func(err error)
	// Defects are the handset's.
	Defects defect.Set
}

// Answer is what a server told.
type Answer struct {
	// Offset must be added to time.Now.
	Offset time.Duration
	// Unsynchronised says that the server had no time itself; only a defect lets
	// such an answer pass.
	Unsynchronised bool
}

// Ask asks the server until it answers. Answers that do not belong to a question
// (other sender, mode or origin stamp, too short) are passed over. So are those
// that no clock can be set by; when nothing else comes the error is
// ErrUnusable. A kiss of death ends it at once. The answer to an earlier request
// is as good as that to the last.
func Ask(ctx context.Context, cfg Config) (Answer, error) {
	if cfg.Timeout <= 0 {
		return Answer{}, fmt.Errorf("sntp: %v: timeout %v is not positive", cfg.Server, cfg.Timeout)
	}
	if cfg.Server.Port() == 0 {
		cfg.Server = netip.AddrPortFrom(cfg.Server.Addr(), port)
	}
	cfg.Tries = max(cfg.Tries, 1)
	q := query{cfg: cfg, answers: make(chan result, cfg.Tries), last: ErrTimeout}
	own, cancel := context.WithCancel(ctx)
	var requests sync.WaitGroup
	defer requests.Wait()
	defer cancel()
	for try := range cfg.Tries {
		patience := time.Duration(cfg.Tries-try)*cfg.Timeout + cfg.Late
		requests.Go(func() { // ends with its answer, its patience or own
			a, err := ask(own, cfg, patience)
			q.answers <- result{a, err}
		})
		if a, done, err := q.wait(ctx, cfg.Timeout); done {
			return a, err
		}
	}
	if cfg.Late > 0 {
		if cfg.GaveUp != nil {
			cfg.GaveUp(q.error())
		}
		if a, done, err := q.wait(ctx, cfg.Late); done {
			return a, err
		}
	}
	return Answer{}, q.error()
}

// query is what requests share.
type query struct {
	cfg     Config
	answers chan result // holds one of each request
	last    error
}

type result struct {
	answer Answer
	err    error
}

// wait takes answers for a time; done tells that nothing more is to come.
func (q *query) wait(ctx context.Context, d time.Duration) (a Answer, done bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case r := <-q.answers:
			switch {
			case ctx.Err() != nil:
				return Answer{}, true, ctx.Err()
			case r.err == nil:
				return r.answer, true, nil
			case !errors.Is(r.err, ErrTimeout):
				q.last = r.err
			}
			if errors.Is(r.err, ErrKissOfDeath) {
				return Answer{}, true, q.error()
			}
		case <-timer.C:
			return Answer{}, false, nil
		case <-ctx.Done():
			return Answer{}, true, ctx.Err()
		}
	}
}

func (q *query) error() error { return fmt.Errorf("%w (server %v)", q.last, q.cfg.Server) }

func ask(ctx context.Context, cfg Config, timeout time.Duration) (Answer, error) {
	sock, err := cfg.Listen(ctx)
	if err != nil {
		return Answer{}, err
	}
	stop := context.AfterFunc(ctx, func() { sock.Close() }) //nolint:errcheck,gosec // it only wakes the reader
	defer stop()
	end := time.Now().Add(timeout)
	r, err := ntp.QueryWithOptions(cfg.Server.String(), ntp.QueryOptions{
		Timeout:       timeout,
		GetSystemTime: time.Now, // the stamps of the socket handed in are not the kernel's
		Dialer: func(string, string) (net.Conn, error) {
			return &exchange{PacketConn: sock, server: netip.AddrPortFrom(cfg.Server.Addr().Unmap(), cfg.Server.Port())}, nil
		},
	})
	if err == nil {
		err = r.Validate()
	}
	unsynchronised := errors.Is(err, ntp.ErrInvalidStratum) || errors.Is(err, ntp.ErrInvalidLeapSecond)
	var silent net.Error
	switch {
	case err == nil, unsynchronised && cfg.Defects.Has(defect.BelievesUnsynchronised):
		return Answer{r.ClockOffset, unsynchronised}, nil
	case errors.As(err, &silent) && silent.Timeout():
		return Answer{}, ErrTimeout
	case errors.Is(err, ntp.ErrKissOfDeath):
		return Answer{}, fmt.Errorf("%w %s", ErrKissOfDeath, r.KissCode)
	case r == nil && !time.Now().Before(end):
		return Answer{}, fmt.Errorf("%w: %v", ErrTimeout, err)
	default:
		return Answer{}, fmt.Errorf("%w: %v", ErrUnusable, err)
	}
}

// exchange is one question and its answer on a packet socket, as a net.Conn.
type exchange struct {
	net.PacketConn
	server netip.AddrPort
	origin []byte // transmit stamp of the question
}

var _ net.Conn = (*exchange)(nil)

// Write sends the question and remembers its stamp.
func (e *exchange) Write(b []byte) (int, error) {
	if len(b) >= packet {
		e.origin = bytes.Clone(b[40:48])
	}
	return e.WriteTo(b, e.RemoteAddr())
}

// Read passes over whatever is not the answer to the question.
func (e *exchange) Read(b []byte) (int, error) {
	for {
		n, addr, err := e.ReadFrom(b)
		if err != nil {
			return 0, err
		}
		from, ok := addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		sender := netip.AddrPortFrom(from.AddrPort().Addr().Unmap(), from.AddrPort().Port())
		if sender == e.server && answers(b[:n], e.origin) {
			return n, nil
		}
	}
}

// answers reports whether a packet is a server's answer to the question with this
// transmit stamp (RFC 4330, 5, items 1 to 3).
func answers(p, origin []byte) bool {
	return len(p) >= packet && p[0]&modeMask == modeServer && bytes.Equal(p[24:32], origin)
}

// RemoteAddr returns the server's address.
func (e *exchange) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(e.server) }
