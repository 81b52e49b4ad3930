package sipd

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

// port is the server's UDP port, with what every part of the server needs to send
// and to say what it did.
type port struct {
	cfg    Config
	sock   *datagram.Socket
	parser *sip.Parser
	done   chan struct{} // closed when Serve returns
	// can says why the server cannot do what an effect says.
	can func(fault.Effect) error
}

// fault asks the plan about a message, of which pkt is the bytes, and journals
// what it says. It returns nil when nothing is to go wrong.
func (p *port) fault(method, phase string, h hop, pkt []byte) Effect {
	if p.cfg.Faults.Empty() {
		return nil
	}
	effect, sentence, ok := p.cfg.Faults.Try(fault.Point{Service: "sipd", Message: method, Phase: phase}, func(e fault.Effect) bool {
		own, ok := e.(Effect)
		return ok && p.can(own) == nil && own.fits(phase)
	}, func(e fault.Effect) bool {
		own, ok := e.(edit)
		return !ok || !bytes.Equal(own.edit(pkt), pkt)
	})
	if !ok {
		return nil
	}
	p.record(timeline.Event{
		Kind: timeline.FaultFired, Src: h.peer, Dst: h.local, Message: method, Reason: sentence,
		Fields: map[string]string{"phase": phase},
	})
	own, _ := effect.(Effect)
	return own
}

// post sends a message as an effect has it; nil: as it is.
func (p *port) post(pkt []byte, h hop, what string, e Effect) {
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
		p.send(pkt, h, what)
	}
}

func (p *port) send(pkt []byte, h hop, what string) {
	if _, err := p.sock.WriteFromTo(pkt, h.local, h.peer); err != nil {
		p.odd(h, what, "not sent: "+err.Error())
	}
}

func (p *port) odd(h hop, message, why string) {
	p.record(timeline.Event{Kind: timeline.ServiceOddity, Src: h.peer, Dst: h.local, Message: message, Reason: why})
}

func (p *port) record(e timeline.Event) {
	e.By = "sipd"
	e.At = p.cfg.Now()
	p.cfg.Record(e)
}

// response builds an answer to a request. RFC 3261 section 18.2.1 and RFC 3581
// say what the top Via tells.
func (p *port) response(req *sip.Request, h hop, status int) *sip.Response {
	req.SetSource(h.peer.String())
	res := sip.NewResponseFromRequest(req, status, reason(status), nil)
	res.SipVersion = "SIP/2.0"
	if to := res.To(); to != nil && to.Params.Has("tag") && !req.To().Params.Has("tag") {
		to.Params.Add("tag", p.cfg.Text())
	}
	if via := res.Via(); via != nil && via.Host != h.peer.Addr().String() {
		via.Params.Add("received", h.peer.Addr().String())
	}
	res.AppendHeader(sip.NewHeader("Server", userAgent))
	if status == sip.StatusOK && req.Method == sip.OPTIONS || status == sip.StatusMethodNotAllowed {
		res.AppendHeader(sip.NewHeader("Allow", allow))
	}
	return res
}

func (p *port) newBranch() string { return sip.RFC3261BranchMagicCookie + p.cfg.Text() }

func (p *port) newCallID(h hop) string { return p.cfg.Text() + "@" + h.local.Addr().String() }

// caller is the From of our requests.
func (p *port) caller(record sip.Uri, h hop) *sip.FromHeader {
	host := record.Host
	if host == "" {
		host = h.local.Addr().String()
	}
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: userAgent, Host: host, Port: record.Port}, Params: sip.NewParams()}
	from.Params.Add("tag", p.cfg.Text())
	return from
}

// parse reads a message. On an error, msg holds what was read before it, if
// anything.
func (p *port) parse(b []byte) (msg sip.Message, err error) {
	defer func() {
		// The parser is a library's and the datagram may be anything: what it
		// trips over is the journal's business, not the end of the rig.
		if r := recover(); r != nil {
			msg, err = nil, fmt.Errorf("the parser failed: %v", r)
		}
	}()
	return p.parser.ParseSIP(b)
}

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
