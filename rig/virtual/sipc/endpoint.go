package sipc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// endpoint is what the parts of an agent share: its configuration, its socket and
// its clock.
type endpoint struct {
	alarms

	cfg    Config
	host   string // of URIs
	random *rand.Rand
}

func (e *endpoint) send(to netip.AddrPort, message []byte) {
	// A datagram that cannot be sent is a lost one; the transaction tries again.
	_, _ = e.cfg.Conn.WriteTo(message, net.UDPAddrFromAddrPort(to))
}

// token is for tags, branches and nonces.
func (e *endpoint) token() string { return fmt.Sprintf("%016x", e.random.Uint64()) }

// head begins a request of ours.
func (e *endpoint) head(method, uri, branch string) *strings.Builder {
	m := &strings.Builder{}
	fmt.Fprintf(m, "%s %s SIP/2.0\r\n", method, uri)
	line(m, "Via", fmt.Sprintf("SIP/2.0/UDP %v;rport;branch=%s", e.cfg.Local, branch))
	line(m, "Max-Forwards", "70")
	return m
}

func (e *endpoint) contact() string {
	return "<sip:" + escapeUser(e.cfg.User) + "@" + e.cfg.Local.String() + ">"
}

func (e *endpoint) isContact(uri string) bool {
	var u sip.Uri
	if sip.ParseUri(uri, &u) != nil {
		return false
	}
	port := u.Port
	if port == 0 {
		port = defaultPort
	}
	return unescape(u.User) == e.cfg.User && u.Host == e.cfg.Local.Addr().String() && port == int(e.cfg.Local.Port())
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
