// Package tftpd is the rig's TFTP server: RFC 1350 with options (RFC 2347),
// blksize (RFC 2348), tsize and timeout (RFC 2349) and windowsize (RFC 7440).
// It is ours because misbehaving exactly as told is what the rig is for, and
// because what it does otherwise must be beyond doubt: a handset is judged by
// how it copes with it.
//
// Requests are taken one after the other in the order they came, so that the
// journal has that order; each transfer then runs by itself on a socket of its
// own. Blocks are numbered past 65535 by wrapping to 0. A duplicate ACK never
// doubles DATA (RFC 1123 section 4.2.3.1).
//
// One leading slash of a file name is taken for the root of what is published,
// as servers that are confined to a folder do.
package tftpd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

// Config says what a Server serves, and on what.
type Config struct {
	// Conn is the well-known port. When it is bound to an unspecified address it
	// should also have
	//
	//	ReadFromTo([]byte) (n int, from, to netip.AddrPort, err error)
	//
	// so that an answer comes from the address that was asked. Serve closes it.
	Conn net.PacketConn
	// Transfer opens the socket of one transfer on a fresh port of the address
	// the request came to. The server closes it.
	Transfer func(local netip.Addr) (net.PacketConn, error)
	// Elsewhere opens a socket at another address of the host, with this port or,
	// for 0, a fresh one. Only faults use it; nil where there is no such address.
	// The server closes it.
	Elsewhere func(port uint16) (net.PacketConn, error)
	// Lookup returns the content of a file; the name has no leading slash. It is
	// asked once per request, in the order of the requests, and must not wait
	// for anything. The content is not changed and must not change afterwards.
	// fs.ErrNotExist becomes ERROR 1, fs.ErrPermission ERROR 2, any other error
	// ERROR 0.
	Lookup func(name string, from netip.AddrPort) (content []byte, err error)
	// Timeout is how long an acknowledgement is waited for; 1 s if zero. A
	// client's timeout option (RFC 2349) goes first.
	Timeout time.Duration
	// Tries is how often a packet is sent before the transfer is given up; 5 if
	// zero.
	Tries int
	// Record takes journal entries; nil drops them.
	Record func(timeline.Event)
	// Faults is what goes wrong on purpose; nil for nothing.
	Faults *fault.Plan
	// Now is the lane's clock, time.Now if nil.
	Now func() time.Time
}

// Server serves files over TFTP. It is made by New and started by Serve, once.
type Server struct {
	cfg  Config
	sock *datagram.Socket

	mu   sync.Mutex
	live map[flow]*transfer
}

// flow is the client's end and the end that it asked.
type flow struct{ from, to netip.AddrPort }

// New checks the configuration. The error names the field that is wrong.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("tftpd: Conn is missing")
	case cfg.Transfer == nil:
		return nil, errors.New("tftpd: Transfer is missing")
	case cfg.Lookup == nil:
		return nil, errors.New("tftpd: Lookup is missing")
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("tftpd: Timeout is %v", cfg.Timeout)
	case cfg.Tries < 0:
		return nil, fmt.Errorf("tftpd: Tries is %d", cfg.Tries)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 5
	}
	if cfg.Record == nil {
		cfg.Record = func(timeline.Event) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{cfg: cfg, sock: datagram.Upgrade(cfg.Conn), live: map[flow]*transfer{}}, nil
}

// Serve answers requests until ctx ends, and then returns nil after all
// transfers have ended; or an error when the well-known port cannot be read.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.cfg.Conn.Close() })
	defer stop()
	defer func() { _ = s.cfg.Conn.Close() }()
	var transfers sync.WaitGroup
	defer transfers.Wait()
	// Cancelled before they are waited for, also when the port fails.
	running, cancel := context.WithCancel(ctx)
	defer cancel()

	buf := make([]byte, 64<<10)
	for {
		n, from, to, err := s.sock.ReadFromTo(buf)
		if ctx.Err() != nil {
			return nil // the port was closed because ctx ended
		}
		if err != nil {
			return fmt.Errorf("tftpd on %v: %w", s.cfg.Conn.LocalAddr(), err)
		}
		if t := s.take(buf[:n], from, to); t != nil {
			transfers.Go(func() { t.run(running) }) // ends with the transfer or ctx
		}
	}
}

// take handles one datagram of the well-known port, and returns the transfer
// to run if it starts one.
func (s *Server) take(b []byte, from, to netip.AddrPort) *transfer {
	if ip := to.Addr(); ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		// RFC 1123 section 4.2.3.4.
		s.odd(from, to, "", "", "request to a broadcast address, ignored")
		return nil
	}
	if len(b) < 2 {
		s.odd(from, to, "", "", fmt.Sprintf("datagram of %d bytes, ignored", len(b)))
		return nil
	}
	switch op := binary.BigEndian.Uint16(b); op {
	case opRRQ:
		return s.read(b, from, to)
	case opWRQ:
		req, _ := parseRequest(b)
		file := fileOf(req.file)
		s.odd(from, to, file, "WRQ", "write request")
		s.refuse(from, to, nil, file, AccessViolation, "nothing can be written here")
	case opError:
		// RFC 1350 section 2: an ERROR is never answered.
		a, _ := parseAnswer(b)
		s.odd(from, to, "", "ERROR", fmt.Sprintf("ERROR %d %q to the well-known port, ignored", a.code, a.text))
	default:
		s.odd(from, to, "", opName(op), opName(op)+" to the well-known port")
		s.refuse(from, to, nil, "", IllegalOperation, "not a request")
	}
	return nil
}

// read handles one read request.
func (s *Server) read(b []byte, from, to netip.AddrPort) *transfer {
	req, err := parseRequest(b)
	file := fileOf(req.file)
	if err != nil {
		s.odd(from, to, file, "RRQ", "malformed request: "+err.Error())
		s.refuse(from, to, nil, file, IllegalOperation, "malformed request")
		return nil
	}
	if s.again(string(b), from, to, file) {
		return nil
	}
	for _, why := range req.odd {
		s.odd(from, to, file, "RRQ", why)
	}
	r := &reading{request: req, file: file, from: from, to: to}
	s.find(r)
	at := stand{opts: req.opts, served: r.text == "", length: int64(len(r.content))}
	var begin onTransfer
	switch e := s.fault(fault.Point{Message: "RRQ", File: file, Exchange: &r.exchange}, from, to, at).(type) {
	case Drop:
		s.record(timeline.Event{Kind: timeline.Served, Src: from, Dst: to, File: file, Reason: "request ignored, as told"})
		return nil
	case Fail:
		s.answer(from, to, file, e.Code, e.Text)
		return nil
	case RefuseOptions:
		s.answer(from, to, file, OptionRefused, optionsRefused)
		return nil
	case FallSilent:
		if r.text != "" {
			s.unsaid(from, to, file, r.text)
			return nil
		}
		begin = e
	case onTransfer:
		begin = e
	default:
	}
	if r.text != "" {
		s.refuse(from, to, &r.exchange, file, r.code, r.text)
		return nil
	}
	if r.translated != "" {
		s.record(timeline.Event{Kind: timeline.Note, Src: from, Dst: to, File: file, Message: "RRQ", Reason: r.translated})
	}
	open := func() (net.PacketConn, error) { return s.cfg.Transfer(to.Addr()) }
	undone := ""
	if _, ok := begin.(AnswerElsewhere); ok {
		open, undone = func() (net.PacketConn, error) { return s.elsewhere(0) }, begin.String()
	}
	conn, err := open()
	if err != nil {
		s.unable(from, to, file, "RRQ", "no socket for the transfer: "+err.Error(), undone)
		s.record(timeline.Event{Kind: timeline.Served, Src: from, Dst: to, File: file, Reason: "no socket for the transfer"})
		return nil
	}
	t := newTransfer(s, conn, transferSpec{
		raw: string(b), file: file, mode: req.mode, content: r.content, terms: r.terms,
		peer: from, asked: to, exchange: &r.exchange,
	})
	if begin != nil {
		begin.begin(t)
	}
	s.enter(t)
	return t
}

// reading is a read request, and what would become of it without a fault.
type reading struct {
	request
	file     string // without its slash
	from, to netip.AddrPort
	exchange fault.Exchange

	// code and text are those of the ERROR that it is refused with; no text: it
	// is not.
	code uint16
	text string

	content    []byte // as it goes over the wire
	translated string // what was done to the content, if anything
	terms      terms
}

// find looks the file up and settles how it would be sent.
func (s *Server) find(r *reading) {
	odd := func(why string) { s.odd(r.from, r.to, r.file, "RRQ", why) }
	if r.mode != "octet" && r.mode != "netascii" {
		odd(fmt.Sprintf("mode %q", r.mode))
		r.code, r.text = IllegalOperation, "unknown mode"
		return
	}
	if code, why := checkName(r.file); why != "" {
		odd(why)
		r.code, r.text = code, why
		return
	}
	content, err := s.cfg.Lookup(r.file, r.from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.code, r.text = FileNotFound, "file not found"
		return
	case errors.Is(err, fs.ErrPermission):
		r.code, r.text = AccessViolation, "access violation"
		return
	case err != nil:
		odd("look-up: " + err.Error())
		r.code, r.text = NotDefined, "server error"
		return
	}
	r.content = content
	if r.mode == "netascii" {
		r.content = netascii(content)
		r.translated = fmt.Sprintf("netascii asked for: line ends translated, %d bytes become %d", len(content), len(r.content))
	}
	var left []string
	r.terms, left = negotiate(r.opts, len(r.content))
	for _, why := range left {
		odd(why + ", ignored")
	}
}

// again tells a request that was sent again from a new one. A client that sends
// another request from the same port has done with the transfer before it
// (its last ACK may have been lost), so that one ends. The same request from
// the same port is a retransmission as long as its transfer lives; of a silent
// transfer only for as long as it would have lived.
func (s *Server) again(raw string, from, to netip.AddrPort, file string) bool {
	s.mu.Lock()
	old := s.live[flow{from, to}]
	lifetime := s.cfg.Timeout * time.Duration(s.cfg.Tries)
	same := old != nil && old.raw == raw && (!old.silent || time.Since(old.began) < lifetime)
	s.mu.Unlock()
	if same {
		s.odd(from, to, file, "RRQ", "request sent again while its transfer lives, ignored")
		return true
	}
	if old != nil {
		old.overtaken("the client sent another request from the same port")
	}
	return false
}

// enter makes a transfer known, and lets go of silent ones of the same host:
// it has given them up.
func (s *Server) enter(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.live {
		if other.silent && other.peer.Addr() == t.peer.Addr() {
			_ = other.sock.Close() // wakes its swallow
		}
	}
	s.live[flow{t.peer, t.asked}] = t
}

func (s *Server) leave(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := flow{t.peer, t.asked}
	if s.live[key] == t {
		delete(s.live, key)
	}
}

// refuse answers a request with an ERROR, unless a fault says otherwise.
func (s *Server) refuse(from, to netip.AddrPort, x *fault.Exchange, file string, code uint16, text string) {
	code, text, ok := s.errorAt(from, to, x, file, code, text)
	if !ok {
		s.unsaid(from, to, file, text)
		return
	}
	s.answer(from, to, file, code, text)
}

// unsaid journals a refusal that a fault keeps back.
func (s *Server) unsaid(from, to netip.AddrPort, file, text string) {
	s.record(timeline.Event{Kind: timeline.Served, Src: from, Dst: to, File: file, Reason: "refused: " + text + "; ERROR not sent, as told"})
}

// answer sends an ERROR to a request, from a fresh port as RFC 1350 has it.
func (s *Server) answer(from, to netip.AddrPort, file string, code uint16, text string) {
	s.record(refusal(timeline.Event{Kind: timeline.Served, Src: from, Dst: to, File: file, Reason: "refused: " + text}, code))
	conn, err := s.cfg.Transfer(to.Addr())
	if err != nil {
		s.odd(from, to, file, "ERROR", "no socket to answer from: "+err.Error())
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := datagram.Upgrade(conn).WriteFromTo(errorPacket(code, text), netip.AddrPort{}, from); err != nil {
		s.odd(from, to, file, "ERROR", "not sent: "+err.Error())
	}
}

// errorAt asks the plan about an ERROR that the server would send: what it
// becomes, and whether it is sent at all. An ERROR that is itself an effect is
// not asked about, so that one fault counts once.
func (s *Server) errorAt(from, to netip.AddrPort, x *fault.Exchange, file string, code uint16, text string) (newCode uint16, newText string, ok bool) {
	switch e := s.fault(fault.Point{Message: "ERROR", File: file, Exchange: x}, from, to, stand{}).(type) {
	case Drop, FallSilent:
		return code, text, false
	case Fail:
		return e.Code, e.Text, true
	default:
	}
	return code, text, true
}

// refusal notes the code of an ERROR that was sent. The field tells ERROR 0
// from none.
func refusal(e timeline.Event, code uint16) timeline.Event {
	e.Status = int(code)
	fields := maps.Clone(e.Fields)
	if fields == nil {
		fields = map[string]string{}
	}
	fields["tftp.error.code"] = strconv.Itoa(int(code))
	e.Fields = fields
	return e
}

// fault asks the plan, and journals what it says. It returns nil when nothing
// is to go wrong.
func (s *Server) fault(pt fault.Point, from, to netip.AddrPort, at stand) Effect {
	if s.cfg.Faults.Empty() {
		return nil
	}
	pt.Service = "tftpd"
	at.message = pt.Message
	effect, sentence, ok := s.cfg.Faults.Try(pt, func(e fault.Effect) bool {
		own, ok := e.(Effect)
		return ok && s.Can(own) == nil && own.fits(at)
	}, nil)
	if !ok {
		return nil
	}
	e := timeline.Event{Kind: timeline.FaultFired, Src: from, Dst: to, File: pt.File, Message: pt.Message, Reason: sentence}
	if pt.Phase != "" {
		e.Fields = map[string]string{"phase": pt.Phase}
	}
	s.record(e)
	own, _ := effect.(Effect)
	return own
}

func (s *Server) odd(from, to netip.AddrPort, file, message, why string) {
	s.unable(from, to, file, message, why, "")
}

// unable is odd for what a fault told and cannot be done; blank: none did.
func (s *Server) unable(from, to netip.AddrPort, file, message, why, told string) {
	e := timeline.Event{Kind: timeline.ServiceOddity, Src: from, Dst: to, File: file, Message: message, Reason: why}
	if told != "" {
		e.Fields = map[string]string{timeline.FaultUndone: told}
	}
	s.record(e)
}

func (s *Server) record(e timeline.Event) {
	e.By = "tftpd"
	e.At = s.cfg.Now()
	e.Transport = timeline.TFTP
	s.cfg.Record(e)
}

// fileOf takes the one leading slash off a name.
func fileOf(name string) string { return strings.TrimPrefix(name, "/") }
