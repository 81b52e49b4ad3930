// Package sipc is the SIP user agent of the simulated handset: it registers
// (RFC 3261, 10; digest of 22), answers OPTIONS and NOTIFY check-sync, and takes
// one call. It keeps its own transactions on the one socket that is handed in,
// because sipgo's would open the kernel's; messages are read by sipgo's parser.
package sipc

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/rig/virtual/defect"
)

// ErrStopped is returned by Answer and HangUp once Run has ended.
var ErrStopped = errors.New("sip: agent has stopped")

// Agent is one user agent. Make it with New, then Run it once.
type Agent struct {
	parser   *sip.Parser
	commands chan command
	stopped  chan struct{} // closed when Run ends

	// What belongs to Run's goroutine.
	*endpoint

	clients *clients
	servers *servers
	reg     *registration
	phone   *phone
}

type command struct {
	do   func() error
	done chan error
}

// New checks the configuration.
func New(cfg Config) (*Agent, error) {
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("sip: no socket")
	case !cfg.Local.IsValid() || !cfg.Proxy.IsValid():
		return nil, fmt.Errorf("sip: local %v, proxy %v: both must be addresses", cfg.Local, cfg.Proxy)
	case cfg.User == "":
		return nil, errors.New("sip: no user")
	case cfg.CallID == "":
		return nil, errors.New("sip: no Call-ID")
	}
	for name, value := range map[string]string{
		"proxy host": cfg.ProxyHost, "user": cfg.User, "auth user": cfg.AuthUser,
		"display name": cfg.DisplayName, "user agent": cfg.UserAgent, "Call-ID": cfg.CallID,
	} {
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("sip: %s %q holds control characters", name, value)
		}
	}
	if cfg.Event == "" {
		cfg.Event = checkSync
	}
	if cfg.T1 <= 0 {
		cfg.T1 = 500 * time.Millisecond
	}
	if cfg.Expires <= 0 {
		cfg.Expires = 3600
	}
	if cfg.MediaPort == 0 {
		cfg.MediaPort = 23000
	}
	if cfg.AuthUser == "" {
		cfg.AuthUser = cfg.User
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64() //nolint:gosec // tags and branches are no secret
	}
	h := fnv.New64a()
	h.Write([]byte(cfg.CallID)) //nolint:gosec // a hash never fails
	e := &endpoint{
		cfg: cfg, host: cfg.ProxyHost,
		random: rand.New(rand.NewPCG(cfg.Seed, h.Sum64())), //nolint:gosec // repeatable on purpose
	}
	if e.host == "" {
		e.host = cfg.Proxy.Addr().String()
		if cfg.Proxy.Port() != defaultPort {
			e.host = cfg.Proxy.String()
		}
	}
	clients, servers := &clients{e, map[string]*clientTx{}}, &servers{e, map[string]*serverTx{}}
	return &Agent{
		parser: sip.NewParser(), commands: make(chan command), stopped: make(chan struct{}),
		endpoint: e, clients: clients, servers: servers,
		reg:   &registration{endpoint: e, clients: clients, first: make(chan struct{}), expires: cfg.Expires, tag: e.token()},
		phone: newPhone(e, clients, servers),
	}, nil
}

// Busy reports whether the handset rings or is in a call.
func (a *Agent) Busy() bool { return a.phone.isBusy() }

// Idle returns a channel that is closed as soon as there is no call; at once
// when there is none.
func (a *Agent) Idle() <-chan struct{} { return a.phone.whenIdle() }

// Registered returns a channel that is closed by the first registration.
func (a *Agent) Registered() <-chan struct{} { return a.reg.first }

// Answer takes the call that rings.
func (a *Agent) Answer(ctx context.Context) error { return a.command(ctx, a.phone.answer) }

// HangUp declines the call that rings or ends the one that is answered.
func (a *Agent) HangUp(ctx context.Context) error { return a.command(ctx, a.phone.hangUp) }

// Retry registers at once when the last attempt has failed, instead of after its
// pause.
func (a *Agent) Retry(ctx context.Context) error {
	return a.command(ctx, func() error {
		if a.reg.pause != nil {
			a.cancel(a.reg.pause)
			a.reg.pause = nil
			a.reg.register()
		}
		return nil
	})
}

func (a *Agent) command(ctx context.Context, do func() error) error {
	c := command{do, make(chan error, 1)}
	select {
	case a.commands <- c:
	case <-a.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-c.done
}

// packet is a datagram as it came.
type packet struct {
	data []byte
	from netip.AddrPort
}

// maxReadErrors in a row mean that the socket is gone.
const maxReadErrors = 100

// Run registers and serves until ctx ends (nil), or the socket fails. It does
// not de-register: a handset that loses power cannot.
func (a *Agent) Run(ctx context.Context) error {
	defer close(a.stopped)
	if err := a.cfg.Conn.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("sip on %v: %w", a.cfg.Local, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	packets := make(chan packet)
	failed := make(chan error, 1)
	var reader sync.WaitGroup
	// The reader ends when ctx does, woken by the deadline, or the socket fails.
	reader.Go(func() { failed <- a.read(ctx, packets) })
	defer reader.Wait()
	stop := context.AfterFunc(ctx, func() { a.cfg.Conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck,gosec // it only wakes the reader
	defer stop()
	defer cancel()

	timer := time.NewTimer(0)
	defer timer.Stop()
	a.now = time.Now()
	a.reg.register()
	for {
		timer.Reset(a.until())
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("sip on %v: %w", a.cfg.Local, err)
		case p := <-packets:
			a.now = time.Now()
			a.receive(p)
		case c := <-a.commands:
			a.now = time.Now()
			c.done <- c.do()
		case <-timer.C:
			a.now = time.Now()
			a.ring()
		}
	}
}

func (a *Agent) read(ctx context.Context, packets chan<- packet) error {
	buf := make([]byte, 65536)
	for errs := 0; ; {
		n, addr, err := a.cfg.Conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // asked to stop
		case err != nil:
			// A user-space host may report what ICMP told it; the socket lives on.
			if errs++; errs >= maxReadErrors || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		errs = 0
		udp, ok := addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		from := netip.AddrPortFrom(udp.AddrPort().Addr().Unmap(), udp.AddrPort().Port())
		select {
		case packets <- packet{append([]byte(nil), buf[:n]...), from}:
		case <-ctx.Done():
			return nil
		}
	}
}

// receive takes a datagram; what is not SIP, or lacks what every message must
// have (RFC 3261, 8.1.1), is dropped.
func (a *Agent) receive(p packet) {
	m := parse(a.parser, p.data)
	if m == nil {
		return
	}
	switch m := m.(type) {
	case *sip.Response:
		a.clients.response(m)
	case *sip.Request:
		a.request(m, p.from)
	}
}

// checkSync is the event package that is understood unless told otherwise.
const checkSync = "check-sync"

// request answers a request, or repeats the answer it was given before.
func (a *Agent) request(req *sip.Request, from netip.AddrPort) {
	if req.IsAck() {
		a.phone.acked(req)
		return
	}
	if tx := a.servers.take(req, from); tx != nil {
		a.dispatch(tx)
	}
}

func (a *Agent) dispatch(tx *serverTx) {
	req := tx.req
	inDialog := tagOf(req.To().Params) != ""
	switch {
	case req.Method == sip.CANCEL:
		a.phone.cancelled(tx)
	case !strings.EqualFold(req.Recipient.Scheme, "sip"):
		a.servers.reply(tx, 416, "Unsupported URI Scheme")
	case value(req, "Require") != "":
		a.servers.reply(tx, 420, "Bad Extension", "Unsupported: "+strings.Join(values(req, "Require"), ", "))
	case inDialog && req.Method != sip.NOTIFY && req.Method != sip.OPTIONS:
		a.phone.inDialog(tx)
	case req.Method == sip.OPTIONS:
		a.servers.reply(tx, 200, "OK", "Accept: application/sdp", "Allow-Events: "+a.cfg.Event)
	case req.Method != sip.INVITE && req.Method != sip.NOTIFY:
		if req.Method == sip.BYE {
			a.servers.reply(tx, 481, "Call/Transaction Does Not Exist")
			return
		}
		a.servers.reply(tx, 405, "Method Not Allowed")
	case unescape(req.Recipient.User) != a.cfg.User:
		a.servers.reply(tx, 404, "Not Found")
	case req.Method == sip.NOTIFY:
		a.notified(tx)
	default:
		a.phone.invited(tx)
	}
}

func (a *Agent) notified(tx *serverTx) {
	req := tx.req
	event := value(req, "Event", "o")
	name, _, _ := strings.Cut(event, ";")
	switch name = strings.TrimSpace(name); {
	case name == "" || len(values(req, "Event", "o")) > 1:
		a.servers.reply(tx, 400, "Bad Request") // RFC 6665, 8.2.1: exactly one
		return
	case !strings.EqualFold(name, a.cfg.Event) && !a.cfg.Defects.Has(defect.AnyEventResyncs):
		a.servers.reply(tx, 489, "Bad Event", "Allow-Events: "+a.cfg.Event)
		return
	}
	a.servers.reply(tx, 200, "OK")
	if a.cfg.OnNotify != nil && !a.cfg.Defects.Has(defect.IgnoresCheckSync) {
		a.cfg.OnNotify(event)
	}
}
