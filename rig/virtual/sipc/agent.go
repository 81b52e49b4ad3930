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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/rig/virtual/defect"
)

// Config says who the agent is. Times that RFC 3261 gives as multiples of T1
// scale with it; whole seconds on the wire (Expires, Retry-After) do not.
type Config struct {
	// Conn is bound to the handset's SIP port. It stays the caller's: Run neither
	// opens nor closes it.
	Conn net.PacketConn
	// Local is the address that Via and Contact name.
	Local netip.AddrPort
	// Proxy is where requests are sent.
	Proxy netip.AddrPort
	// ProxyHost is the registrar's name in URIs; Proxy's address when blank.
	ProxyHost string
	// User is the line's name, AuthUser and Password answer challenges; a blank
	// AuthUser is User.
	User, AuthUser, Password string
	// DisplayName stands in From when it is not blank.
	DisplayName string
	// UserAgent is sent when it is not blank.
	UserAgent string
	// Expires is asked for, in seconds; 3600 when 0.
	Expires int
	// T1 is the round-trip time of RFC 3261, 17.1.1.1; 500 ms when 0.
	T1 time.Duration
	// MediaPort stands in SDP; 23000 when 0, as the previous generation has it.
	MediaPort uint16
	// Formats gives the RTP payload types that it offers and answers with, in its
	// own order; nil or none: G.711 (0 and 8), as the other end has them.
	Formats func() []string
	// Seed makes tags, branches and jitter repeatable; 0 is different each time.
	Seed uint64
	// CallID is that of every REGISTER of this boot.
	CallID string
	// Event is the event package that a NOTIFY may name; check-sync when blank.
	Event string
	// OnNotify is called with the Event header of a check-sync NOTIFY, parameters
	// and all, after the 200 was sent. Like every hook it must not block and must
	// not call the agent's methods that take a context.
	OnNotify func(event string)
	// OnRegister is called when a registration is made or renewed (ok), and when
	// one fails.
	OnRegister func(ok bool)
	// OnRefused is called with the status when the registrar refuses a REGISTER for
	// good, challenges that can be answered aside.
	OnRefused func(status int)
	// OnIdle is called when a call has ended.
	OnIdle func()
	// AutoAnswer takes calls at once.
	AutoAnswer bool
	// Defects are the handset's.
	Defects defect.Set
}

// ErrNoCall is returned by Answer and HangUp when there is no fitting call.
var ErrNoCall = errors.New("sip: no such call")

// ErrStopped is returned by Answer and HangUp once Run has ended.
var ErrStopped = errors.New("sip: agent has stopped")

// Agent is one user agent. Make it with New, then Run it once.
type Agent struct {
	cfg      Config
	host     string // of URIs
	random   *rand.Rand
	parser   *sip.Parser
	commands chan command
	stopped  chan struct{} // closed when Run ends
	first    chan struct{} // closed at the first registration

	mu   sync.Mutex
	busy bool
	idle chan struct{} // closed while idle

	// The rest belongs to Run's goroutine.
	now        time.Time
	alarms     []*alarm // in the order in which they were set
	clients    map[string]*clientTx
	servers    map[string]*serverTx
	reg        registration
	call       *call
	registered bool
}

type command struct {
	do   func() error
	done chan error
}

// alarm calls a function at a time.
type alarm struct {
	at time.Time
	do func()
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
	a := &Agent{
		cfg: cfg, host: cfg.ProxyHost,
		random:   rand.New(rand.NewPCG(cfg.Seed, h.Sum64())), //nolint:gosec // repeatable on purpose
		parser:   sip.NewParser(),
		commands: make(chan command),
		stopped:  make(chan struct{}),
		first:    make(chan struct{}),
		idle:     make(chan struct{}),
		clients:  map[string]*clientTx{},
		servers:  map[string]*serverTx{},
	}
	close(a.idle)
	if a.host == "" {
		a.host = cfg.Proxy.Addr().String()
		if cfg.Proxy.Port() != defaultPort {
			a.host = cfg.Proxy.String()
		}
	}
	a.reg.expires = cfg.Expires
	a.reg.tag = a.token()
	return a, nil
}

// Busy tells whether the handset rings or is in a call.
func (a *Agent) Busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busy
}

// Idle returns a channel that is closed as soon as there is no call; at once
// when there is none.
func (a *Agent) Idle() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.idle
}

// Registered returns a channel that is closed by the first registration.
func (a *Agent) Registered() <-chan struct{} { return a.first }

// Answer takes the call that rings.
func (a *Agent) Answer(ctx context.Context) error { return a.command(ctx, a.answer) }

// HangUp declines the call that rings or ends the one that is answered.
func (a *Agent) HangUp(ctx context.Context) error { return a.command(ctx, a.hangUp) }

// Retry registers at once when the last attempt has failed, instead of after its
// pause.
func (a *Agent) Retry(ctx context.Context) error {
	return a.command(ctx, func() error {
		if a.reg.pause != nil {
			a.cancel(a.reg.pause)
			a.reg.pause = nil
			a.register()
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
	a.register()
	for {
		timer.Reset(a.untilAlarm())
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

// after sets an alarm.
func (a *Agent) after(d time.Duration, do func()) *alarm {
	al := &alarm{a.now.Add(d), do}
	a.alarms = append(a.alarms, al)
	return al
}

func (a *Agent) cancel(al *alarm) {
	a.alarms = slices.DeleteFunc(a.alarms, func(other *alarm) bool { return other == al })
}

func (a *Agent) untilAlarm() time.Duration {
	const long = time.Hour
	next := time.Now().Add(long)
	for _, al := range a.alarms {
		if al.at.Before(next) {
			next = al.at
		}
	}
	return time.Until(next)
}

// ring calls what is due, the earliest first.
func (a *Agent) ring() {
	for {
		var due *alarm
		for _, al := range a.alarms {
			if !al.at.After(a.now) && (due == nil || al.at.Before(due.at)) {
				due = al
			}
		}
		if due == nil {
			return
		}
		a.cancel(due)
		due.do()
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
		a.response(m)
	case *sip.Request:
		a.request(m, p.from)
	}
}

// parse returns nil for what cannot be used.
func parse(p *sip.Parser, data []byte) sip.Message {
	if len(data) < 12 { // keep-alives
		return nil
	}
	m, err := p.ParseSIP(data)
	if err != nil || m == nil {
		return nil
	}
	if m.Via() == nil || m.From() == nil || m.To() == nil || m.CallID() == nil || m.CSeq() == nil {
		return nil
	}
	return m
}

func (a *Agent) send(to netip.AddrPort, message []byte) {
	// A datagram that cannot be sent is a lost one; the transaction tries again.
	_, _ = a.cfg.Conn.WriteTo(message, net.UDPAddrFromAddrPort(to))
}

func (a *Agent) setBusy(busy bool) {
	a.mu.Lock()
	changed := a.busy != busy
	a.busy = busy
	if changed && busy {
		a.idle = make(chan struct{})
	}
	if changed && !busy {
		close(a.idle)
	}
	a.mu.Unlock()
	if changed && !busy && a.cfg.OnIdle != nil {
		a.cfg.OnIdle()
	}
}

// token is for tags, branches and nonces.
func (a *Agent) token() string { return fmt.Sprintf("%016x", a.random.Uint64()) }
