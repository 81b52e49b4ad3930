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
	"time"

	"github.com/beevik/ntp"
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

// Query asks the server (port 123 when the port is 0) up to tries times, waits
// timeout for each answer, and returns what must be added to time.Now. Answers
// that do not belong to the question (other sender, mode or origin stamp, too
// short) are passed over. A kiss of death ends it at once; an unusable answer
// costs a try.
func Query(ctx context.Context, listen func(ctx context.Context) (net.PacketConn, error), server netip.AddrPort, timeout time.Duration, tries int) (time.Duration, error) {
	if timeout <= 0 {
		return 0, fmt.Errorf("sntp: %v: timeout %v is not positive", server, timeout)
	}
	if server.Port() == 0 {
		server = netip.AddrPortFrom(server.Addr(), port)
	}
	var last error
	for range max(tries, 1) {
		offset, err := ask(ctx, listen, server, timeout)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err == nil {
			return offset, nil
		}
		last = err
		if errors.Is(err, ErrKissOfDeath) {
			break
		}
	}
	return 0, fmt.Errorf("%w (server %v)", last, server)
}

func ask(ctx context.Context, listen func(ctx context.Context) (net.PacketConn, error), server netip.AddrPort, timeout time.Duration) (time.Duration, error) {
	sock, err := listen(ctx)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { sock.Close() }) //nolint:errcheck,gosec // it only wakes the reader
	defer stop()
	end := time.Now().Add(timeout)
	r, err := ntp.QueryWithOptions(server.String(), ntp.QueryOptions{
		Timeout:       timeout,
		GetSystemTime: time.Now, // the stamps of the socket handed in are not the kernel's
		Dialer: func(string, string) (net.Conn, error) {
			return &exchange{PacketConn: sock, server: netip.AddrPortFrom(server.Addr().Unmap(), server.Port())}, nil
		},
	})
	if err == nil {
		err = r.Validate()
	}
	var silent net.Error
	switch {
	case err == nil:
		return r.ClockOffset, nil
	case errors.As(err, &silent) && silent.Timeout():
		return 0, ErrTimeout
	case errors.Is(err, ntp.ErrKissOfDeath):
		return 0, fmt.Errorf("%w %s", ErrKissOfDeath, r.KissCode)
	case r == nil && !time.Now().Before(end):
		return 0, fmt.Errorf("%w: %v", ErrTimeout, err)
	default:
		return 0, fmt.Errorf("%w: %v", ErrUnusable, err)
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

// answers tells whether a packet is a server's answer to the question with this
// transmit stamp (RFC 4330, 5, items 1 to 3).
func answers(p, origin []byte) bool {
	return len(p) >= packet && p[0]&modeMask == modeServer && bytes.Equal(p[24:32], origin)
}

// RemoteAddr returns the server's address.
func (e *exchange) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(e.server) }
