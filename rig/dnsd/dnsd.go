// Package dnsd resolves the names that a scenario gives to the rig's own
// servers, and no others: it is the whole of DNS that a handset under test
// sees, and nothing it asks leaves the bench. The codec is miekg/dns; the
// server loop is ours, so that answers come one after another on a socket
// handed to it and stand in the journal before they are sent.
//
// Faults are asked for once per query, when it came, at
//
//	fault.Point{Service: "dnsd", Message: "A", File: "prov.example", Phase: "answer"}
//
// where Message is the type asked for and File the name without its last dot.
package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

const (
	name = "dnsd"

	headerLen = 12

	// plainSize is the longest message over UDP without EDNS (RFC 1035 section
	// 4.2.1); ednsSize is what we promise to take with it.
	plainSize = dns.MinMsgSize
	ednsSize  = 1232
)

// Config is what a Server needs. It is not read any more once New returned.
type Config struct {
	// Conn is where queries arrive, usually on port 53. Serve closes it. A
	// socket bound to the unspecified address tells the address that a query
	// came to through ReadFromTo and answers from it through WriteFromTo;
	// what becomes of others says datagram.Upgrade.
	Conn net.PacketConn
	// Names returns the addresses of a name, which is lower case and without
	// its last dot. Nil says that there is no such name (NXDOMAIN), an empty
	// slice that it has no address.
	Names func(name string) []netip.Addr
	// TTL is how long a client may keep an answer, in whole seconds; 0 means 30 s.
	TTL time.Duration
	// Record takes events into the journal. It must not be nil.
	Record func(timeline.Event)
	// Faults is the plan in force; nil misbehaves never.
	Faults *fault.Plan
	// Now is the lane's clock. Nothing here stores a time; it stands so that
	// every service is made alike.
	Now func() time.Time
}

// Server answers DNS queries.
type Server struct {
	sock   *datagram.Socket
	names  func(string) []netip.Addr
	ttl    uint32
	record func(timeline.Event)
	faults *fault.Plan
}

// New checks cfg and returns a server that does not listen to its socket yet.
// The error names the field that is wrong.
func New(cfg Config) (*Server, error) {
	ttl := cfg.TTL
	if ttl == 0 {
		ttl = 30 * time.Second
	}
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("dnsd: Conn is missing")
	case cfg.Names == nil:
		return nil, errors.New("dnsd: Names is missing")
	case cfg.Record == nil:
		return nil, errors.New("dnsd: Record is missing")
	case ttl < time.Second || ttl > 1<<31*time.Second-1:
		return nil, fmt.Errorf("dnsd: TTL %v is not within 1 s and 2^31 s (RFC 2181 section 8)", ttl)
	}
	return &Server{
		sock: datagram.Upgrade(cfg.Conn), names: cfg.Names,
		ttl:    uint32(ttl / time.Second),
		record: cfg.Record, faults: cfg.Faults,
	}, nil
}

// Serve answers queries until ctx ends, then closes the socket and returns
// nil. It returns an error when the socket fails before that. It may be called
// once.
func (s *Server) Serve(ctx context.Context) error {
	s.record(timeline.Event{By: name, Kind: timeline.ServiceUp, Dst: s.sock.Local()})
	err := s.serve(ctx)
	down := timeline.Event{By: name, Kind: timeline.ServiceDown, Dst: s.sock.Local()}
	if err != nil {
		down.Reason = err.Error()
	}
	s.record(down)
	return err
}

// Release has every answer sent now that a fault delays.
func (s *Server) Release() { s.sock.Release() }

func (s *Server) serve(ctx context.Context) error {
	err := s.sock.Serve(ctx, func(b []byte, from, to netip.AddrPort) datagram.Reply {
		a := s.answer(b, from, to)
		if a == nil {
			return datagram.Reply{}
		}
		return datagram.Reply{Delay: a.delay, Send: func(ctx context.Context) { s.send(ctx, a, from, to) }}
	})
	if err != nil {
		return fmt.Errorf("dnsd: read on %v: %w", s.sock.Local(), err)
	}
	return nil
}

// answer is what is sent to a client, and how.
type answer struct {
	out   []byte
	entry timeline.Event // for the journal, when it is sent

	q         dns.Question
	msg       *dns.Msg
	ttl       uint32
	truncated bool // whatever its size
	delay     time.Duration
}

// send records an answer and sends it.
func (s *Server) send(ctx context.Context, a *answer, from, to netip.AddrPort) {
	s.record(a.entry)
	if _, err := s.sock.WriteFromTo(a.out, to, from); err != nil && ctx.Err() == nil {
		s.oddity(from, to, fmt.Sprintf("answer to %v: %v", from, err))
	}
}

// answer says what one datagram is answered; nil: nothing. What is odd about it
// and what goes wrong on purpose is recorded.
func (s *Server) answer(b []byte, from, to netip.AddrPort) *answer {
	if len(b) < headerLen {
		s.oddity(from, to, fmt.Sprintf("%d bytes are no DNS message", len(b)))
		return nil
	}
	if b[2]&0x80 != 0 {
		// Never answered, or two servers would talk for ever.
		s.oddity(from, to, "a response came to the server")
		return nil
	}
	var query dns.Msg
	malformed := query.Unpack(b)

	reply := &dns.Msg{MsgHdr: dns.MsgHdr{
		Id: query.Id, Response: true, Opcode: query.Opcode,
		Authoritative: true, RecursionDesired: query.RecursionDesired,
		// Stub resolvers turn away from servers that offer no recursion.
		RecursionAvailable: true,
	}, Compress: true}
	var why string
	switch {
	case malformed != nil:
		reply.Rcode, why = dns.RcodeFormatError, malformed.Error()
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode, why = dns.RcodeNotImplemented, "opcode "+strconv.Itoa(query.Opcode)
	case len(query.Question) != 1:
		reply.Rcode, why = dns.RcodeFormatError, fmt.Sprintf("%d questions", len(query.Question))
	case len(query.Answer)+len(query.Ns) > 0:
		reply.Rcode, why = dns.RcodeFormatError, "records in a question"
	}
	if why != "" {
		s.oddity(from, to, why)
	}

	size := plainSize
	var q dns.Question
	if why == "" {
		q = query.Question[0]
		reply.Question = query.Question
		size, why = s.edns(&query, reply)
	}
	if why == "" {
		why = s.resolve(q, reply)
	}

	asked := strings.TrimSuffix(dns.CanonicalName(q.Name), ".")
	a := &answer{q: q, msg: reply, ttl: s.ttl}
	switch e := s.fault(asked, a, from, to).(type) {
	case nil:
	case Drop:
		return nil
	default:
		e.act(a)
	}

	reply.Truncate(size)
	reply.Truncated = reply.Truncated || a.truncated
	out, err := reply.Pack()
	if err != nil {
		s.oddity(from, to, fmt.Sprintf("answer about %q does not pack: %v", q.Name, err))
		return nil
	}
	a.out = out
	a.entry = timeline.Event{
		By: name, Kind: timeline.DNSResponse, Src: from, Dst: to, Reason: why,
		Fields: map[string]string{
			"dns.id":          fmt.Sprintf("0x%04x", reply.Id),
			"dns.qry.name":    asked,
			"dns.qry.type":    typeName(q.Qtype),
			"dns.flags.rcode": rcodeName(reply.Rcode),
			"dns.a":           addresses(reply.Answer),
		},
	}
	if reply.Truncated {
		a.entry.Fields["dns.flags.truncated"] = "true"
	}
	return a
}

// fault asks the plan, and journals what it says. It returns nil when nothing
// is to go wrong.
func (s *Server) fault(asked string, a *answer, from, to netip.AddrPort) Effect {
	if s.faults.Empty() {
		return nil
	}
	pt := fault.Point{Service: name, Message: typeName(a.q.Qtype), File: asked, Phase: "answer"}
	effect, sentence, ok := s.faults.Try(pt, func(e fault.Effect) bool {
		picks, picky := e.(choosy)
		return s.Can(e) == nil && (!picky || picks.fits(a))
	}, nil)
	if !ok {
		return nil
	}
	s.record(timeline.Event{By: name, Kind: timeline.FaultFired, Src: from, Dst: to, File: asked, Message: pt.Message, Reason: sentence})
	own, _ := effect.(Effect)
	return own
}

// edns answers an OPT record with our own (RFC 6891 section 6.1) and returns
// the longest message that the client takes. why is not empty where the
// question must not be answered.
func (*Server) edns(query, reply *dns.Msg) (size int, why string) {
	var opts []*dns.OPT
	for _, rr := range query.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			opts = append(opts, opt)
		}
	}
	switch len(opts) {
	case 0:
		return plainSize, ""
	case 1:
	default:
		reply.Rcode = dns.RcodeFormatError
		return plainSize, "more than one OPT record"
	}
	reply.SetEdns0(ednsSize, false)
	size = max(plainSize, min(int(opts[0].UDPSize()), ednsSize))
	if v := opts[0].Version(); v != 0 {
		reply.Rcode = dns.RcodeBadVers
		return size, fmt.Sprintf("EDNS version %d", v)
	}
	return size, ""
}

// resolve fills in the records asked for and returns why there are none.
func (s *Server) resolve(q dns.Question, reply *dns.Msg) string {
	if q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY {
		reply.Rcode = dns.RcodeRefused
		return fmt.Sprintf("class %d is not served", q.Qclass)
	}
	known := s.names(strings.TrimSuffix(dns.CanonicalName(q.Name), "."))
	if known == nil {
		// No SOA goes with it, so that the client keeps nothing (RFC 2308
		// section 5) and asks again at the next boot.
		reply.Rcode = dns.RcodeNameError
		return "no such name on this bench"
	}
	for _, a := range known {
		hdr := dns.RR_Header{Name: q.Name, Class: dns.ClassINET, Ttl: s.ttl}
		a = a.Unmap()
		switch {
		case a.Is4() && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
			hdr.Rrtype = dns.TypeA
			reply.Answer = append(reply.Answer, &dns.A{Hdr: hdr, A: a.AsSlice()})
		case a.Is6() && (q.Qtype == dns.TypeAAAA || q.Qtype == dns.TypeANY):
			hdr.Rrtype = dns.TypeAAAA
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: hdr, AAAA: a.AsSlice()})
		}
	}
	if len(reply.Answer) == 0 {
		return "the name has no " + typeName(q.Qtype) + " record"
	}
	return ""
}

func (s *Server) oddity(from, to netip.AddrPort, reason string) {
	s.record(timeline.Event{By: name, Kind: timeline.ServiceOddity, Src: from, Dst: to, Reason: reason})
}

func addresses(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		}
	}
	return strings.Join(out, ",")
}

// typeName is the mnemonic of a query type, or TYPE and its number (RFC 3597).
func typeName(t uint16) string { return dns.Type(t).String() }

// rcodeName is the mnemonic of a response code, or RCODE and its number.
func rcodeName(n int) string {
	if n == dns.RcodeBadVers {
		return "BADVERS" // shares its number with BADSIG, which only TSIG has
	}
	if s, ok := dns.RcodeToString[n]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(n)
}
