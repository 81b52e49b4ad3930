// Package sipd is the rig's SIP server on UDP (RFC 3261): a registrar, and as
// much of a telephone as a test of a handset needs. It takes registrations with
// and without digest authentication, sends NOTIFY check-sync, and calls a
// handset, answers its calls and hangs up.
//
// Messages are parsed and printed by sipgo; transactions are ours, on the one
// socket that was handed in, because sipgo's own open kernel sockets. Requests
// are taken one after the other in the order they came.
//
// The journal holds each answer, which the wire is held against, and what the
// wire does not say: why a request was refused, what could not be read, which
// faults fired and how a NOTIFY ended. Passwords are in neither.
package sipd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

// userAgent names us in requests and responses.
const userAgent = "ip88rig"

// Config says whom a Server registers, and on what.
type Config struct {
	// Conn is the server's UDP port. When it is bound to an unspecified address
	// it should also have
	//
	//	ReadFromTo([]byte) (n int, from, to netip.AddrPort, err error)
	//	WriteFromTo(b []byte, from, to netip.AddrPort) (int, error)
	//
	// so that an answer comes from the address that was asked. Serve closes it.
	Conn net.PacketConn
	// Realm of the digest challenge; "ip88rig" if empty.
	Realm string
	// Password returns the password of an authentication name. If it is nil
	// nobody is challenged and every user may register.
	Password func(name string) (password string, known bool)
	// Challenge tells, anew for each request, whether to challenge at all; nil:
	// always, where there is a Password.
	Challenge func() bool
	// Expires is granted when a REGISTER names no time: 1 h if zero. MinExpires
	// is the shortest time granted, a shorter one is refused with 423; none if
	// zero. MaxExpires is the longest, a longer one is cut; none if zero. All in
	// whole seconds.
	Expires, MinExpires, MaxExpires time.Duration
	// T1 and T2 are the timers of RFC 3261 section 17.1.1.1: 500 ms and 4 s if
	// zero. A request is given up after 64 times T1.
	T1, T2 time.Duration
	// Record takes journal entries; nil drops them.
	Record func(timeline.Event)
	// Faults is what goes wrong on purpose; nil for nothing.
	Faults *fault.Plan
	// Now is the lane's clock, time.Now if nil.
	Now func() time.Time
	// Text makes nonces, tags, branches and Call-IDs, crypto/rand.Text if nil.
	Text func() string
}

// hop is a handset's end and the end of ours that it talks to.
type hop struct{ peer, local netip.AddrPort }

// Server is a registrar and a telephone. It is made by New and started by
// Serve, once; Notify, Ring, Call and Hangup need it to be served.
type Server struct {
	cfg    Config
	sock   *datagram.Socket
	parser *sip.Parser
	done   chan struct{} // closed when Serve returns

	mu       sync.Mutex
	bindings []Binding                     // oldest registration first
	changed  chan struct{}                 // closed at the next change of bindings
	nonces   []nonce                       // oldest first
	answered memory                        // requests of handsets
	finished memory                        // transactions of ours
	waiting  map[string]chan *sip.Response // transactions of ours, by branch and method
	dialogs  map[string]*Dialog            // by Call-ID
	unacked  map[string]chan struct{}      // final answers to INVITE, closed by the ACK
}

// New checks the configuration. The error names the field that is wrong.
func New(cfg Config) (*Server, error) {
	if cfg.Conn == nil {
		return nil, errors.New("sipd: Conn is missing")
	}
	for name, d := range map[string]*time.Duration{
		"Expires": &cfg.Expires, "MinExpires": &cfg.MinExpires, "MaxExpires": &cfg.MaxExpires,
	} {
		if *d < 0 || *d%time.Second != 0 {
			return nil, fmt.Errorf("sipd: %s is %v: want whole seconds", name, *d)
		}
	}
	if cfg.T1 < 0 || cfg.T2 < 0 {
		return nil, fmt.Errorf("sipd: T1 is %v and T2 %v", cfg.T1, cfg.T2)
	}
	if cfg.MaxExpires > 0 && cfg.MinExpires > cfg.MaxExpires {
		return nil, fmt.Errorf("sipd: MinExpires %v is above MaxExpires %v", cfg.MinExpires, cfg.MaxExpires)
	}
	if cfg.Realm == "" {
		cfg.Realm = "ip88rig"
	}
	if cfg.Expires == 0 {
		cfg.Expires = time.Hour
	}
	if cfg.T1 == 0 {
		cfg.T1 = 500 * time.Millisecond
	}
	if cfg.T2 == 0 {
		cfg.T2 = 4 * time.Second
	}
	if cfg.Record == nil {
		cfg.Record = func(timeline.Event) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Text == nil {
		cfg.Text = rand.Text
	}
	return &Server{
		cfg:     cfg,
		sock:    datagram.Upgrade(cfg.Conn),
		parser:  sip.NewParser(),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		waiting: map[string]chan *sip.Response{},
		dialogs: map[string]*Dialog{},
		unacked: map[string]chan struct{}{},
	}, nil
}

// Serve answers until ctx ends, and then returns nil; or an error when the port
// cannot be read.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.cfg.Conn.Close() })
	defer stop()
	defer func() { _ = s.cfg.Conn.Close() }()
	var repeaters sync.WaitGroup
	defer repeaters.Wait()
	defer close(s.done)

	buf := make([]byte, 64<<10)
	for {
		n, peer, local, err := s.sock.ReadFromTo(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sipd on %v: %w", s.cfg.Conn.LocalAddr(), err)
		}
		if repeat := s.take(buf[:n], hop{peer, local}); repeat != nil {
			repeaters.Go(repeat) // ends with the ACK, after 64 T1, or with s.done
		}
	}
}

// take handles one datagram. It returns what repeats a final answer to an
// INVITE until the ACK comes, if that is what it was.
func (s *Server) take(b []byte, h hop) (repeat func()) {
	if keepAlive(b) {
		return nil
	}
	msg, err := s.parse(b)
	if err != nil {
		s.odd(h, "", "malformed message: "+err.Error())
		// RFC 3261 section 18.3.
		if req, ok := msg.(*sip.Request); ok && incomplete(req) == "" && req.Method != sip.ACK {
			return s.reply(req, s.response(req, h, sip.StatusBadRequest), h, nil)
		}
		return nil
	}
	switch msg := msg.(type) {
	case *sip.Request:
		return s.request(msg, h)
	case *sip.Response:
		s.respond(msg, h)
	}
	return nil
}

// request handles one request of a handset.
func (s *Server) request(req *sip.Request, h hop) (repeat func()) {
	if why := incomplete(req); why != "" {
		s.odd(h, string(req.Method), "malformed request: "+why)
		return nil
	}
	if req.Method == sip.ACK {
		s.acknowledge(req)
		return nil
	}
	s.mu.Lock()
	before, again := s.answered.get(transaction(req, h))
	s.mu.Unlock()
	if again {
		s.repeat(before, hop{before.to, h.local}, string(req.Method))
		return nil
	}
	// An effect on the bytes of the answer is shown it. Nothing comes of it where
	// the handset is told something else, or nothing.
	d := s.decide(req, h)
	switch e := s.fault(string(req.Method), PhaseAnswer, h, []byte(d.answer.String())).(type) {
	case Drop:
		return nil
	case otherwise:
		return s.reply(req, e.answer(s, req, h), h, nil)
	default:
		d.commit()
		return s.reply(req, d.answer, h, e)
	}
}

// decision is what a request of a handset comes to: its answer, and what else
// the server does then. Until commit nothing has changed.
type decision struct {
	answer *sip.Response
	deeds  []func()
}

// then adds what is to be done if the answer is given.
func (d *decision) then(deed func()) { d.deeds = append(d.deeds, deed) }

// commit does what goes with the answer, in the order in which it was decided.
func (d *decision) commit() {
	for _, deed := range d.deeds {
		deed()
	}
}

// decide says what a request of a handset comes to.
func (s *Server) decide(req *sip.Request, h hop) *decision {
	d := &decision{}
	d.answer = s.answer(req, h, d)
	return d
}

// answer is that of decide.
func (s *Server) answer(req *sip.Request, h hop, d *decision) *sip.Response {
	switch req.Method {
	case sip.REGISTER:
		return s.register(req, h, d)
	case sip.OPTIONS:
		res := s.response(req, h, sip.StatusOK)
		res.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
		return res
	case sip.SUBSCRIBE:
		return s.subscribe(req, h)
	case sip.INVITE:
		return s.invited(req, h, d)
	case sip.CANCEL:
		// Calls of the handset are answered at once: there is nothing left to
		// cancel (RFC 3261 section 9.2).
		if s.known(req) {
			return s.response(req, h, sip.StatusOK)
		}
		return s.response(req, h, sip.StatusCallTransactionDoesNotExists)
	case sip.BYE:
		if s.known(req) {
			d.then(func() { s.hungUp(req) })
			return s.response(req, h, sip.StatusOK)
		}
		return s.response(req, h, sip.StatusCallTransactionDoesNotExists)
	case sip.INFO, sip.UPDATE:
		if s.known(req) {
			return s.response(req, h, sip.StatusOK)
		}
		return s.response(req, h, sip.StatusCallTransactionDoesNotExists)
	default:
		return s.response(req, h, sip.StatusMethodNotAllowed)
	}
}

// subscribe takes a subscription to whatever event there is; no NOTIFY follows
// until somebody asks for one.
func (s *Server) subscribe(req *sip.Request, h hop) *sip.Response {
	if value(req, "Event", "o") == "" {
		return s.response(req, h, statusBadEvent)
	}
	res := s.response(req, h, sip.StatusOK)
	seconds, ok := number(value(req, "Expires"))
	if !ok {
		seconds = 3600
	}
	res.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(seconds)))
	res.AppendHeader(contact(h))
	return res
}

// fault asks the plan about a message, of which pkt is the bytes, and journals
// what it says. It returns nil when nothing is to go wrong.
func (s *Server) fault(method, phase string, h hop, pkt []byte) Effect {
	if s.cfg.Faults.Empty() {
		return nil
	}
	effect, sentence, ok := s.cfg.Faults.Try(fault.Point{Service: "sipd", Message: method, Phase: phase}, func(e fault.Effect) bool {
		own, ok := e.(Effect)
		return ok && s.Can(own) == nil && own.fits(phase)
	}, func(e fault.Effect) bool {
		own, ok := e.(edit)
		return !ok || !bytes.Equal(own.edit(pkt), pkt)
	})
	if !ok {
		return nil
	}
	s.record(timeline.Event{
		Kind: timeline.FaultFired, Src: h.peer, Dst: h.local, Message: method, Reason: sentence,
		Fields: map[string]string{"phase": phase},
	})
	own, _ := effect.(Effect)
	return own
}

// post sends a message as an effect has it; nil: as it is.
func (s *Server) post(pkt []byte, h hop, what string, e Effect) {
	copies := 1
	switch e := e.(type) {
	case Drop:
		return
	case Duplicate:
		copies += e.Copies
	case edit:
		pkt = e.edit(pkt)
	default:
	}
	for range copies {
		s.send(pkt, h, what)
	}
}

func (s *Server) send(pkt []byte, h hop, what string) {
	if _, err := s.sock.WriteFromTo(pkt, h.local, h.peer); err != nil {
		s.odd(h, what, "not sent: "+err.Error())
	}
}

func (s *Server) odd(h hop, message, why string) {
	s.record(timeline.Event{Kind: timeline.ServiceOddity, Src: h.peer, Dst: h.local, Message: message, Reason: why})
}

func (s *Server) record(e timeline.Event) {
	e.By = "sipd"
	e.At = s.cfg.Now()
	s.cfg.Record(e)
}

// withPort is the address with SIP's port where none is told.
func withPort(addr netip.Addr, port int) netip.AddrPort {
	if port <= 0 || port > 65535 {
		port = sip.DefaultUdpPort
	}
	return netip.AddrPortFrom(addr, uint16(port))
}
