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
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

// Server is a registrar and a telephone. It is made by New and started by
// Serve, once; Notify, Ring, Call and Hangup need it to be served.
type Server struct {
	*calls
	*notifier

	port         *port
	transactions *transactions
	registrar    *registrar
}

// otherwise is an effect that answers a request of the handset in its own way.
type otherwise interface {
	Effect
	answer(r *registrar, req *sip.Request, h hop) *sip.Response
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
	p := &port{cfg: cfg, sock: datagram.Upgrade(cfg.Conn), parser: sip.NewParser(), done: make(chan struct{}), can: can}
	r := &registrar{port: p, changed: make(chan struct{})}
	t := &transactions{port: p, waiting: map[string]chan *sip.Response{}, unacked: map[string]chan struct{}{}}
	c := &calls{transactions: t, registrar: r, dialogs: map[string]*Dialog{}}
	t.invitation = c.invitation
	return &Server{registrar: r, calls: c, notifier: &notifier{t, r}, port: p, transactions: t}, nil
}

// Can says whether the server can do this, and if not, why.
func (*Server) Can(e fault.Effect) error { return can(e) }

// Bindings returns what is registered now, in the order of the last
// registration.
func (s *Server) Bindings() []Binding { return s.registrar.now() }

// Await waits until a user is registered and returns the latest binding. It
// returns ctx's error when that ends first.
func (s *Server) Await(ctx context.Context, user string) (Binding, error) {
	return s.registrar.await(ctx, user)
}

// Serve answers until ctx ends, and then returns nil; or an error when the port
// cannot be read.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.port.cfg.Conn.Close() })
	defer stop()
	defer func() { _ = s.port.cfg.Conn.Close() }()
	var repeaters sync.WaitGroup
	defer repeaters.Wait()
	defer close(s.port.done)

	buf := make([]byte, 64<<10)
	for {
		n, peer, local, err := s.port.sock.ReadFromTo(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sipd on %v: %w", s.port.cfg.Conn.LocalAddr(), err)
		}
		if repeat := s.take(buf[:n], hop{peer, local}); repeat != nil {
			repeaters.Go(repeat) // ends with the ACK, after 64 T1, or with s.port.done
		}
	}
}

// take handles one datagram. It returns what repeats a final answer to an
// INVITE until the ACK comes, if that is what it was.
func (s *Server) take(b []byte, h hop) (repeat func()) {
	if keepAlive(b) {
		return nil
	}
	msg, err := s.port.parse(b)
	if err != nil {
		s.port.odd(h, "", "malformed message: "+err.Error())
		// RFC 3261 section 18.3.
		if req, ok := msg.(*sip.Request); ok && incomplete(req) == "" && req.Method != sip.ACK {
			return s.transactions.reply(req, s.port.response(req, h, sip.StatusBadRequest), h, nil)
		}
		return nil
	}
	switch msg := msg.(type) {
	case *sip.Request:
		return s.request(msg, h)
	case *sip.Response:
		s.transactions.respond(msg, h)
	}
	return nil
}

// request handles one request of a handset.
func (s *Server) request(req *sip.Request, h hop) (repeat func()) {
	if why := incomplete(req); why != "" {
		s.port.odd(h, string(req.Method), "malformed request: "+why)
		return nil
	}
	if req.Method == sip.ACK {
		s.transactions.acknowledge(req)
		return nil
	}
	if s.transactions.repeated(req, h) {
		return nil
	}
	// An effect on the bytes of the answer is shown it. Nothing comes of it where
	// the handset is told something else, or nothing.
	d := s.decide(req, h)
	switch e := s.port.fault(string(req.Method), PhaseAnswer, h, []byte(d.answer.String())).(type) {
	case Drop:
		return nil
	case otherwise:
		return s.transactions.reply(req, e.answer(s.registrar, req, h), h, nil)
	default:
		d.commit()
		return s.transactions.reply(req, d.answer, h, e)
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
		return s.registrar.register(req, h, d)
	case sip.OPTIONS:
		res := s.port.response(req, h, sip.StatusOK)
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
			return s.port.response(req, h, sip.StatusOK)
		}
		return s.port.response(req, h, sip.StatusCallTransactionDoesNotExists)
	case sip.BYE:
		if s.known(req) {
			d.then(func() { s.hungUp(req) })
			return s.port.response(req, h, sip.StatusOK)
		}
		return s.port.response(req, h, sip.StatusCallTransactionDoesNotExists)
	case sip.INFO, sip.UPDATE:
		if s.known(req) {
			return s.port.response(req, h, sip.StatusOK)
		}
		return s.port.response(req, h, sip.StatusCallTransactionDoesNotExists)
	default:
		return s.port.response(req, h, sip.StatusMethodNotAllowed)
	}
}

// subscribe takes a subscription to whatever event there is; no NOTIFY follows
// until somebody asks for one.
func (s *Server) subscribe(req *sip.Request, h hop) *sip.Response {
	if value(req, "Event", "o") == "" {
		return s.port.response(req, h, statusBadEvent)
	}
	res := s.port.response(req, h, sip.StatusOK)
	seconds, ok := number(value(req, "Expires"))
	if !ok {
		seconds = 3600
	}
	res.AppendHeader(sip.NewHeader("Expires", fmt.Sprint(seconds)))
	res.AppendHeader(contact(h))
	return res
}

// Kinds lists the effects, so that a file can name them.
func Kinds() fault.Kinds {
	return fault.NewKinds("sipd",
		Challenge{}, Cut{}, Delay{}, Drop{}, Duplicate{}, Garbage{}, Respond{}, SetHeader{},
	)
}

// can says why the server cannot do what an effect says; nil: it can.
func can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("sipd cannot do %T", e)
	}
	if c, ok := e.(checked); ok {
		return c.check()
	}
	return nil
}
