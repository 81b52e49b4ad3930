package httpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/rig/virtual/defect"
)

// ErrUnreachable is wrapped by the errors of connections that could not be
// opened.
var ErrUnreachable = errors.New("server not reached")

// ErrGap is what a connection of the defect gaps-end-file ends with: what has come
// of a body until then is taken for whole.
var ErrGap = errors.New("too many gaps in what comes")

// errEncoded marks a body that is not the file itself. Asking again would bring
// the same.
var errEncoded = errors.New("body has a content encoding that was not asked for")

// endlessPace parts the timeout for defects that never give up, so that they do
// not fill a recording.
const endlessPace = 10

// endless reports whether a defect goes on without end.
func (c *Client) endless() bool {
	return slices.ContainsFunc([]defect.Name{defect.HandshakeHangs, defect.FollowsRedirectsForever, defect.AuthenticatesForever}, c.Defects.Has)
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// repeats reports whether a status asks to come again, and when. A Retry-After
// that is a date counts as none: handsets may not know the time.
func (c *Client) repeats(a answer) (wait time.Duration, ok bool) {
	if !slices.Contains(c.RetryStatuses, a.StatusCode) {
		return 0, false
	}
	after := strings.TrimSpace(a.Header.Get("Retry-After"))
	seconds, err := strconv.ParseUint(after, 10, 31)
	if err != nil {
		return 0, after == "" && a.StatusCode == http.StatusRequestTimeout
	}
	wait = time.Duration(seconds) * time.Second
	return wait, wait <= c.RetryAfterLimit
}

// ended tells a connection that broke off from one that is silent or too slow.
func ended(err error) bool {
	var timeout net.Error
	return !errors.Is(err, errSlow) && (!errors.As(err, &timeout) || !timeout.Timeout())
}

// patient ends a connection that makes no progress for a while.
type patient struct {
	net.Conn
	timeout time.Duration
	endless bool // it has all the patience in the world: a defect
}

func (p *patient) until() time.Time {
	if p.endless {
		return time.Time{}
	}
	return time.Now().Add(p.timeout)
}

func (p *patient) Read(b []byte) (int, error) {
	// A connection in memory that the other end has closed takes no deadline, and
	// needs none: the read returns at once, with what ended it.
	if err := p.SetReadDeadline(p.until()); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(p.until()); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// errSlow ends an answer that comes byte by byte.
var errSlow = errors.New("answer comes too slowly")

// pace ends an answer that comes more slowly than least bytes within a time,
// counted from its first byte on.
type pace struct {
	io.Reader
	least  int
	within time.Duration
	since  time.Time // zero before the first byte
	got    int
	slow   error // what has ended it
}

// begin waits for a new answer.
func (p *pace) begin() { p.since, p.got = time.Time{}, 0 }

// reason is err, unless the answer came too slowly: what reads it may have
// made something else of that.
func (p *pace) reason(err error) error {
	if p.slow != nil {
		return p.slow
	}
	return err
}

// Read reads, and looks at the clock when something came.
func (p *pace) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n == 0 || p.least <= 0 {
		return n, err
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	p.got += n
	if now.Sub(p.since) < p.within {
		return n, err
	}
	if p.got < p.least {
		p.slow = fmt.Errorf("%w: %d bytes in %v", errSlow, p.got, now.Sub(p.since))
		return n, p.slow
	}
	p.since, p.got = now, 0
	return n, err
}
