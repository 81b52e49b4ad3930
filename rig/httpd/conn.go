package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"ip88rig/capture/timeline"
)

// conn is one TCP connection.
type conn struct {
	srv      *Server
	raw      *counted
	tls      *tls.Conn // nil: plain
	br       *bufio.Reader
	src, dst netip.AddrPort
	// pending is the handshake that is done, until it is known whether the
	// handset goes on or refuses; nil otherwise.
	pending *timeline.Event
	// behind: it was waited for all that this answer has sent so far, in vain.
	behind bool
	// released is closed when this answer, or this handshake, is not to be delayed
	// any more.
	released <-chan struct{}
}

// connection serves raw from its first byte to its last.
func (s *Server) connection(ctx context.Context, raw net.Conn) {
	c := &conn{srv: s, released: s.release(), raw: &counted{Conn: raw}, src: address(raw.RemoteAddr()), dst: address(raw.LocalAddr())}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	why := c.serve(ctx)
	c.settle(false, why, nil)
	if ctx.Err() != nil {
		why = "the service ends"
	}
	_ = raw.Close()
	e := c.event(timeline.ConnClosed)
	e.Reason = why
	e.Fields = map[string]string{
		"bytes.in":  strconv.FormatInt(c.raw.in.Load(), 10),
		"bytes.out": strconv.FormatInt(c.raw.out.Load(), 10),
	}
	s.cfg.Record(e)
}

// reader returns one that has room for a head, maybe from a connection before.
func (s *Server) reader(from io.Reader) *bufio.Reader {
	if br, ok := s.readers.Get().(*bufio.Reader); ok {
		br.Reset(from)
		return br
	}
	return bufio.NewReaderSize(from, maxHead)
}

// serve returns why the connection is over.
func (c *conn) serve(ctx context.Context) string {
	var from io.Reader = c.raw
	if c.srv.tls != nil {
		if why := c.handshake(ctx); why != "" {
			return why
		}
		from = c.tls
	}
	c.br = c.srv.reader(from)
	defer c.srv.readers.Put(c.br)
	for first := true; ; first = false {
		c.deadline(c.raw.SetReadDeadline, c.srv.cfg.Idle)
		start, err := c.br.Peek(1)
		if err != nil {
			return c.quiet(first, err)
		}
		c.settle(true, "", nil)
		if first && c.tls == nil && (start[0] == recordHandshake || start[0]&0x80 != 0) {
			return c.tlsOnPlain()
		}
		keep, why := c.exchange(ctx.Done())
		if !keep {
			return why
		}
	}
}

// quiet ends a connection on which no further request begins.
func (c *conn) quiet(first bool, err error) string {
	why, alert := ending(err), c.alert(err)
	switch {
	case alert != nil:
		why = "alert " + alert.name
	case isTimeout(err) && first:
		why = fmt.Sprintf("nothing asked in %s", c.srv.cfg.Idle)
	case isTimeout(err):
		why = fmt.Sprintf("nothing more asked in %s", c.srv.cfg.Idle)
	}
	c.settle(false, why+" after the handshake, nothing was sent", alert)
	c.finish()
	return why
}

// tlsOnPlain meets a ClientHello where HTTP is spoken.
func (c *conn) tlsOnPlain() string {
	read, h, what, err := peekHello(c.br)
	if what == notTLS {
		c.oddity(fmt.Sprintf("neither HTTP nor TLS spoken to the plain port: it begins % x", read[:min(len(read), 16)]), nil)
		c.finish()
		return "closed after something that is not HTTP"
	}
	reason := "TLS spoken to the plain port"
	var fields map[string]string
	if h != nil {
		fields = h.fields()
		reason += ": a ClientHello offering " + versionName(h.max())
		if h.sni != "" {
			reason += " to " + strconv.Quote(h.sni)
		}
	}
	if err != nil {
		reason += ": no whole ClientHello: " + ending(err)
	}
	c.oddity(reason, fields)
	c.finish()
	return "closed after TLS on the plain port"
}

// finish closes in order: our end first, then the other side's. What still
// comes is read, because closing on unread bytes would send a reset.
func (c *conn) finish() {
	c.deadline(c.raw.SetDeadline, c.srv.cfg.Linger)
	if c.tls != nil && c.tls.ConnectionState().HandshakeComplete {
		_ = c.tls.CloseWrite()
	}
	c.leave()
}

// leave is finish without the end of TLS.
func (c *conn) leave() {
	c.deadline(c.raw.SetDeadline, c.srv.cfg.Linger)
	half, ok := c.raw.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.swallow()
}

// swallow reads what still comes, to the end; why it ended is never nil.
func (c *conn) swallow() error {
	_, err := io.Copy(io.Discard, c.raw)
	if err == nil {
		err = io.EOF
	}
	return err
}

func (c *conn) deadline(set func(time.Time) error, wait time.Duration) {
	_ = set(time.Now().Add(wait))
}

func (c *conn) event(kind timeline.Kind) timeline.Event {
	return timeline.Event{By: by, Kind: kind, Src: c.src, Dst: c.dst, Transport: c.srv.transport()}
}

func (c *conn) oddity(reason string, fields map[string]string) {
	e := c.event(timeline.ServiceOddity)
	e.Reason, e.Fields = reason, fields
	c.srv.cfg.Record(e)
}

// counted counts the payload of a TCP connection and notes the alert that the
// other side sends in clear.
type counted struct {
	net.Conn
	in, out atomic.Int64
	watch   alertWatch
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	c.watch.see(b[:n])
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

func address(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{} // a pipe has none
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// ending says in words how the other side went.
func ending(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by the handset"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(err.Error(), "connection reset by peer"), // the user-space host has no errno
		strings.Contains(err.Error(), "broken pipe"):
		return "reset by the handset"
	case isTimeout(err):
		return "no answer in time"
	default:
		return err.Error()
	}
}
